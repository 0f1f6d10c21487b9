"""Working elsewhere: what is refused, what is not seen here, and workers of Dask of which one dies."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import Executor, Future

import numpy as np
import pytest

from csc_data.errors import InvalidArgumentError
from csc_submit import ProcessSettings, pack_results, process
from csc_submit.workers import Workers

# A module of its own, so that other processes can import it.
TASKS = """
import os
import signal

def die_once(mark, function, *arguments):
    try:
        open(mark, "x").close()
    except FileExistsError:
        return function(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_workers": 0}, "max_workers must be 1 or more"),
        ({"max_workers": 2, "scheduler": "tcp://x:1"}, "max_workers and scheduler exclude each other"),
        ({"jobs": 2}, "name lsf or slurm"),
    ],
)
def test_places_that_contradict_each_other_are_refused(config, given, words):
    with pytest.raises(InvalidArgumentError, match=words):
        Workers(**given)
    with pytest.raises(InvalidArgumentError, match=words):
        pack_results(config=config, **given)
    with pytest.raises(InvalidArgumentError, match=words):
        process(ProcessSettings(), config=config, **given)
    with pytest.raises(TypeError, match="max_wrokers"):
        pack_results(config=config, max_wrokers=2)


class Elsewhere(Executor):
    """Says that all is done, as workers do that see another disk."""

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(None)
        return future


def test_what_is_packed_where_this_process_does_not_see_it_fails_and_says_so(config, write_prediction, write_test_crop):
    write_prediction(np.ones((4, 4, 4), "u1"), kind="label", template="processed")
    write_test_crop((4, 4, 4))
    (row,) = pack_results(config=config, executor=Elsewhere()).failed
    assert "all machines must see it under the same path" in row.reason


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_dask_workers_of_which_one_dies_pack_the_same(
    config, write_prediction, write_test_crop, make_blobs, tmp_path, monkeypatch
):
    distributed = pytest.importorskip("distributed")
    (tmp_path / "dying_tasks.py").write_text(TASKS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # where workers find the module
    tasks = importlib.import_module("dying_tasks")
    names = ("er", "mito", "nuc")
    for seed, name in enumerate(names):
        mask = make_blobs((20, 20, 20), seed) > 0.5
        write_prediction(mask.astype("u1"), name, kind="label", template="processed")
    write_test_crop((20, 20, 20), names)
    alone = pack_results(config=config)
    expected = alone.archive.read_bytes()

    class Dying(Executor):
        """Dask's workers, one of which dies over the first task."""

        def __init__(self, inner):
            self.inner = inner

        def submit(self, function, *arguments):
            return self.inner.submit(tasks.die_once, str(tmp_path / "died"), function, *arguments)

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        executor = Dying(client.get_executor(pure=False))
        packed = pack_results(config=config, existing="overwrite", executor=executor)
    del sys.modules["dying_tasks"]
    assert (tmp_path / "died").exists()
    assert packed.rows == alone.rows
    assert packed.archive.read_bytes() == expected
