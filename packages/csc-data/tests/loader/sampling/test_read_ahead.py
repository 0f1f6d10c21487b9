"""Crops are in the cache before samples need them, and nothing of that is in the way of anything else."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from csc_data.errors import UnreadableDataError
from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo, PatchShape, TrainingPatches, open_crop
from csc_data.loader.patches.reader import PatchReader, Sample
from csc_data.loader.sampling.read_ahead import VISITS_AHEAD, ReadAhead
from csc_data.loader.sampling.visits import VISITS_AT_ONCE
from csc_data.loader.sources.holding.regions import RegionCache
from csc_data.loader.sources.holding.shared_arrays import SharedArrays
from csc_data.splits.split_file import SplitRow

posix = pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
WAIT = 60


class Crops:
    """Crops that remember who brought them; visit 7 is crop 7."""

    def __init__(self, size: int = 10) -> None:
        self.size, self.brought, self.threads = size, [], set()

    def visit(self, number):
        return SimpleNamespace(crop=number % 1000)

    def __call__(self, crop):
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

    def bring_in(crop):
        started.set()
        gate.wait(WAIT)
        return crops(crop)

    ahead = ReadAhead(crops, bring_in, max_bytes=1000)
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
        def __call__(self, crop):
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
    ahead = ReadAhead(len, abs, max_bytes=100)
    copy = pickle.loads(pickle.dumps(ahead))
    assert copy.max_bytes == 100
    assert copy.bring_in is abs


GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(24, 20, 16))
ARRAY = ArrayInfo(shape=(4, 4, 4), scale=(8, 8, 8))
CROPS = VISITS_AT_ONCE + 4


def write(world, count: int = CROPS) -> list[SplitRow]:
    rng = np.random.default_rng(0)
    world.write_raw(GRID)
    for number in range(count):
        world.write_labels("mito", GRID, crop=f"crop{number}", values=rng.integers(0, 2, GRID.shape, dtype=np.uint8))
    return [world.row(["mito"], crop=f"crop{number}") for number in range(count)]


def patches_of(rows: list[SplitRow], cache_bytes: int = 1 << 24) -> TrainingPatches:
    crops = tuple(open_crop(row, ["mito"]) for row in rows)
    shape = PatchShape(input=ARRAY, target=ARRAY)
    return TrainingPatches(PatchReader(crops=crops, classes=("mito",), patch=shape, regions=RegionCache(cache_bytes)))


def assert_samples_equal(patches: TrainingPatches, expected: list[Sample]) -> None:
    for index, sample in enumerate(expected):
        found = patches[index]
        for name, array in sample.items():
            np.testing.assert_array_equal(found[name], array)


def test_samples_after_the_first_find_their_crops_in_memory(world, fresh_cache):
    rows = write(world)
    expected = [patches_of(rows, cache_bytes=0)[index] for index in range(32)]
    fresh_cache.clear()
    patches = patches_of(rows)
    patches[0]
    wait(is_quiet)
    shutil.rmtree(world.folder / "x.zarr")
    fresh_cache.clear()
    assert_samples_equal(patches, expected)


def test_crops_behind_a_url_are_read_ahead_too(world, tmp_path, s3_server, fresh_cache, monkeypatch):
    rows = write(world)
    expected = [patches_of(rows, cache_bytes=0)[index] for index in range(32)]
    bucket = tmp_path / "buckets" / "b"
    bucket.mkdir(parents=True)
    (world.folder / "x.zarr").rename(bucket / "x.zarr")
    server = s3_server(bucket.parent, latency=0.01)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    there = [
        replace(row, **{name: getattr(row, name).replace(str(world.folder), "s3://b") for name in ("raw", "labels")})
        for row in rows
    ]
    patches = patches_of(there)
    patches[0]
    wait(is_quiet)
    asked = server.stats()["requests"]
    fresh_cache.clear()
    assert_samples_equal(patches, expected)
    assert server.stats()["requests"] == asked > 18


def test_a_damaged_crop_is_an_error_of_the_samples_that_need_it(world):
    rows = write(world)
    good = patches_of(rows)
    damaged = good.place(1).crop
    for crop in range(CROPS):
        for file in (world.folder / "x.zarr/labels" / f"crop{crop}/mito/s0").rglob("*"):
            if crop == damaged and file.is_file() and not file.name.startswith("."):
                file.write_bytes(b"damaged")
    patches = patches_of(rows)
    for index in range(32):
        if good.place(index).crop == damaged:
            with pytest.raises(UnreadableDataError, match=f"crop{damaged}/"):
                patches[index]
        else:
            patches[index]
    wait(is_quiet)


def test_where_few_crops_are_nothing_is_read_ahead(world, monkeypatch):
    started = []
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append(self))
    rows = write(world)
    patches_of(rows[:VISITS_AT_ONCE])[0]
    assert started == []
    for _ in range(2):
        patches_of(rows)[0]
    assert [thread.name for thread in started] == ["read-ahead"] * 2


def test_to_ask_for_places_reads_nothing_ahead(world):
    patches = patches_of(write(world))
    patches.place(0)
    assert is_quiet()


SCRIPT = """
import signal, sys, threading, time
from types import SimpleNamespace
from csc_data.loader.sampling.read_ahead import ReadAhead

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it

def bring_in(crop):
    print("brings", flush=True)
    time.sleep(0.3)
    return 1

visits = SimpleNamespace(visit=lambda number: SimpleNamespace(crop=number))
ahead = ReadAhead(visits, bring_in, 1000)
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
