"""Several processes on one output: nothing is done twice, and whoever lives goes on."""

import errno
import importlib
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.blocks import BlockGrid, Execution, Ledger, MissingBlocksError, prepare_output, run_blocks, sharing
from csc_data.blocks.claims import Claims, arrive
from csc_data.blocks.groups import Groups
from csc_data.blocks.presence import Presence, this_process
from csc_data.errors import InvalidArgumentError

GRID = BlockGrid(shape=(8, 8, 8), block_shape=(4, 4, 4))

# A module of its own, so that other processes can import it.
RUNS = """
import time
from pathlib import Path
import numpy as np
from csc_data.blocks import BlockGrid, Ledger, prepare_output, run_blocks
from csc_data.formats.writing import create_array, open_array_for_writing

GRID = BlockGrid(shape=(40, 40, 32), block_shape=(8, 8, 8))

def run(folder, name):
    def create():
        with (folder / "created").open("a") as log:
            log.write(name + "\\n")
        time.sleep(0.05)
        create_array(folder / "out.zarr", shape=GRID.shape, dtype="u4", chunks=(8, 8, 8), overwrite=True)

    def work(block):
        with (folder / f"begun.{name}").open("a") as log:
            log.write(f"{block.index}\\n")
        time.sleep(0.01)
        values = np.random.default_rng(block.index).integers(0, 1000, block.shape)
        open_array_for_writing(folder / "out.zarr")[block.write] = values

    ledger = Ledger(folder / "ledger", {"grid": GRID.shape}, outputs=[folder / "out.zarr"])
    prepare_output(ledger, "resume", create)
    run_blocks(work, GRID, ledger=ledger)
"""


class Runner:
    """A process that works on all blocks of a folder."""

    def __init__(self, module: ModuleType, folder: Path, number: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", "csc_data.blocks", "csc_data.formats.writing"])
        self.begun = folder / f"begun.{number}"
        self.process = context.Process(target=module.run, args=(folder, str(number)))
        self.process.start()

    def kill_after(self, blocks: int) -> bool:
        """Kill it when it has begun so many blocks; return whether it had not ended before."""
        while self.process.is_alive() and len(self.blocks()) < blocks:
            time.sleep(0.002)
        self.process.kill()
        return self.end() == -signal.SIGKILL

    def end(self) -> int | None:
        self.process.join(timeout=60)
        return self.process.exitcode

    def blocks(self) -> list[int]:
        # A line that a kill cut off is of no block.
        return [int(line) for line in self.begun.read_text().split("\n")[:-1]] if self.begun.exists() else []


@pytest.fixture
def start_runner(tmp_path, monkeypatch):
    (tmp_path / "shared_runs.py").write_text(RUNS)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("shared_runs")
    numbers = itertools.count()
    runners = []

    def begin(folder: Path) -> Runner:
        folder.mkdir(exist_ok=True)
        runners.append(Runner(module, folder, next(numbers)))
        return runners[-1]

    yield begin
    del sys.modules["shared_runs"]
    for runner in runners:
        runner.process.kill()


@pytest.fixture
def alone(start_runner, tmp_path) -> dict[str, bytes]:
    """The files of a run of one process."""
    assert start_runner(tmp_path / "alone").end() == 0
    return files_of(tmp_path / "alone")


def files_of(folder: Path) -> dict[str, bytes]:
    names = ["ledger", *(path.relative_to(folder).as_posix() for path in (folder / "out.zarr").rglob("*"))]
    return {name: (folder / name).read_bytes() for name in sorted(names) if (folder / name).is_file()}


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")


@pytest.mark.slow
def test_two_processes_started_at_once_do_each_block_once_and_go_on_when_one_is_killed(start_runner, alone, tmp_path):
    shared = tmp_path / "shared"
    first, second = start_runner(shared), start_runner(shared)
    assert first.kill_after(20)
    assert second.end() == 0
    assert files_of(shared) == alone
    assert sorted(path.name for path in shared.iterdir() if "ledger" in path.name) == ["ledger"]
    counts = Counter(first.blocks() + second.blocks())
    assert len((shared / "created").read_text().split()) == 1
    assert sorted(counts) == list(range(100))
    # The block over which the first one died was done again, no other.
    assert {index for index, count in counts.items() if count > 1} <= {first.blocks()[-1]}
    assert len(first.blocks()) >= 20
    assert len(second.blocks()) >= 20


@pytest.mark.slow
def test_the_same_bytes_after_twenty_kills(start_runner, alone, tmp_path):
    killed = tmp_path / "killed"
    kills, begun = 0, Counter()
    for turn in range(20):
        runner = start_runner(killed)
        if turn % 4 == 0:
            time.sleep(0.005 * turn)  # while it joins, or creates the output, or begins
        kills += runner.kill_after(0 if turn % 4 == 0 else 4)
        begun.update(runner.blocks())
    last = start_runner(killed), start_runner(killed)
    assert [runner.end() for runner in last] == [0, 0]
    for runner in last:
        begun.update(runner.blocks())
    assert kills == 20
    assert files_of(killed) == alone
    assert sorted(begun) == list(range(100))
    assert sum(begun.values()) <= 100 + kills


def start(ledger_path: Path, grid: BlockGrid = GRID) -> Ledger:
    ledger = Ledger(ledger_path, {"a": 1})
    ledger.start()
    return ledger


def test_threads_with_ledgers_of_their_own_share_the_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "LOOK_SECONDS", 0.02)
    grid = BlockGrid(shape=(300, 4, 4), block_shape=(2, 4, 4))
    done, lock = Counter(), threading.Lock()

    def work(block):
        time.sleep(0.001)
        with lock:
            done[block.index] += 1

    def run(executor):
        ledger = Ledger(tmp_path / "ledger", {"a": 1})
        prepare_output(ledger, "resume", list)
        calls = []
        run_blocks(
            work,
            grid,
            ledger=ledger,
            execution=Execution(executor=executor, max_pending=3),
            progress=lambda *c: calls.append(c),
        )
        assert calls[-1] == (150, 150)
        assert calls == sorted(calls)
        assert ledger.finished == set(range(150))

    with ThreadPoolExecutor(4) as threads, ThreadPoolExecutor(2) as executor:
        for future in [threads.submit(run, kind) for kind in (None, None, executor, executor)]:
            future.result()
    assert done == dict.fromkeys(range(150), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger"]


def test_who_fails_leaves_its_blocks_to_the_others_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "LOOK_SECONDS", 0.02)
    start(tmp_path / "ledger")
    begun, may_fail = threading.Event(), threading.Event()
    done = []

    def bad(block):
        begun.set()
        may_fail.wait(timeout=30)
        raise InvalidArgumentError("a full disk")

    def fail():
        run_blocks(bad, GRID, ledger=Ledger(tmp_path / "ledger", {"a": 1}))

    with ThreadPoolExecutor(1) as thread:
        failing = thread.submit(fail)
        assert begun.wait(timeout=30)

        def work(block):
            done.append(block.index)
            if len(done) == 7:
                may_fail.set()

        run_blocks(work, GRID, ledger=Ledger(tmp_path / "ledger", {"a": 1}))
        with pytest.raises(MissingBlocksError, match="a full disk"):
            failing.result()
    assert sorted(done) == list(range(8))
    assert done[-1] == 0


def test_who_waits_says_for_whom(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sharing, "LOOK_SECONDS", 0.02)
    start(tmp_path / "ledger")
    waiting = threading.Event()

    class Listener:
        def filter(self, record):
            waiting.set()
            return True

    def work(block):
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            waiting.wait(timeout=30)

    begun = threading.Event()
    caplog.set_level("INFO", logger="csc_data.blocks.sharing")
    listener = Listener()
    sharing._log.addFilter(listener)
    try:
        with ThreadPoolExecutor(1) as thread:
            other = thread.submit(run_blocks, work, GRID, ledger=Ledger(tmp_path / "ledger", {"a": 1}))
            assert begun.wait(timeout=30)
            run_blocks(work, GRID, ledger=Ledger(tmp_path / "ledger", {"a": 1}))
            other.result()
    finally:
        sharing._log.removeFilter(listener)
    (message,) = caplog.messages
    assert message == f"1 of 8 blocks are left, and in the hands of {this_process()}: waiting for that"


def test_who_waits_ends_with_the_look_that_sees_the_last_block(tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "LOOK_SECONDS", 0.5)
    start(tmp_path / "ledger")
    begun, waited = threading.Event(), threading.Event()
    wait = sharing.SharedBlocks.wait
    waits = []

    def noted(supply):
        waits.append(supply)
        waited.set()
        other.result()
        wait(supply)

    def work(block):
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            waited.wait(timeout=30)

    def share():
        run_blocks(work, GRID, ledger=Ledger(tmp_path / "ledger", {"a": 1}))

    with ThreadPoolExecutor(1) as thread:
        monkeypatch.setattr(sharing.SharedBlocks, "wait", noted)
        other = thread.submit(share)
        assert begun.wait(timeout=30)
        share()
    assert len(waits) == 1


def pretend(presence: Presence, seconds: float, **process: object) -> None:
    """Let a process look as if it had last been there some seconds ago."""
    path = presence.folder / f"{presence.name}.alive"
    document = {**json.loads(path.read_text()), **process}
    path.write_text(json.dumps(document))
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_one_elsewhere_counts_as_dead_after_a_minute_without_a_sign(tmp_path, links):
    with arrive(tmp_path / "folder") as own:
        other = Presence(tmp_path / "folder")
        other.start()
        theirs = Claims(other)
        assert theirs.take("1")
        assert not own.take("1")
        pretend(other, 50, machine="elsewhere", pid=1)
        assert not own.take("1")
        assert theirs.is_mine("1")
        pretend(other, 70, machine="elsewhere", pid=1)
        assert own.take("1")
        assert own.was_taken_over("1")
        assert not own.take("1")
        assert not theirs.is_mine("1")  # when it stirs again, it sees so
        other.leave()


def test_one_of_this_machine_counts_as_dead_as_soon_as_its_process_is_gone(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    own = this_process()
    with arrive(tmp_path / "folder") as claims:
        for changes, dead in [
            ({}, False),
            ({"started": "0"}, True),  # its number came again
            ({"pid": gone.pid, "started": ""}, None),
            ({"pid": gone.pid, "started": "", "machine": "another container"}, False),
        ]:
            other = Presence(tmp_path / "folder")
            other.start()
            if dead is None:
                gone.wait(timeout=30)
            pretend(other, 0, **changes)
            assert claims.presence.is_alive(other.name) is (dead is False), changes
            other.leave()
            assert not claims.presence.is_alive(other.name)
    assert not own.is_gone


def test_who_stood_still_leaves_the_rest_of_a_group_to_who_took_it_over(tmp_path):
    grid = BlockGrid(shape=(300, 1, 1), block_shape=(1, 1, 1))
    ledger = start(tmp_path / "ledger", grid)
    groups = Groups(grid=grid)
    first, second, *_ = groups.all()
    assert len(first) > 1
    with sharing.SharedBlocks(ledger, groups) as supply, arrive(ledger.folder) as others:
        supply.mark(supply.take())
        (own,) = others.presence.others()
        path = ledger.folder / f"{own}.alive"
        path.write_text(json.dumps({**json.loads(path.read_text()), "machine": "elsewhere"}))
        os.utime(path, (time.time() - 70,) * 2)
        assert others.take("0")
        assert supply.take() == second[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not say so")
def test_a_killed_process_that_nobody_has_waited_for_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
        own = this_process()
        process = type(own)(host=own.host, machine=own.machine, pid=child.pid, started=started)
        assert not process.is_gone
        child.kill()
        deadline = time.monotonic() + 20
        while not process.is_gone and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.is_gone
    finally:
        child.communicate()


CLAIMS_AND_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from csc_data.blocks.claims import Claims
from csc_data.blocks.presence import Presence

link = os.link

def killed(own, path):
    if sys.argv[2] == "after":
        link(own, path)
    os.kill(os.getpid(), signal.SIGKILL)

os.link = killed
presence = Presence(Path(sys.argv[1]))
presence.start()
Claims(presence).take("7")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it has no SIGKILL")
@pytest.mark.parametrize("when", ["before", "after"])
def test_who_is_killed_while_it_claims_something_costs_others_no_time(tmp_path, when):
    folder = tmp_path / "folder"
    bystander = Presence(folder)
    with arrive(folder) as claims:
        bystander.start()
        ended = subprocess.run([sys.executable, "-c", CLAIMS_AND_IS_KILLED, folder, when], timeout=60, check=False)
        assert ended.returncode == -signal.SIGKILL
        assert (folder / "7.0").exists() is (when == "after")
        try:
            assert claims.take("7")
        finally:
            bystander.leave()
        assert claims.was_taken_over("7") is (when == "after")
        assert claims.holder("7") == claims.presence.name
        claims.give_back("7")
        assert claims.take("7")


@pytest.fixture(params=["hard links", "no hard links"])
def links(request, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "the file system has none")

    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", refuse)


def test_a_claim_whose_making_was_told_as_failed_is_ones_own(tmp_path, monkeypatch):
    """A server of NFS whose answer is lost does it once more."""
    link = os.link

    def twice(*names):
        link(*names)
        link(*names)

    with arrive(tmp_path / "folder") as claims:
        monkeypatch.setattr(os, "link", twice)
        assert claims.take("7")
        assert not Claims(claims.presence).take("7")
        assert not list((tmp_path / "folder").glob("*.claim"))


def test_a_claim_of_one_who_was_killed_before_it_said_its_name_is_free_at_once(tmp_path):
    """Without hard links: creating a file takes longer than writing a name into it, so many kills fall between them."""
    with arrive(tmp_path / "folder") as claims:
        (tmp_path / "folder/7.0").touch()
        other = Presence(tmp_path / "folder")
        other.start()
        try:
            assert not claims.take("7")  # it may be its
        finally:
            other.leave()
        assert claims.take("7")


def test_of_many_who_want_a_dead_ones_claim_one_gets_it(tmp_path, links):
    folder = tmp_path / "folder"
    dead = Presence(folder)
    dead.start()
    assert Claims(dead).take("7")
    dead.leave()
    others = [Presence(folder) for _ in range(8)]
    for other in others:
        other.start()
    together = threading.Barrier(len(others))

    def take(presence):
        together.wait(timeout=30)
        return Claims(presence).take("7")

    with ThreadPoolExecutor(len(others)) as threads:
        assert Counter(threads.map(take, others)) == {True: 1, False: 7}
    for other in others:
        other.leave()


@given(counts=st.tuples(*[st.integers(1, 12)] * 3), boxes=st.tuples(*[st.integers(1, 5)] * 3))
@settings(max_examples=40, deadline=None)
def test_every_block_is_in_one_group_and_those_of_a_shard_are_together(counts, boxes):
    grid = BlockGrid(shape=tuple(4 * n - 1 for n in counts), block_shape=(4, 4, 4))
    for together in (None, tuple(4 * n for n in boxes)):
        groups = Groups(grid=grid, together=together).all()
        assert sorted(index for group in groups for index in group) == list(range(len(grid)))
    for group in groups:
        assert len({tuple(b // (4 * n) for b, n in zip(grid[i].begin, boxes, strict=True)) for i in group}) == 1


def test_groups_are_small_in_the_end_and_few_in_all():
    many = Groups(grid=BlockGrid(shape=(500_000, 1, 1), block_shape=(1, 1, 1))).all()
    assert len(many) < 6000
    assert max(map(len, many)) * 64 <= 500_000
    assert {len(group) for group in many[-64:]} == {1}
    with pytest.raises(InvalidArgumentError, match=r"blocks of \(4, 4, 4\) voxels do not divide \(6, 8, 8\)"):
        Groups(grid=GRID, together=(6, 8, 8))
