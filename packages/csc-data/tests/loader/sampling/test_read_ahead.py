"""Crops are in the cache before samples need them, and nothing of that is in the way of anything else."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from csc_data.loader.sampling.read_ahead import VISITS_AHEAD, ReadAhead
from csc_data.loader.sources.shared_arrays import SharedArrays

posix = pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
WAIT = 60


class Crops:
    """Crops that remember who brought them; visit 7 is crop 7."""

    def __init__(self, size: int = 10) -> None:
        self.size, self.brought, self.threads = size, [], set()

    def visit(self, number):
        return SimpleNamespace(crop=number % 1000)

    def __call__(self, crop):
        return (SimpleNamespace(bring_in=lambda: self.bring(crop)),)

    def bring(self, crop):
        self.brought.append(crop)
        self.threads.add(threading.current_thread())
        return self.size


def wait(condition) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def is_quiet() -> bool:
    return not any(thread.name == "read-ahead" for thread in threading.enumerate())


def test_what_is_under_way_and_what_comes_next_is_brought_once_by_another_thread():
    crops = Crops()
    ahead = ReadAhead(crops, crops, max_bytes=1000)
    for first in range(5):
        for _ in range(3):
            ahead.follow(range(first, first + 16))
        wait(is_quiet)
        assert sorted(crops.brought) == list(range(first + 16 + VISITS_AHEAD))
    assert threading.current_thread() not in crops.threads
    ahead.follow(range(100, 116))
    wait(is_quiet)
    assert sorted(crops.brought[-18:]) == list(range(100, 118))
    assert crops.brought[-2:] == [116, 117]


def test_nothing_is_brought_in_place_of_what_is_needed_too():
    crops = Crops(size=100)
    ahead = ReadAhead(crops, crops, max_bytes=550)
    ahead.follow(range(16))
    wait(is_quiet)
    assert len(crops.brought) == 5
    ahead.follow(range(16, 32))
    wait(is_quiet)
    assert len(crops.brought) == 10


def test_a_crop_of_two_visits_is_counted_once():
    crops = Crops(size=100)
    ahead = ReadAhead(SimpleNamespace(visit=lambda number: SimpleNamespace(crop=number % 4)), crops, max_bytes=550)
    ahead.follow(range(16))
    wait(is_quiet)
    assert set(crops.brought) == set(range(4))


def test_what_goes_wrong_is_left_to_the_samples():
    crops = Crops()

    def fail(crop):
        raise OSError("403") if crop % 2 else ZeroDivisionError

    failing = ReadAhead(crops, lambda crop: crops(crop) if crop == 5 else fail(crop), max_bytes=1000)
    failing.follow(range(16))
    wait(is_quiet)
    assert crops.brought == [5]


def test_a_loader_that_is_gone_brings_nothing_more():
    gate, crops = threading.Event(), Crops()
    started = threading.Event()

    def sources(crop):
        started.set()
        gate.wait(WAIT)
        return crops(crop)

    ahead = ReadAhead(crops, sources, max_bytes=1000)
    ahead.follow(range(16))
    assert started.wait(WAIT)
    gone = weakref.ref(ahead)
    del ahead
    gate.set()
    wait(is_quiet)
    gc.collect()
    assert gone() is None
    assert len(crops.brought) == 1


@posix
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_processes_read_ahead_themselves_and_share_what_they_read():
    cache = SharedArrays(1 << 20)
    made = multiprocessing.get_context("fork").Value("i", 0)

    class Held(Crops):
        def bring(self, crop):
            with cache.use_or_make(str(crop), lambda: self.make(crop)) as arrays:
                return arrays[0].nbytes

        def make(self, crop):
            with made.get_lock():
                made.value += 1
            time.sleep(0.01)
            return (np.full(1000, crop),)

    crops = Held()
    ahead = ReadAhead(crops, crops, max_bytes=1 << 20)
    ahead.follow(range(16))  # the parent is at it when the others are forked

    def work():
        for first in (0, 1, 2):
            ahead.follow(range(first, first + 16))
            wait(is_quiet)

    processes = [multiprocessing.get_context("fork").Process(target=work) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    wait(is_quiet)
    assert made.value == 16 + 2 + VISITS_AHEAD


def test_a_copy_begins_anew():
    crops = Crops()
    ahead = ReadAhead(crops.visit, sorted, max_bytes=100)
    copy = pickle.loads(pickle.dumps(ahead))
    assert copy.max_bytes == 100
    assert copy.sources is sorted


SCRIPT = """
import sys, threading, time
from types import SimpleNamespace
from csc_data.loader.sampling.read_ahead import ReadAhead

def bring():
    print("brings", flush=True)
    time.sleep(0.3)
    return 1

visits = SimpleNamespace(visit=lambda number: SimpleNamespace(crop=number))
ahead = ReadAhead(visits, lambda crop: (SimpleNamespace(bring_in=bring),), 1000)
ahead.follow(range(16))
if sys.argv[1] == "wait":
    time.sleep(60)
"""


def test_the_end_of_a_process_is_clean_and_soon(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run([sys.executable, script, "end"], capture_output=True, text=True, timeout=WAIT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("brings") < 4


@posix
def test_an_interrupted_process_ends_as_it_would_without(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    with subprocess.Popen(
        [sys.executable, script, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=WAIT)
    assert process.returncode == -signal.SIGINT
    assert said.strip().endswith("KeyboardInterrupt")
    assert said.count("Traceback") == 1
