"""Arrays shared by processes: never torn, within their bytes, and never in the way of those who go on living."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.errors import InvalidArgumentError
from csc_data.loader.sources.holding import shared_arrays
from csc_data.loader.sources.holding.shared_arrays import SharedArrays
from csc_data.loader.sources.holding.shared_memory import OwnMemory, SharedMemory

posix = pytest.mark.skipif(sys.platform == "win32", reason="processes have nothing in common there")
BUDGET = 1 << 18  # a few arrays of those that `content` gives
WAIT = 60


def content(number: int) -> tuple[np.ndarray, ...]:
    """Return arrays that tell by themselves whether they are whole."""
    rng = np.random.default_rng(number)
    values = rng.integers(0, 255, int(rng.integers(1, 60_000)), dtype=np.uint8)
    return values, np.array([number, zlib.crc32(values.tobytes())], dtype=np.int64)


def is_whole(arrays: tuple[np.ndarray, ...], number: int) -> bool:
    values, label = arrays
    return label[0] == number and zlib.crc32(values.tobytes()) == label[1]


def churn(cache: SharedArrays, seed: int, rounds: int) -> None:
    """Use and make at random; what is in use must stay what it is."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        first, second = rng.integers(0, 40, 2).tolist()
        with cache.use_or_make(f"key{first}", lambda number=first: content(number)) as arrays:
            assert is_whole(arrays, first)
            with cache.use(f"key{second}") as others:
                assert others is None or is_whole(others, second)
            if second != first:
                with cache.use_or_make(f"key{second}", lambda number=second: content(number)) as others:
                    assert is_whole(others, second)
            assert is_whole(arrays, first)
            assert cache.held_bytes <= cache.max_bytes


def forked(work, *args) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=work, args=args)
    process.start()
    return process


def kill(process: multiprocessing.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join(WAIT)
    assert process.exitcode == -signal.SIGKILL


def stop_for_good(reached) -> None:
    reached.set()
    time.sleep(WAIT)


@pytest.fixture
def event():
    return multiprocessing.get_context("fork").Event()


def test_what_is_made_once_is_used_again_and_cannot_be_written_to():
    cache = SharedArrays(BUDGET)
    given = (np.arange(6.0).reshape(2, 3), np.zeros((0, 4), np.uint8), np.array(7, np.int16), np.arange(8)[::2])
    with cache.use("a") as arrays:
        assert arrays is None
    with cache.use_or_make("a", lambda: given) as arrays:
        assert cache.has("a")
        assert not cache.has("b")
    for context in (cache.use("a"), cache.use_or_make("a", lambda: pytest.fail("made again"))):
        with context as arrays:
            for array, expected in zip(arrays, given, strict=True):
                np.testing.assert_array_equal(array, expected)
                assert array.dtype == expected.dtype
                assert not array.flags.writeable
    cache.clear()
    assert not cache.has("a")


@given(
    budget=st.sampled_from([0, 1, 5000, 1 << 14, 1 << 16, 1 << 18]),
    sizes=st.lists(st.integers(0, 1 << 17), min_size=1, max_size=30),
)
@settings(max_examples=100)
def test_no_more_bytes_are_held_than_allowed_and_what_is_too_large_is_given_all_the_same(budget, sizes):
    cache = SharedArrays(budget)
    for number, size in enumerate(sizes):
        with cache.use_or_make(str(number), lambda n=number, s=size: (np.full(s, n, np.uint8),)) as (array,):
            assert len(array) == size
            assert np.all(array == number)
            assert cache.held_bytes <= budget
            assert cache.has(str(number)) or size + 8192 > budget


def test_the_memory_itself_is_no_larger_than_allowed():
    cache = SharedArrays(BUDGET)
    churn(cache, 0, 100)
    state = os.fstat(cache._memory.descriptor)
    assert max(state.st_size, state.st_blocks * 512) <= BUDGET


def test_the_least_recently_used_leaves_first_but_not_what_is_in_use():
    cache = SharedArrays(BUDGET)

    def hold(key):
        return cache.use_or_make(key, lambda: (np.zeros(BUDGET // 4, np.uint8),))

    for key in "abc":
        with hold(key):
            pass
    with cache.use("a"):
        pass
    with hold("d"):
        assert [key for key in "abcd" if cache.has(key)] == ["a", "c", "d"]
    with cache.use("a"), cache.use("c"), cache.use("d"):
        with hold("e") as (array,):  # from memory of its own
            assert len(array) == BUDGET // 4
        assert [key for key in "acde" if cache.has(key)] == ["a", "c", "d"]
        cache.clear()
        assert cache.has("a")


def test_nothing_is_evicted_for_what_does_not_fit_anyway():
    cache = SharedArrays(BUDGET)
    with cache.use_or_make("small", lambda: content(0)):
        pass
    with cache.use_or_make("large", lambda: (np.zeros(BUDGET, np.uint8),)):
        pass
    assert cache.has("small")


def test_wrong_use_is_named():
    with pytest.raises(InvalidArgumentError, match="max_bytes"):
        SharedArrays(-1)
    with (
        pytest.raises(InvalidArgumentError, match="object"),
        SharedArrays(BUDGET).use_or_make("a", lambda: (np.array([None]),)),
    ):
        pass


def test_many_threads():
    cache = SharedArrays(BUDGET)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: churn(cache, seed, 150), range(8)))


def test_threads_wait_for_the_one_that_makes():
    cache, made = SharedArrays(BUDGET), []

    def make():
        assert cache.is_being_made("a")
        made.append(threading.get_ident())
        time.sleep(0.1)
        return content(1)

    def use(_):
        with cache.use_or_make("a", make) as arrays:
            return is_whole(arrays, 1)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(8)))
    assert len(made) == 1
    assert not cache.is_being_made("a")


def test_a_failure_is_the_makers_and_the_others_try_themselves():
    cache, tries = SharedArrays(BUDGET), []

    def make():
        tries.append(threading.get_ident())
        time.sleep(0.02)
        if len(tries) < 3:
            raise ValueError("no chunk")
        return content(1)

    def use(_):
        try:
            with cache.use_or_make("a", make) as arrays:
                return is_whole(arrays, 1)
        except ValueError:
            return None

    with ThreadPoolExecutor(5) as pool:
        assert sorted(pool.map(use, range(5)), key=str) == [None, None, True, True, True]
    assert len(tries) == 3


@posix
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_processes_with_threads():
    cache = SharedArrays(BUDGET)

    def work(seed):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda n: churn(cache, 10 * seed + n, 100), range(3)))

    with ThreadPoolExecutor(1) as pool:  # one that is at work while processes are forked
        own = pool.submit(churn, cache, 99, 200)
        processes = [forked(work, seed) for seed in range(4)]
        own.result()
        for process in processes:
            process.join(WAIT)
    assert [process.exitcode for process in processes] == [0] * 4


@posix
def test_one_process_makes_and_all_share():
    cache = SharedArrays(BUDGET)
    made = multiprocessing.get_context("fork").Value("i", 0)

    def make():
        with made.get_lock():
            made.value += 1
        time.sleep(0.2)
        return content(5)

    def work():
        with cache.use_or_make("a", make) as arrays:
            assert is_whole(arrays, 5)

    processes = [forked(work) for _ in range(4)]
    for process in processes:
        process.join(WAIT)
        assert process.exitcode == 0
    assert made.value == 1
    with cache.use("a") as arrays:
        assert is_whole(arrays, 5)


SCRIPT = """
import multiprocessing, os, pickle, sys, zlib
from concurrent.futures import ProcessPoolExecutor
import numpy as np
from csc_data.loader.sources.holding.shared_arrays import SharedArrays

def content(number):
    values = np.random.default_rng(number).integers(0, 255, 20_000 + 1000 * number, dtype=np.uint8)
    return values, np.array([zlib.crc32(values.tobytes())])

def work(cache, seed):
    with cache.use("parents") as arrays:
        assert arrays is not None and arrays[0].sum() == 45
    for number in np.random.default_rng(seed).integers(0, 20, 300).tolist():
        with cache.use_or_make(str(number), lambda: content(number)) as (values, label):
            assert zlib.crc32(values.tobytes()) == label[0]

def is_empty(cache):
    return not cache.has("parents") and cache.max_bytes == 1 << 18

if __name__ == "__main__":
    cache = SharedArrays(1 << 18)
    with cache.use_or_make("parents", lambda: (np.arange(10),)):
        context = multiprocessing.get_context(sys.argv[1])
        processes = [context.Process(target=work, args=(cache, seed)) for seed in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert sum(cache.has(str(number)) for number in range(20)) > 2
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            assert pool.submit(is_empty, cache).result()
"""


@posix
def test_spawned_processes_share_it_when_it_is_given_to_them(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    subprocess.run([sys.executable, script, "spawn"], check=True, timeout=3 * WAIT)


def test_a_copy_is_an_empty_one_of_its_own():
    cache = SharedArrays(BUDGET)
    with cache.use_or_make("a", lambda: content(0)):
        copy = pickle.loads(pickle.dumps(cache))
    assert not copy.has("a")
    assert copy.max_bytes == BUDGET


@posix
def test_a_killed_maker_is_followed_by_another(event):
    cache = SharedArrays(BUDGET)

    def work():
        with cache.use_or_make("a", lambda: stop_for_good(event)):
            pass

    process = forked(work)
    assert event.wait(WAIT)
    assert cache.is_being_made("a")
    threading.Timer(0.2, kill, [process]).start()
    with cache.use_or_make("a", lambda: content(3)) as arrays:
        assert is_whole(arrays, 3)
        assert not process.is_alive()
    assert cache.has("a")


@posix
def test_what_a_killed_process_used_can_leave_and_what_a_living_one_uses_cannot(event):
    cache = SharedArrays(BUDGET)
    with cache.use_or_make("a", lambda: content(0)):
        pass

    def work():
        with cache.use("a"):
            stop_for_good(event)

    process = forked(work)
    assert event.wait(WAIT)
    cache.clear()
    assert cache.has("a")
    kill(process)
    cache.clear()
    assert not cache.has("a")


@posix
@pytest.mark.parametrize("moment", ["write", "try_lock", "unlock"])
def test_a_process_killed_with_the_locks_in_its_hands_is_not_in_the_way(event, monkeypatch, moment):
    cache = SharedArrays(BUDGET)
    churn(cache, 0, 50)

    def work():
        monkeypatch.setattr(SharedMemory, moment, lambda *_, **__: stop_for_good(event))
        churn(cache, 1, 50)

    process = forked(work)
    assert event.wait(WAIT)
    kill(process)
    churn(cache, 2, 50)


@posix
@pytest.mark.slow
def test_processes_killed_at_any_time_leave_whole_arrays():
    cache = SharedArrays(BUDGET)
    rng = np.random.default_rng(0)
    for seed in range(25):
        victims = [forked(churn, cache, 2 * seed + n, 100_000) for n in range(2)]
        time.sleep(rng.uniform(0, 0.1))
        kill(victims[0])
        churn(cache, seed, 20)
        kill(victims[1])
    cache.clear()
    assert cache.held_bytes == SharedArrays(BUDGET).held_bytes


@posix
def test_a_use_that_a_fork_falls_into_stays_the_parents(event):
    cache = SharedArrays(BUDGET)
    with cache.use_or_make("a", lambda: content(0)) as arrays:
        child = os.fork()
        if not child:
            arrays_are_whole = is_whole(arrays, 0)
    if not child:
        os._exit(0 if arrays_are_whole else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@posix
@pytest.mark.parametrize("memory", ["memory", "file"])
def test_nothing_is_left_of_a_killed_process(tmp_path, memory):
    code = f"""
        import os, signal, sys
        if {memory!r} == "file":
            del os.memfd_create
        import numpy as np
        from csc_data.loader.sources.holding.shared_arrays import SharedArrays
        cache = SharedArrays(1 << 20)
        if not os.fork():
            with cache.use_or_make("a", lambda: (np.arange(10_000),)):
                assert cache.has("a")
                os._exit(0)
        assert os.wait()[1] == 0 and cache.has("a")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    shared = Path("/dev/shm")
    before = set(shared.iterdir()) if shared.is_dir() else set()
    given = {**os.environ, "TMPDIR": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=given, timeout=WAIT, check=False)
    assert result.returncode == -signal.SIGKILL
    assert not list(tmp_path.iterdir())
    assert not before or {path for path in shared.iterdir() if "csc" in path.name} <= before


@posix
def test_it_works_where_only_files_can_be_shared(monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    cache = SharedArrays(BUDGET)
    process = forked(churn, cache, 0, 100)
    churn(cache, 1, 100)
    process.join(WAIT)
    assert process.exitcode == 0


def test_it_works_for_one_process_where_nothing_can_be_shared(monkeypatch):
    monkeypatch.setattr(shared_arrays, "SharedMemory", lambda size, writable, _: OwnMemory(size, writable))
    cache = SharedArrays(BUDGET)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: churn(cache, seed, 50), range(4)))
    with cache.use_or_make("a", lambda: content(0)) as arrays:
        assert not arrays[0].flags.writeable
        assert not pickle.loads(pickle.dumps(cache)).has("a")


@posix
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.ENOMEM])
def test_a_full_disk_costs_time_and_is_said_once(monkeypatch, caplog, error):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    cache = SharedArrays(BUDGET)

    def write(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "pwrite", write)
    for number in range(5):
        with cache.use_or_make(str(number), lambda number=number: content(number)) as arrays:
            assert is_whole(arrays, number)
            assert not cache.has(str(number))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert os.strerror(error) in caplog.text
    monkeypatch.undo()
    with cache.use_or_make("a", lambda: content(0)):
        assert cache.has("a")


@posix
def test_no_memory_from_the_start_is_said_once_and_all_are_made_anew(monkeypatch, caplog):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/there/is/no/such/folder")
    cache = SharedArrays(BUDGET)
    churn(cache, 0, 5)
    cache.clear()
    assert not cache.has("key0")
    assert not cache.is_being_made("key0")
    assert cache.held_bytes == 0
    assert len(caplog.records) == 1


def test_many_uses_without_growth():
    cache = SharedArrays(BUDGET)

    def use(count, keys):
        for number in range(count):
            with cache.use_or_make(f"key{number % keys}", lambda: (np.zeros(1000, np.uint8),)):
                pass
        gc.collect()

    descriptors = Path("/proc/self/fd")
    use(2000, 1000)
    open_before = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    tracemalloc.start()
    try:
        use(2000, 1000)
        before = tracemalloc.get_traced_memory()[0]
        use(100_000, 10)
        use(2000, 1000)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
    assert not open_before or len(list(descriptors.iterdir())) == open_before


def test_its_memory_goes_with_it():
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("open files cannot be listed here")
    before = len(list(descriptors.iterdir()))
    caches = [SharedArrays(BUDGET) for _ in range(20)]
    for cache in caches:
        churn(cache, 0, 3)
    del cache, caches
    gc.collect()
    assert len(list(descriptors.iterdir())) == before


@pytest.mark.parametrize("pages", [16, 257, 300, 333, 500])
def test_several_arrays_come_back_whatever_the_size_of_the_cache(pages):
    """The index of a cache ends where its size says, and what follows begins at a multiple of 64 bytes."""
    cache = SharedArrays(pages * (1 << 16) + 4096 * pages)
    given = (np.arange(7, dtype=np.uint8), np.linspace(0, 1, 33, dtype=np.float32), np.arange(5, dtype=np.int64))
    for number in range(9):
        with cache.use_or_make(str(number), lambda: given) as arrays:
            for one, other in zip(arrays, given, strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.ctypes.data % 64 == 0
