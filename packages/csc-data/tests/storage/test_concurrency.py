from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.storage.concurrency import map_unordered


@given(count=st.integers(0, 200), workers=st.integers(1, 12), batch_size=st.integers(1, 50))
def test_every_item_is_done_once(count, workers, batch_size):
    results = map_unordered(
        lambda item: item * 2, range(count), workers=workers, stop=threading.Event(), batch_size=batch_size
    )
    assert sorted(results) == [(item, item * 2) for item in range(count)]


def test_as_many_as_asked_for_are_under_way_at_once():
    together = threading.Barrier(5)
    results = map_unordered(lambda _: together.wait(timeout=60), range(10), workers=5, stop=threading.Event())
    assert len(list(results)) == 10


def test_what_the_work_raises_is_raised_here_and_ends_it():
    done = []

    def work(item):
        if item == 3:
            raise ValueError("three")
        done.append(item)

    with pytest.raises(ValueError, match="three"):
        list(map_unordered(work, range(1000), workers=1, stop=threading.Event()))
    assert done == [0, 1, 2]


def test_nothing_is_begun_after_stop():
    stop = threading.Event()

    def work(item):
        if item == 7:
            stop.set()
        return item

    seen = [item for item, _ in map_unordered(work, range(1000), workers=1, stop=stop)]
    assert seen == list(range(8))


def test_who_goes_away_ends_the_rest():
    begun = []
    gate = threading.Semaphore(3)

    def work(item):
        gate.acquire(timeout=60)
        begun.append(item)

    results = map_unordered(work, range(1000), workers=1, stop=threading.Event())
    next(results)
    results.close()
    gate.release()
    before = {thread for thread in threading.enumerate() if thread.name.startswith("fetch-")}
    for thread in before:
        thread.join(timeout=60)
    assert len(begun) <= 4
