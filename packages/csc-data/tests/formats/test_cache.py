from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.errors import InvalidArgumentError, UnreadableDataError
from csc_data.formats.cache import ENTRY_BYTES, ByteCache, ChunkCache, set_cache_bytes, shared_cache


def chunk_of(number, size=1000):
    return np.full(size, number % 251, dtype=np.uint8)


def ask(cache, numbers, load, stamp=0, **options):
    """Return what the cache gives for keys that are numbers, by position."""
    return dict(cache.chunks([(number, stamp) for number in numbers], load, **options))


class Loader:
    """Loads chunks and counts how often each was."""

    def __init__(self, numbers, missing=()):
        self.numbers, self.missing, self.loads = numbers, missing, []

    def __call__(self, positions):
        for position in reversed(positions):
            number = self.numbers[position]
            self.loads.append(number)
            yield position, None if number in self.missing else chunk_of(number)


def test_chunks_are_loaded_once_and_come_back_unchanged():
    cache, numbers = ChunkCache(10**6), [3, 1, 2]
    loader = Loader(numbers)
    for _ in range(3):
        found = ask(cache, numbers, loader)
        assert [found[position][0] for position in range(3)] == numbers
    assert sorted(loader.loads) == [1, 2, 3]
    assert cache.held_bytes == 3 * (1000 + ENTRY_BYTES)


def test_a_missing_chunk_is_remembered_as_missing():
    cache = ChunkCache(10**6)
    loader = Loader([1, 2], missing=[2])
    for _ in range(3):
        assert ask(cache, [1, 2], loader)[1] is None
    assert sorted(loader.loads) == [1, 2]


def test_a_chunk_that_changed_is_loaded_again():
    cache, loader = ChunkCache(10**6), Loader([1])
    for stamp in ("a", "a", "b", "b", None):
        ask(cache, [1], loader, stamp)
    assert len(loader.loads) == 3
    assert cache.held_bytes == 1000 + ENTRY_BYTES


def test_chunks_that_are_held_cannot_be_written_to():
    cache = ChunkCache(10**6)
    found = ask(cache, [1], Loader([1]))[0]
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 7


@given(
    limit=st.integers(0, 8000),
    requests=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True), max_size=30),
    sizes=st.lists(st.integers(0, 4000), min_size=10, max_size=10),
)
def test_no_more_is_held_than_allowed_and_every_request_is_answered(limit, requests, sizes):
    cache = ChunkCache(limit)

    for numbers in requests:

        def load(positions, numbers=numbers):
            for position in positions:
                yield position, chunk_of(numbers[position], sizes[numbers[position]])
                assert cache.held_bytes <= limit

        found = ask(cache, numbers, load)
        assert {n: len(found[position]) for position, n in enumerate(numbers)} == {n: sizes[n] for n in numbers}
        assert 0 <= cache.held_bytes <= limit


def test_the_least_recently_used_chunk_leaves_first():
    cache = ChunkCache(3 * (1000 + ENTRY_BYTES))
    for number in (1, 2, 3, 1, 4):
        ask(cache, [number], Loader([number]))
    again = Loader([1, 3, 4, 2])
    ask(cache, [1, 3, 4, 2], again)
    assert again.loads == [2]


def test_what_is_not_to_be_kept_is_not():
    cache, loader = ChunkCache(10**6), Loader([1, 2])
    ask(cache, [1, 2], loader, keep=False)
    assert cache.held_bytes == 0
    ask(cache, [1, 2], loader)
    assert sorted(loader.loads) == [1, 1, 2, 2]


def test_making_it_smaller_takes_effect_at_once():
    cache = ChunkCache(10**6)
    ask(cache, range(10), Loader(range(10)))
    cache.resize(2 * (1000 + ENTRY_BYTES))
    assert cache.held_bytes == cache.max_bytes
    cache.clear()
    assert cache.held_bytes == 0
    for call in (lambda: cache.resize(-1), lambda: ChunkCache(-1)):
        with pytest.raises(InvalidArgumentError):
            call()


def test_views_count_with_all_that_they_keep_alive():
    cache = ChunkCache(10**6)
    whole = np.zeros(100_000, dtype=np.uint8)
    ask(cache, [1], lambda positions: ((position, whole[:10]) for position in positions))
    assert cache.held_bytes > 100_000


def test_a_chunk_that_threads_ask_for_at_once_is_loaded_once():
    cache, threads = ChunkCache(10**6), 8
    started, loads, lock = threading.Barrier(threads, timeout=60), [], threading.Lock()
    entered, let_go = threading.Event(), threading.Event()

    def load(positions):
        entered.set()
        assert let_go.wait(60)
        for position in positions:
            with lock:
                loads.append(position)
            yield position, chunk_of(position)

    def run(_):
        started.wait()
        return ask(cache, range(5), load)

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(run, n) for n in range(threads)]
        assert entered.wait(60)
        let_go.set()
        results = [future.result(60) for future in running]
    assert sorted(loads) == list(range(5))
    assert all(found[4][0] == 4 for found in results)


def test_threads_that_ask_for_overlapping_chunks_do_not_wait_for_each_other_in_a_circle():
    cache = ChunkCache(10**6)

    def run(seed):
        rng = np.random.default_rng(seed)
        for _ in range(200):
            numbers = rng.permutation(12)[:6].tolist()
            found = ask(cache, numbers, Loader(numbers), stamp=int(rng.integers(2)))
            assert {position: chunk[0] for position, chunk in found.items()} == dict(enumerate(numbers))

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(run, seed) for seed in range(6)]:
            future.result(120)


def test_who_waits_for_a_load_that_fails_asks_again():
    cache = ChunkCache(10**6)
    entered, let_go = threading.Event(), threading.Event()

    def fail(positions):
        entered.set()
        assert let_go.wait(60)
        raise UnreadableDataError("no")
        yield positions

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, cache, [1, 2], fail)
        assert entered.wait(60)
        second = pool.submit(ask, cache, [2, 3], Loader([2, 3]))
        let_go.set()
        with pytest.raises(UnreadableDataError):
            first.result(60)
        assert [chunk[0] for _, chunk in sorted(second.result(60).items())] == [2, 3]
    assert sorted(ask(cache, [1, 2], Loader([1, 2]))) == [0, 1]


def test_a_key_that_is_asked_for_twice_is_given_twice():
    cache, loader = ChunkCache(10**6), Loader([5, 5])
    assert sorted(ask(cache, [5, 5], loader)) == [0, 1]
    assert loader.loads == [5]


def test_another_process_starts_with_an_empty_cache():
    cache = ChunkCache(12345)
    ask(cache, [1], Loader([1]))
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.max_bytes, copy.held_bytes) == (12345, 0)


def test_there_is_one_cache_to_a_process(fresh_cache):
    set_cache_bytes(5000)
    assert shared_cache() is fresh_cache
    assert fresh_cache.max_bytes == 5000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_process_starts_with_an_empty_cache_even_if_a_lock_was_held(fresh_cache):
    set_cache_bytes(6000)
    ask(fresh_cache, [1], Loader([1]))
    with fresh_cache._lock:  # as if another thread were in the middle of a read
        child = os.fork()
        if child == 0:
            fresh = shared_cache()
            right = (fresh.max_bytes, fresh.held_bytes) == (6000, 0) and len(ask(fresh, [1], Loader([1]))) == 1
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_environment_sets_the_bytes(run_python):
    code = "from csc_data.formats.cache import shared_cache; print(shared_cache().max_bytes)"
    assert run_python(code, CSC_CACHE_BYTES="1000000").stdout.strip() == "1000000"
    assert "CSC_CACHE_BYTES must be a number of bytes, got 'much'" in run_python(code, CSC_CACHE_BYTES="much").stderr


KEYS = st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("keep"), KEYS, st.integers(0, 12)),
    st.tuples(st.sampled_from(["find", "drop"]), KEYS, st.just(0)),
    st.tuples(st.just("resize"), st.integers(0, 20), st.just(0)),
)


@given(st.lists(STEPS, max_size=60))
def test_it_holds_what_a_list_in_order_of_use_would_hold(steps):
    cache = ByteCache(10)
    used: list[tuple[int, int]] = []  # key and size, the last used one last
    limit = 10
    for step, key, size in steps:
        former = next((entry for entry in used if entry[0] == key), None) if step != "resize" else None
        if step == "find":
            assert cache.find(key) == (former and f"{former}")
            used = [entry for entry in used if entry != former] + ([former] if former else [])
        elif step == "drop":
            cache.drop(key)
            used = [entry for entry in used if entry != former]
        elif step == "keep":
            cache.keep(key, f"{(key, size)}", size)
            used = [entry for entry in used if entry != former] + ([(key, size)] if size <= limit else [])
        else:
            limit = key
            cache.resize(limit)
        while sum(size for _, size in used) > limit:
            used.pop(0)
        assert cache.held_bytes == sum(size for _, size in used) <= cache.max_bytes == limit
    assert [key for key in range(6) if cache.find(key)] == sorted(key for key, _ in used)


def test_a_copy_for_another_process_is_empty_and_as_large():
    cache = ByteCache(10)
    cache.keep("a", "value", 4)
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.max_bytes, copy.held_bytes, copy.find("a")) == (10, 0, None)
    cache.clear()
    assert (cache.held_bytes, cache.find("a")) == (0, None)


def test_a_negative_number_of_bytes_is_refused():
    with pytest.raises(InvalidArgumentError, match="at least 0"):
        ByteCache(-1)
    with pytest.raises(InvalidArgumentError, match="at least 0"):
        ByteCache(1).resize(-1)
