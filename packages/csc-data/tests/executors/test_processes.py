"""Processes of which one may die without the others."""

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csc_data.blocks import BlockGrid, Execution, Ledger, MissingBlocksError, run_blocks
from csc_data.errors import InvalidArgumentError
from csc_data.executors import ProcessWorkers, WorkerDiedError

# A module of its own, so that other processes can import it.
TASKS = """
import os
import signal
import threading
import time
from pathlib import Path

from csc_data.errors import MissingDataError

class Job:
    def __init__(self, folder, deadly=(), deaths=0):
        self.folder, self.deadly, self.deaths = folder, deadly, deaths

    def __setstate__(self, state):
        self.__dict__.update(state)
        with (self.folder / "unpacked").open("a") as log:
            log.write(f"{os.getpid()}\\n")

    def __call__(self, block):
        with (self.folder / str(block.index)).open("a") as log:
            log.write(f"{os.getpid()}\\n")
        if block.index in self.deadly and len((self.folder / str(block.index)).read_text().split()) <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.005)

class Stay:
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, block):
        if block.index:
            stay(self.folder)

def pid_and(name):
    time.sleep(0.02)
    return os.getpid(), os.environ.get(name)

def die(code):
    os._exit(code)

def raise_ours():
    raise MissingDataError("not there")

def raise_other():
    raise ZeroDivisionError("a bug")

def give_lock():
    return threading.Lock()

def interrupted():
    os.kill(os.getpid(), signal.SIGINT)
    return "went on"

def stay(folder):
    (folder / str(os.getpid())).touch()
    time.sleep(60)
"""


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    (tmp_path / "worker_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("worker_tasks")
    del sys.modules["worker_tasks"]


@pytest.mark.slow
def test_workers_have_environments_of_their_own_and_survive_what_tasks_do(tasks, tmp_path):
    environments = [{"CUDA_VISIBLE_DEVICES": "5"}, {"CUDA_VISIBLE_DEVICES": "7"}]
    with ProcessWorkers(2, threads=3, environments=environments) as workers:
        asked = [workers.submit(tasks.pid_and, "CUDA_VISIBLE_DEVICES") for _ in range(20)]
        seen = {future.result() for future in asked}
        assert {value for _, value in seen} == {"5", "7"}
        assert len(seen) == 2
        assert workers.submit(tasks.pid_and, "OMP_NUM_THREADS").result()[1] == "3"
        with pytest.raises(FileNotFoundError, match="not there"):
            workers.submit(tasks.raise_ours).result()
        with pytest.raises(ZeroDivisionError, match="a bug") as caught:
            workers.submit(tasks.raise_other).result()
        assert "raise_other" in caught.value.__notes__[0]  # where it happened
        with pytest.raises(RuntimeError, match="cannot be sent back"):
            workers.submit(tasks.give_lock).result()
        assert workers.submit(tasks.interrupted).result() == "went on"  # Ctrl-C is this process's matter
        with pytest.raises(WorkerDiedError, match=r"process \d+ ended with exit code 3"):
            workers.submit(tasks.die, 3).result()
        asked = [workers.submit(tasks.pid_and, "CUDA_VISIBLE_DEVICES") for _ in range(20)]
        again = {future.result() for future in asked}
        assert {value for _, value in again} == {"5", "7"}
        assert len(again & seen) == 1
    for pid, _ in again:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(InvalidArgumentError, match="0 processes"):
        ProcessWorkers(0)
    with pytest.raises(InvalidArgumentError, match="2 processes in 1 environments"):
        ProcessWorkers(2, environments=[{}])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_blocks_of_a_dead_worker_are_done_by_others_and_a_deadly_block_is_named(tasks, tmp_path):
    grid = BlockGrid(shape=(30, 4, 4), block_shape=(1, 4, 4))
    folder = tmp_path / "log"
    folder.mkdir()
    ledger = Ledger(tmp_path / "ledger", {})
    ledger.start()
    with ProcessWorkers(2) as workers:
        execution = Execution(executor=workers, max_pending=3)
        run_blocks(tasks.Job(folder, deadly=(7, 20), deaths=2), grid, ledger=ledger, execution=execution)
        attempts = [len((folder / str(index)).read_text().split()) for index in range(30)]
        assert attempts == [3 if index in (7, 20) else 1 for index in range(30)]
        unpacked = (folder / "unpacked").read_text().split()
        assert len(unpacked) == len(set(unpacked)) <= 6  # once in each process
        again = Ledger(tmp_path / "again", {})
        again.start()
        with pytest.raises(
            MissingBlocksError, match=r"over block 7 \(from voxel \(7, 0, 0\), \(1, 4, 4\) voxels\).*SIGKILL"
        ):
            run_blocks(tasks.Job(tmp_path, deadly=(7,), deaths=99), grid, ledger=again, execution=execution)
        assert len((tmp_path / "7").read_text().split()) == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_an_interrupted_run_leaves_no_process_that_works_on(tasks, tmp_path):
    grid = BlockGrid(shape=(9, 4, 4), block_shape=(1, 4, 4))
    (tmp_path / "pids").mkdir()
    ledger = Ledger(tmp_path / "ledger", {})
    ledger.start()

    def interrupt(finished, total):
        if finished:
            wait_for(lambda: list((tmp_path / "pids").iterdir()), 2)
            raise KeyboardInterrupt

    with ProcessWorkers(2) as workers:
        execution = Execution(executor=workers, max_pending=3)
        with pytest.raises(KeyboardInterrupt):
            run_blocks(tasks.Stay(tmp_path / "pids"), grid, ledger=ledger, execution=execution, progress=interrupt)
        assert all(is_gone(int(path.name)) for path in (tmp_path / "pids").iterdir())
    ledger.read()
    assert ledger.finished == {0}


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import worker_tasks
from csc_data.executors import ProcessWorkers

if __name__ == "__main__":
    folder = Path(sys.argv[1]) / "pids"
    with ProcessWorkers(2) as workers:
        for _ in range(2):
            workers.submit(worker_tasks.stay, folder)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_no_worker_outlives_the_process_that_started_it(tasks, tmp_path):
    (tmp_path / "pids").mkdir()
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(tmp_path)])
    pids = wait_for(lambda: [int(path.name) for path in (tmp_path / "pids").iterdir()], 2)
    parent.kill()
    parent.wait(timeout=30)
    assert wait_for(lambda: [pid for pid in pids if is_gone(pid)], 2)


def wait_for(look, count):
    deadline = time.monotonic() + 50
    while len(found := look()) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(found) == count
    return found


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # there is nobody to wait for it, in a container without an init
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"
