"""Processes that load: several iterations at once, workers that die, start methods, memory that is shared."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.geometry import Grid
from csc_data.loader import get_dataloader
from csc_data.splits.split_file import write_datasplit

torch = pytest.importorskip("torch")

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(32, 32, 32))
PATCH = {"shape": (8, 8, 8), "scale": (8, 8, 8)}


@pytest.fixture
def rows(world):
    world.write_raw(GRID)
    world.write_labels("mito", GRID)
    return [world.row(["mito"]), world.row(["mito"], usage="validate")]


def load(rows, **options):
    return get_dataloader(
        rows, ["mito"], **{"batch_size": 2, "input_array_info": PATCH, "iterations_per_epoch": 12, **options}
    )


def epochs(rows, count, **options):
    """Return the input of so many epochs, loaded in this process."""
    loader = load(rows, **options).train
    return [[batch["input"].clone() for batch in loader] for _ in range(count)]


def equal(batches, expected):
    return len(batches) == len(expected) and all(map(torch.equal, batches, expected))


def pids():
    return {child.pid for child in multiprocessing.active_children()}


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_two_live_iterations_of_one_loader_have_an_epoch_each(rows, num_workers):
    expected = epochs(rows, 3)
    loader = load(rows, num_workers=num_workers).train
    one, other = iter(loader), iter(loader)
    first, second = [], []
    for one_batch, other_batch in zip(one, other, strict=True):
        first.append(one_batch["input"])
        second.append(other_batch["input"])
    assert equal(first, expected[0])
    assert equal(second, expected[1])
    assert equal([batch["input"] for batch in loader], expected[2])


def test_a_further_iteration_has_workers_of_its_own_until_it_ends(rows):
    before = pids()
    loader = load(rows, num_workers=2).train
    one = iter(loader)
    next(one)
    first = pids() - before
    other = iter(loader)
    next(other)
    assert len(pids() - before) == 4
    list(other)
    list(one)
    wait_for(lambda: len(pids() - before) == 2)
    kept = pids() - before
    list(loader)
    assert pids() - before == kept != first  # the usual case: workers live from epoch to epoch
    del loader, one, other
    wait_for(lambda: pids() <= before)


class Marking:
    """A value transform that leaves a byte in a file for each sample, and takes its time."""

    def __init__(self, path):
        self.path = path

    def __call__(self, raw):
        with open(self.path, "ab") as file:  # noqa: PTH123
            file.write(b".")
        time.sleep(0.05)
        return raw


def test_an_iteration_that_is_dropped_leaves_no_worker_busy(rows, tmp_path):
    marks = tmp_path / "marks"
    expected = epochs(rows, 2)
    loader = load(rows, num_workers=2, train_raw_value_transforms=Marking(marks)).train
    marks.write_bytes(b"")  # what was tried out when the loader was made
    iteration = iter(loader)
    next(iteration)
    iteration.close()
    time.sleep(0.3)  # what was under way is finished
    count = len(marks.read_bytes())
    time.sleep(0.4)
    assert len(marks.read_bytes()) == count
    assert equal([batch["input"] for batch in loader], expected[1])
    with pytest.raises(StopIteration):
        next(iteration)


@pytest.mark.parametrize("while_idle", [False, True])
def test_a_worker_that_dies_is_named_and_the_next_iteration_has_others(rows, while_idle):
    expected = epochs(rows, 3)
    before = pids()
    loader = load(rows, num_workers=2).train
    iteration = iter(loader)
    next(iteration)
    if while_idle:
        list(iteration)
    victim = min(pids() - before)
    with pytest.raises(RuntimeError, match=str(victim)):  # noqa: PT012  # torch says it from a signal handler, anywhere
        os.kill(victim, signal.SIGKILL)
        time.sleep(0.5)
        list(iteration)
    assert equal([batch["input"] for batch in loader], expected[1])
    assert equal([batch["input"] for batch in loader], expected[2])
    iteration.close()
    wait_for(lambda: len(pids() - before) == 2)
    del loader, iteration
    wait_for(lambda: pids() <= before)


class Failing:
    def __call__(self, raw):
        raise OSError("the disk is gone")


def test_an_error_of_a_worker_reaches_the_loop_and_the_next_iteration_begins(rows):
    loader = load(rows, num_workers=1, val_raw_value_transforms=None).train
    loader.patches.values = type(loader.patches.values)(classes=("mito",), raw=Failing())
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            next(iter(loader))


def double(raw):
    return raw * 2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.thorough)])  # forkserver: below
def test_samples_do_not_depend_on_how_workers_are_started(rows, method):
    expected = epochs(rows, 1)[0]
    loaders = load(rows, num_workers=1, start_method=method)
    assert equal([batch["input"] for batch in loaders.train], expected)
    tiles = [batch["input"] for batch in loaders.validation]
    assert equal(tiles, [batch["input"] for batch in load(rows).validation])


def test_transforms_that_cannot_be_sent_to_workers_are_told(rows):
    def local(raw):
        return raw

    for given in (
        {"train_raw_value_transforms": local},
        {"target_value_transforms": {"mito": lambda target: target}},
    ):
        loader = load(rows, num_workers=1, start_method="spawn", **given).train
        with pytest.raises(InvalidArgumentError, match=r"value_transforms.*started by spawn.*num_workers=0"):
            iter(loader)
    assert len(list(load(rows, num_workers=1, start_method="fork", train_raw_value_transforms=local).train)) == 12
    with pytest.raises(ProblemsError, match="start_method"):
        load(rows, start_method="thread")


SCRIPT = """
import sys, time, multiprocessing
from csc_data.loader import get_dataloader

def main(method):
    if method:
        multiprocessing.set_start_method(method)
    patch = {{"shape": (8, 8, 8), "scale": (8, 8, 8)}}
    loader = get_dataloader(
        {datasplit!r}, ["mito"], batch_size={batch_size}, input_array_info=patch, iterations_per_epoch={batches},
        num_workers=2, packed={packed}, with_positions={packed},
    ).train
    for number, batch in enumerate(loader):
        print(number, float(batch["input"].nan_to_num().double().sum()), flush=True)

if __name__ == "__main__":
    main({method!r})
"""


@pytest.fixture
def script(rows, tmp_path):
    """Return a script that prints the sum of each batch, loaded by two workers."""
    write_datasplit(tmp_path / "datasplit.csv", rows)

    def write(*, batch_size=2, batches=4, method=None, packed=False):
        path = tmp_path / "script.py"
        datasplit = str(tmp_path / "datasplit.csv")
        given = {"batch_size": batch_size, "batches": batches, "method": method, "packed": packed}
        path.write_text(SCRIPT.format(datasplit=datasplit, **given))
        return [sys.executable, str(path)]

    return write


def sums(text):
    return [float(line.split()[1]) for line in text.splitlines()]


@pytest.mark.slow
def test_forkserver_may_be_the_default_as_it_is_from_python_3_14_on(rows, script):
    expected = [float(batch.double().sum()) for batch in epochs(rows, 1, iterations_per_epoch=4)[0]]
    run = subprocess.run(script(method="forkserver"), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert sums(run.stdout) == expected
    assert run.stderr == ""


def _may_mount():
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "t", "/dev/shm"], capture_output=True, check=False
    )
    return tried.returncode == 0


@pytest.mark.slow
def test_batches_larger_than_dev_shm_arrive(rows, script):
    """As in a container, where it is 64 MB by default: torch's shared memory there dies of a bus error."""
    if not _may_mount():
        pytest.skip("a small /dev/shm cannot be mounted here")
    command = script(batch_size=3000, batches=3, packed=True)  # 1.5 MB for the smallest array of a batch
    inside = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", inside, "sh", *command], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert len(sums(run.stdout)) == 3


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory without a file is of Linux")
def test_shared_batches_do_not_lie_in_dev_shm(rows):
    for packed in (False, True):
        batch = next(iter(load(rows, num_workers=1, packed=packed, with_positions=True).train))
        with open("/proc/self/maps") as file:  # noqa: PTH123
            mapped = [(*(int(part, 16) for part in line.split()[0].split("-")), line) for line in file]
        for tensor in batch.values():
            (line,) = (line for begin, end, line in mapped if begin <= tensor.data_ptr() < end)
            assert "/memfd:" in line


@pytest.fixture
def endless(script):
    """Return a script that runs, in a session of its own, and has given three batches; it does not outlive the test."""
    run = subprocess.Popen(
        script(batches=10**6), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        for _ in range(3):
            assert run.stdout.readline()
        yield run
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()


def is_gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_an_interrupt_ends_it_without_orphans(endless):
    os.killpg(endless.pid, signal.SIGINT)
    _, error = endless.communicate(timeout=60)
    assert endless.returncode != 0
    assert error.count("KeyboardInterrupt") == 1
    assert error.count("Traceback") == 1
    wait_for(lambda: is_gone(endless.pid))


@pytest.mark.slow
def test_workers_of_a_process_that_was_killed_end(endless):
    os.kill(endless.pid, signal.SIGKILL)
    endless.communicate(timeout=60)
    wait_for(lambda: is_gone(endless.pid))


@pytest.mark.parametrize("packed", [False, True])
def test_batches_of_a_worker_lie_in_the_same_places_again(rows, packed):
    expected = epochs(rows, 2, packed=packed)
    loader = load(rows, num_workers=1, packed=packed, with_positions=True).train
    places, batches = set(), []
    for batch in loader:
        places.add(batch["input"].data_ptr())
        batches.append(batch["input"].clone())
    assert len(places) <= 4  # two that the worker was asked for, one that is looked at, and the next
    assert equal(batches, expected[0])
    held = list(loader)  # which are more than there are places
    assert len({batch["input"].data_ptr() for batch in held}) == 12
    assert equal([batch["input"] for batch in held], expected[1])
