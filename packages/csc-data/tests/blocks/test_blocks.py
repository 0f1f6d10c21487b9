from __future__ import annotations

import dataclasses
import errno
import importlib
import multiprocessing
import pickle
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.blocks import (
    BlockGrid,
    Execution,
    Ledger,
    MissingBlocksError,
    align_block_shape,
    run_blocks,
)
from csc_data.errors import CscError, InvalidArgumentError, UnreadableDataError
from csc_data.formats.reading import open_array
from csc_data.formats.writing import create_array

shapes = st.tuples(*[st.integers(1, 9)] * 3)
halos = st.tuples(*[st.integers(0, 9)] * 3)


@given(shape=shapes, block_shape=shapes, halo=halos)
@settings(max_examples=60, deadline=None)
def test_every_voxel_is_written_once_and_read_with_its_halo(shape, block_shape, halo):
    grid = BlockGrid(shape=shape, block_shape=block_shape, halo=halo)
    written = np.zeros(shape, dtype=int)
    data = np.arange(written.size).reshape(shape)
    padded = np.pad(data, 20, constant_values=-1)
    for number, block in enumerate(grid):
        assert block.index == number
        assert grid[number] == block
        written[block.write] += 1
        read = padded[tuple(slice(20 + b, 20 + b + n) for b, n in zip(block.read_begin, block.read_shape, strict=True))]
        assert read.shape == block.read_shape
        np.testing.assert_array_equal(read[block.inner], data[block.write])
        for n, m, h in zip(block.read_shape, block.shape, halo, strict=True):
            assert n == m + 2 * h
    assert (written == 1).all()
    assert number + 1 == len(grid)


@given(shape=shapes, wanted=shapes, chunks=shapes)
def test_aligned_blocks_share_no_chunk(shape, wanted, chunks):
    block_shape = align_block_shape(wanted, chunks)
    assert all(w <= b < w + c for w, b, c in zip(wanted, block_shape, chunks, strict=True))
    owners = {}
    for block in BlockGrid(shape=shape, block_shape=block_shape):
        touched = [range(s.start // c, (s.stop - 1) // c + 1) for s, c in zip(block.write, chunks, strict=True)]
        for chunk in ((z, y, x) for z in touched[0] for y in touched[1] for x in touched[2]):
            assert owners.setdefault(chunk, block.index) == block.index


def test_an_empty_array_has_no_blocks():
    grid = BlockGrid(shape=(0, 5, 5), block_shape=(4, 4, 4))
    assert len(grid) == 0
    run_blocks(lambda block: None, grid)


def test_an_index_beyond_the_grid_and_blocks_of_nothing_are_refused():
    with pytest.raises(IndexError, match="block 8 of 8"):
        BlockGrid(shape=(4, 4, 4), block_shape=(2, 2, 2))[8]
    with pytest.raises(InvalidArgumentError, match="block_shape must be at least 1"):
        BlockGrid(shape=(4, 4, 4), block_shape=(2, 0, 2))


GRID = BlockGrid(shape=(8, 8, 8), block_shape=(4, 4, 4))
FINGERPRINT = {"source": "a", "grid": [8, 8, 8]}


class BadBlockError(CscError):
    """What a block raises here."""


def test_finished_blocks_are_not_done_again(tmp_path):
    done = []

    def work(block):
        if block.index == 5 and len(done) < 6:
            raise BadBlockError("it is bad")
        done.append(block.index)

    ledger = Ledger(tmp_path / "ledger", FINGERPRINT)
    ledger.start()
    with pytest.raises(MissingBlocksError, match="3 of 8 blocks are not finished: it is bad; it would fail again, so"):
        run_blocks(work, GRID, ledger=ledger)
    assert done == [0, 1, 2, 3, 4]
    done.append("again")
    calls = []
    again = Ledger(tmp_path / "ledger", FINGERPRINT)
    assert again.read()
    run_blocks(work, GRID, ledger=again, progress=lambda *call: calls.append(call))
    assert done == [0, 1, 2, 3, 4, "again", 5, 6, 7]
    assert calls == [(5, 8), (6, 8), (7, 8), (8, 8)]


# A module of its own, so that other processes can import it.
SQUARE = """
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csc_data.formats.reading import open_array
from csc_data.formats.writing import open_array_for_writing
from csc_data.errors import CscError


class BadBlockError(CscError):
    pass


@dataclass(frozen=True)
class Square:
    source: str
    target: str
    bad: int = -1
    deadly: int = -1  # its worker dies, the first time

    def __call__(self, block):
        if block.index == self.bad:
            raise BadBlockError(f"block {block.index} is bad")
        if block.index == self.deadly and not Path(self.target, "died").exists():
            Path(self.target, "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        values = np.asarray(open_array(self.source)[block.write])
        open_array_for_writing(self.target)[block.write] = values**2
"""


@pytest.fixture
def square(tmp_path, monkeypatch):
    (tmp_path / "square_blocks.py").write_text(SQUARE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("square_blocks")
    data = np.arange(20 * 11 * 7, dtype="i8").reshape(20, 11, 7)
    create_array(tmp_path / "in", shape=data.shape, dtype="i8", chunks=(4, 4, 4))[...] = data
    create_array(tmp_path / "out", shape=data.shape, dtype="i8", chunks=(4, 4, 4))
    yield data, module.Square(str(tmp_path / "in"), str(tmp_path / "out"))
    del sys.modules["square_blocks"]


@pytest.mark.parametrize("kind", [None, "threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_all_executors_write_the_same(square, kind):
    data, work = square
    grid = BlockGrid(shape=data.shape, block_shape=(4, 4, 4))
    executor = {None: lambda: None, "threads": lambda: ThreadPoolExecutor(2), "processes": process_pool}[kind]()
    try:
        run_blocks(work, grid, execution=Execution(executor=executor, max_pending=3))
    finally:
        if executor:
            executor.shutdown()
    np.testing.assert_array_equal(open_array(work.target)[...], data**2)


def process_pool():
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


def test_a_bad_block_ends_the_run_with_its_reason_and_the_others_under_way_are_kept(square, tmp_path):
    data, work = square
    grid = BlockGrid(shape=data.shape, block_shape=(4, 4, 4))
    ledger = Ledger(tmp_path / "ledger", {})
    ledger.start()
    bad = dataclasses.replace(work, bad=4)
    with ThreadPoolExecutor(2) as executor, pytest.raises(MissingBlocksError, match="block 4 is bad") as caught:
        run_blocks(bad, grid, ledger=ledger, execution=Execution(executor=executor, max_pending=4))
    assert caught.value.missing == len(grid) - len(ledger.finished)
    assert 4 not in ledger.finished
    assert {0, 1, 2, 3} <= ledger.finished
    assert len(ledger.finished) < 12  # it did not go on with all the rest
    with ThreadPoolExecutor(2) as executor:
        run_blocks(work, grid, ledger=ledger, execution=Execution(executor=executor))
    np.testing.assert_array_equal(open_array(work.target)[...], data**2)


def test_no_more_than_max_pending_blocks_are_under_way():
    running, most, lock, together = 0, 0, threading.Lock(), threading.Barrier(3)

    def work(block):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if block.index < 3:
            together.wait(timeout=60)
        time.sleep(0.002)
        with lock:
            running -= 1

    with ThreadPoolExecutor(8) as executor:
        run_blocks(work, GRID, execution=Execution(executor=executor, max_pending=3))
    assert most == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_a_block_that_cannot_be_read_is_tried_again(workers):
    attempts = Counter()

    def work(block):
        attempts[block.index] += 1
        if block.index % 3 == 0 and attempts[block.index] <= 2:
            raise OSError("no space left") if block.index % 2 else UnreadableDataError("no connection")

    with ThreadPoolExecutor(2) as executor:
        run_blocks(work, GRID, execution=Execution(executor=executor if workers else None))
    assert set(attempts) == set(range(len(GRID)))
    assert {count for index, count in attempts.items() if index % 3 == 0} == {3}
    assert {count for index, count in attempts.items() if index % 3} == {1}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("error", "expected"), [(UnreadableDataError("gone"), 3), (OSError("full"), 3), (InvalidArgumentError("wrong"), 1)]
)
def test_attempts_end_and_what_is_wrong_in_itself_gets_one(workers, error, expected):
    attempts = Counter()

    def work(block):
        attempts[block.index] += 1
        if block.index == 1:
            raise error

    with ThreadPoolExecutor(2) as executor, pytest.raises(MissingBlocksError, match=str(error)):
        run_blocks(work, GRID, execution=Execution(executor=executor if workers else None, retries=2))
    assert attempts[1] == expected


@pytest.mark.parametrize("options", [{"max_pending": 0}, {"retries": -1}])
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(InvalidArgumentError, match="max_pending must be 1"):
        Execution(**options)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_worker_that_dies_ends_a_pool_and_the_next_run_does_the_rest(square, tmp_path):
    data, work = square
    grid = BlockGrid(shape=data.shape, block_shape=(4, 4, 4))
    ledger = Ledger(tmp_path / "ledger", {})
    ledger.start()
    deadly = dataclasses.replace(work, deadly=7)
    with process_pool() as executor, pytest.raises(MissingBlocksError, match="workers were lost") as caught:
        run_blocks(deadly, grid, ledger=ledger, execution=Execution(executor=executor, max_pending=2))
    assert caught.value.missing == len(grid) - len(ledger.finished) > 0
    with process_pool() as executor:
        run_blocks(deadly, grid, ledger=ledger, execution=Execution(executor=executor))
    np.testing.assert_array_equal(open_array(work.target)[...], data**2)


@pytest.mark.parametrize(
    ("error", "attempts", "remedy"),
    [
        (OSError("no connection"), 3, "; run again to do the rest"),
        (UnreadableDataError("a chunk is cut off"), 3, "; when that is mended, run again to do the rest"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "no space is left on the disk"),
        (InvalidArgumentError("a wrong threshold"), 1, "; it would fail again, so mend that first"),
    ],
)
@pytest.mark.parametrize("threads", [0, 2])
def test_what_to_do_depends_on_what_happened(error, attempts, remedy, threads):
    calls = []

    def work(block):
        if block.index == 3:
            calls.append(block.index)
            raise error

    with ThreadPoolExecutor(2) as executor, pytest.raises(MissingBlocksError) as caught:
        run_blocks(work, GRID, execution=Execution(executor=executor) if threads else None)
    assert len(calls) == attempts
    assert remedy in str(caught.value)


def test_an_error_that_is_not_of_the_toolbox_is_not_hidden():
    def work(block):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        run_blocks(work, GRID)
    with ThreadPoolExecutor(2) as executor, pytest.raises(ZeroDivisionError):
        run_blocks(work, GRID, execution=Execution(executor=executor))


def test_the_error_crosses_processes():
    error = pickle.loads(pickle.dumps(MissingBlocksError(2, 8, "why", "mend it")))
    assert (error.missing, error.total, error.reason) == (2, 8, "why")
    assert str(error) == "2 of 8 blocks are not finished: why; mend it"
