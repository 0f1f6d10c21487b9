"""Workers, memory, resuming and clusters give the scores that one process gives."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import csc_eval
from csc_data.errors import InvalidArgumentError
from csc_data.executors.processes import WorkerDiedError
from csc_data.storage.stores.places import FolderStore
from csc_eval.rules import LEADERBOARD
from csc_eval.running import memory
from csc_eval.running.execution import run_tasks
from csc_eval.running.memory import available_memory, parse_size, plan_work
from csc_eval.running.submission import find_contents
from csc_eval.scoring.labels import LabelTask, score_label

PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}


@pytest.fixture
def many(tmp_path, write_array):
    """Four crops of two labels, all a little wrong."""
    rng = np.random.default_rng(0)
    for crop in range(4):
        truth = rng.integers(0, 3, (16, 16, 16)).astype(np.uint8)
        prediction = np.where(rng.random(truth.shape) < 0.1, 0, truth)
        for name in ("mito", "er"):
            write_array(tmp_path / f"t.zarr/crop{crop}/{name}", truth, attributes=PLACE)
            write_array(tmp_path / f"s.zarr/crop{crop}/{name}", prediction, attributes=PLACE)
    return tmp_path / "s.zarr", tmp_path / "t.zarr"


@pytest.mark.slow
def test_workers_do_not_change_scores(many):
    alone = csc_eval.score_submission(*many)
    seen = []
    together = csc_eval.score_submission(*many, workers=2, progress=lambda *step: seen.append(step))
    assert together == alone
    assert [done for done, _, _ in seen] == list(range(1, 9))


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same(many):
    distributed = pytest.importorskip("distributed")
    from csc_data.executors.cluster import connect

    alone = csc_eval.score_submission(*many)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        connect(cluster.scheduler_address) as executor,
    ):
        assert csc_eval.score_submission(*many, executor=executor) == alone


class Recording(Executor):
    """Notes the order of its tasks, and loses those of one class as a cluster does."""

    def __init__(self, lost="", error=None):
        self.lost, self.error, self.labels = lost, error, []

    def submit(self, function, task):
        self.labels.append(task.truth_key)
        future = Future()
        if task.class_name == self.lost:
            future.set_exception(self.error)
        else:
            future.set_result(function(task))
        return future


def test_what_takes_longest_is_begun_first(many, write_array):
    for number, edge in enumerate((8, 24, 20)):
        for store in many:
            write_array(store / f"crop9{number}/er", np.ones((edge,) * 3, np.uint8), attributes=PLACE)
    executor = Recording()
    csc_eval.score_submission(*many, executor=executor)
    sizes = [24**3, *[2 * 16**3] * 4, 20**3, *[16**3] * 4, 8**3]
    names = [
        "crop91/er",
        *[f"crop{n}/mito" for n in range(4)],
        "crop92/er",
        *[f"crop{n}/er" for n in range(4)],
        "crop90/er",
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert executor.labels == names


@pytest.mark.parametrize("error", [WorkerDiedError("its worker died"), CancelledError()])
def test_labels_that_a_cluster_lost_are_named_and_the_others_scored(many, error):
    result = csc_eval.score_submission(*many, executor=Recording("mito", error))
    assert {name for _, name in result.failures} == {"mito"}
    assert result.failures["crop0", "mito"] == (str(error) or "the cluster ended before it was scored")
    assert result.crops["crop0"]["er"].status == "scored"


def test_resume_takes_what_is_known_and_only_that(many, write_array, tmp_path):
    ledger = tmp_path / "scores.jsonl"
    first = csc_eval.score_submission(*many, resume=ledger)
    scored = []
    again = csc_eval.score_submission(*many, resume=ledger, progress=lambda *step: scored.append(step[2]))
    assert again == first
    assert scored == []
    # Another prediction, another rule set, and a line that a kill cut off are scored anew.
    write_array(many[0] / "crop0/mito", np.ones((16, 16, 16), np.uint8), attributes=PLACE)
    lines = ledger.read_text().splitlines()
    cut = next(line for line in lines if "crop3/er" in line)
    ledger.write_text("\n".join([line for line in lines if line != cut] + [cut[:40]]))
    changed = csc_eval.score_submission(*many, resume=ledger, progress=lambda *step: scored.append(step[2]))
    assert sorted(scored) == ["crop0/mito", "crop3/er"]
    assert changed == csc_eval.score_submission(*many)
    scored.clear()
    csc_eval.score_submission(*many, resume=ledger, rules="pq", progress=lambda *step: scored.append(step[2]))
    assert len(scored) == 8


@pytest.mark.slow
def test_a_killed_run_goes_on(many, tmp_path):
    ledger = tmp_path / "scores.jsonl"
    code = (
        "import sys, time, csc_eval\n"
        "wait = lambda done, *_: time.sleep(3600 * (done > 3))\n"
        "csc_eval.score_submission(*sys.argv[1:3], resume=sys.argv[3], progress=wait)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, many), str(ledger)])
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and (not ledger.exists() or len(ledger.read_text().splitlines()) < 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(ledger.read_text().splitlines())
    assert 3 <= kept < 8
    scored = []
    result = csc_eval.score_submission(*many, resume=ledger, progress=lambda *step: scored.append(step[2]))
    assert len(scored) == 8 - kept
    assert result == csc_eval.score_submission(*many)


def test_failures_are_tried_again(many, tmp_path):
    ledger = tmp_path / "scores.jsonl"
    metadata = many[0] / "crop0/mito/.zarray"
    good = metadata.read_text()
    metadata.write_text("{}")
    assert csc_eval.score_submission(*many, resume=ledger).failures
    metadata.write_text(good)
    assert not csc_eval.score_submission(*many, resume=ledger).failures


def test_too_little_memory_is_a_named_problem(many):
    result = csc_eval.score_submission(*many, memory=2**20)
    assert len(result.failures) == 8
    assert all("give more memory" in problem for problem in result.failures.values())


def test_noise_that_would_not_fit_is_a_named_problem(write_array, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "LEAST_RUNS", 0)
    noise = np.arange(2**18, dtype=np.uint32).reshape(64, 64, 64) + 1
    write_array(tmp_path / "t.zarr/crop1/mito", np.ones_like(noise), attributes=PLACE)
    write_array(tmp_path / "s.zarr/crop1/mito", noise, attributes=PLACE)
    paths = tmp_path / "s.zarr", tmp_path / "t.zarr"
    result = csc_eval.score_submission(*paths, memory=memory.PROCESS_BYTES + 2**24)
    assert "too fragmented" in result.failures["crop1", "mito"]
    assert not csc_eval.score_submission(*paths, memory=2**30).failures


@pytest.mark.slow
def test_noise_that_fits_only_alone_is_scored_alone(write_array, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "LEAST_RUNS", 0)
    monkeypatch.setattr(memory, "PROCESS_BYTES", 0)
    noise = np.arange(2**18, dtype=np.uint32).reshape(64, 64, 64) + 1
    for crop in ("crop1", "crop2"):
        write_array(tmp_path / f"t.zarr/{crop}/mito", np.ones_like(noise), attributes=PLACE)
        write_array(
            tmp_path / f"s.zarr/{crop}/mito", noise if crop == "crop1" else np.ones_like(noise), attributes=PLACE
        )
    tasks = find_contents(
        FolderStore(tmp_path / "s.zarr"), FolderStore(tmp_path / "t.zarr"), rules=(LEADERBOARD,)
    ).tasks
    together = 2 * (memory.fixed_bytes(tasks[0]) + 2**25)
    assert plan_work(tasks, workers=2, memory=together).workers == 2
    assert "fragmented" in score_label(plan_work(tasks, workers=2, memory=together).tasks[0])[0].problem
    statuses = [scores[0].status for scores in run_tasks(plan_work(tasks, workers=2, memory=together))]
    assert statuses == ["skipped_too_many_instances", "scored"]


def test_memory_decides_how_many_run_at_once(many):
    tasks = [
        LabelTask(
            crop=f"crop{crop}", class_name="mito", truth=FolderStore(many[1]), submission=FolderStore(many[0]),
            key=f"crop{crop}/mito", instance=True, rules=(LEADERBOARD,),
        )
        for crop in range(4)
    ]  # fmt: skip
    generous = plan_work(tasks, workers=4, memory=2**33)
    assert generous.workers == 4
    tight = plan_work(tasks, workers=4, memory=400 * 2**20)
    assert 1 <= tight.workers < 4
    assert tight.workers * (tight.tasks[0].memory + memory.PROCESS_BYTES) <= 400 * 2**20
    with pytest.raises(InvalidArgumentError, match="workers"):
        plan_work(tasks, workers=-1, memory=None)


def test_the_limit_of_a_container_counts(tmp_path):
    own, root = tmp_path / "own", tmp_path / "root"
    own.write_text("0::/a/b\n")
    (root / "a/b").mkdir(parents=True)
    (root / "a/memory.max").write_text("1000\n")
    (root / "a/memory.current").write_text("400\n")
    (root / "a/b/memory.max").write_text("max\n")
    assert list(memory._cgroup_limits(root, own)) == [(1000, 400)]
    own.write_text("4:cpu:/\n3:memory:/x\n")
    (root / "memory/x").mkdir(parents=True)
    (root / "memory/x/memory.limit_in_bytes").write_text("5000")
    assert list(memory._cgroup_limits(root, own)) == [(5000, 0)]
    assert available_memory() > 0


@pytest.mark.parametrize(("text", "size"), [("8GB", 2**33), ("500 MiB", 500 * 2**20), ("1.5k", 1536), ("42", 42)])
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "many", "-1GB", "0", "8 bananas"])
def test_no_sizes_are_refused(text):
    with pytest.raises(InvalidArgumentError, match="not a size"):
        parse_size(text)


class DeadlyStore(FolderStore):
    """A store that ends the process in which it arrives, as the kernel does when memory runs out."""

    def __reduce__(self):
        return os._exit, (9,)


class SlowStore(FolderStore):
    """A store that keeps the process in which it arrives busy, after it has left the process's number."""

    def __init__(self, root, notes):
        super().__init__(root)
        self.notes = notes

    def __reduce__(self):
        code = f"import os, pathlib, time; pathlib.Path({self.notes!r}, str(os.getpid())).touch(); time.sleep(60)"
        return exec, (code,)


START = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs this aside has it ignored
from csc_data.storage.stores.places import FolderStore
from dataclasses import replace
sys.path.insert(0, {here!r})
from test_execution import SlowStore
from csc_eval.rules import LEADERBOARD
from csc_eval.running.execution import run_tasks
from csc_eval.running.memory import plan_work
from csc_eval.running.submission import find_contents
if __name__ == "__main__":
    tasks = find_contents(FolderStore({s!r}), FolderStore({t!r}), rules=(LEADERBOARD,)).tasks
    plan = plan_work(tasks, workers=2, memory=2**33)
    run_tasks(replace(plan, tasks=tuple(replace(t, submission=SlowStore({s!r}, {notes!r})) for t in plan.tasks)))
"""


def alive(pid):
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc for processes")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_the_run(how, many, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    script = tmp_path / "start.py"
    script.write_text(START.format(here=str(Path(__file__).parent), s=str(many[0]), t=str(many[1]), notes=str(notes)))
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(list(notes.iterdir())) == 2)
        process.send_signal(how)
        process.wait(60)
        workers = [int(note.name) for note in notes.iterdir()]
        wait_for(lambda: not any(map(alive, workers)))
    finally:
        process.kill()
        process.wait()


def wait_for(holds, seconds=40):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_worker_costs_only_its_label(many):
    tasks = find_contents(FolderStore(many[0]), FolderStore(many[1]), rules=(LEADERBOARD,)).tasks
    deadly = [
        replace(task, submission=DeadlyStore(many[0])) if task.truth_key == "crop2/mito" else task for task in tasks
    ]
    results = run_tasks(plan_work(deadly, workers=2, memory=None))
    failed = {t.truth_key: s[0].problem for t, s in zip(tasks, results, strict=True) if s[0].status == "failed"}
    assert list(failed) == ["crop2/mito"]
    assert "was killed" in failed["crop2/mito"]
