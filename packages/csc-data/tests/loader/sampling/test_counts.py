"""Counts of classes: right, the same from the user's cache, and never beside the annotations."""

from __future__ import annotations

import multiprocessing
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo, PatchShape, TrainingPatches, open_crop
from csc_data.loader.patches.reader import PatchReader
from csc_data.loader.sampling.counts import count_crop, find_voxel
from csc_data.loader.sources.packing import TooManyCombinationsError, pack_labels

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(24, 20, 16))
CLASSES = ("mito", "er")


@pytest.fixture
def patches(world):
    rng = np.random.default_rng(0)
    world.write_raw(GRID)
    stored = {}
    for crop in ("crop1", "crop2", "crop3"):
        for name in CLASSES:
            stored[crop, name] = rng.integers(0, 2, GRID.shape, dtype=np.uint8)
            world.write_labels(name, GRID, crop=crop, values=stored[crop, name])

    def make():
        array = ArrayInfo(shape=(4, 4, 4), scale=(8, 8, 8))
        crops = [open_crop(world.row(CLASSES, crop=crop), CLASSES) for crop in ("crop1", "crop2", "crop3")]
        reader = PatchReader(crops=tuple(crops), classes=CLASSES, patch=PatchShape(input=array, target=array))
        return TrainingPatches(reader, foreground_share=1.0)

    return make, stored


def test_counts_and_weights_are_those_of_the_voxels(patches):
    make, stored = patches
    counts = make().draws.class_counts()
    for name in CLASSES:
        present = sum(int(values.sum()) for (_, own), values in stored.items() if own == name)
        assert counts.present[name] == present
        assert counts.known[name] == 3 * GRID.size
        assert make().draws.class_weights()[name] == 3 * GRID.size / present


def test_the_next_run_takes_counts_from_the_users_cache(patches, counts_folder, monkeypatch):
    make, _ = patches
    first = make()
    samples = [first[index] for index in range(6)]
    assert first.draws.class_counts()
    assert len(list(counts_folder.iterdir())) == 3

    def never(*_):
        raise AssertionError("counted again")

    monkeypatch.setattr("csc_data.loader.sampling.drawing.count_crop", never)
    second = make()
    assert second.draws.class_counts() == first.draws.class_counts()
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(second[index]["output"], sample["output"])


def test_changed_annotations_and_damaged_records_are_counted_anew(patches, counts_folder, world):
    make, stored = patches
    before = make().draws.class_counts()
    for file in counts_folder.iterdir():
        file.write_bytes(b"damaged")
    assert make().draws.class_counts() == before
    changed = 1 - stored["crop2", "mito"]
    world_folder = world.folder / "x.zarr" / "labels" / "crop2" / "mito"
    from csc_data.formats.writing import open_array_for_writing

    open_array_for_writing(world_folder / "s0")[...] = changed
    after = make().draws.class_counts()
    difference = int(changed.sum()) - int(stored["crop2", "mito"].sum())
    assert difference != 0
    assert after.present["mito"] - before.present["mito"] == difference
    assert after.present["er"] == before.present["er"]


def test_a_record_that_python_fails_to_read_is_counted_anew(patches, monkeypatch):
    make, _ = patches
    expected = make().draws.class_counts()

    def fail(*_, **__):
        raise SystemError("AST constructor recursion depth mismatch (before=45, after=42)")

    monkeypatch.setattr("csc_data.loader.sampling.count_cache.np.load", fail)
    assert make().draws.class_counts() == expected


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(patches, counts_folder):
    make, _ = patches
    expected = make().draws.class_counts()
    for file in counts_folder.iterdir():
        file.unlink()
    counts_folder.rmdir()
    counts_folder.write_text("a file where the folder would be")
    assert make().draws.class_counts() == expected


def test_nothing_is_written_beside_the_annotations(patches, world, digest):
    make, _ = patches
    before = digest(world.folder / "x.zarr")
    made = make()
    made.draws.class_counts()
    made[0]
    assert digest(world.folder / "x.zarr") == before


def test_rows_too_many_to_hold_give_the_same_places(patches, monkeypatch):
    make, _ = patches
    with_rows = [make().place(index).patch_map.centre for index in range(8)]
    monkeypatch.setattr("csc_data.loader.sampling.counts._MOST_ROWS", 1)
    monkeypatch.setattr("csc_data.loader.sampling.drawing.find_counts", lambda *_: None)
    without = make()
    assert without.draws.counts(0).rows is None
    np.testing.assert_array_equal([without.place(index).patch_map.centre for index in range(8)], with_rows)


class Coded:
    """Labels that are known codes; `packs` tells whether their combinations can be numbered."""

    def __init__(self, codes, packs):
        self.codes, self.packs = codes, packs

    def _box(self, grid):
        begin = np.round(np.subtract(grid.translation, GRID.translation) / grid.voxel_size).astype(int)
        return self.codes[(slice(None), *(slice(b, b + n) for b, n in zip(begin, grid.shape, strict=True)))]

    def read(self, grid):
        return self._box(grid)

    def gather(self, patch_map, array, out):
        if not self.packs:
            raise TooManyCombinationsError("noise")
        size = np.asarray(array.scale)
        begin = patch_map.centre - (np.asarray(array.shape) - 1) / 2 * size
        codes = self._box(Grid(voxel_size=array.scale, translation=tuple(begin), shape=array.shape))
        packed = pack_labels(codes, codes.shape[1:])
        out[0] = packed.numbers
        return packed.values


@pytest.mark.parametrize("packs", [True, False])
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    classes=st.integers(1, 60),
    seed=st.integers(0, 99),
    step=st.sampled_from([1, 50, 1 << 20]),
)
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_the_codes_whatever_is_counted_at_a_time(shape, classes, seed, step, packs):
    codes = np.random.default_rng(seed).choice(np.array([0, 1, 255], np.uint8), (classes, *shape))
    grid = Grid(voxel_size=(8, 8, 8), translation=GRID.translation, shape=shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("csc_data.loader.sampling.counts._SLAB_VOXELS", step)
        patch.setattr("csc_data.loader.sampling.counts._COUNTED_AT_ONCE", step)
        counts = count_crop(Coded(codes, packs), grid)
    np.testing.assert_array_equal(counts.present, (codes == 1).sum(axis=(2, 3)))
    np.testing.assert_array_equal(counts.rows, (codes == 1).sum(axis=3))
    np.testing.assert_array_equal(counts.known, (codes != 255).sum(axis=(1, 2, 3)))


MANY = 20


@pytest.fixture
def many(world):
    rng = np.random.default_rng(0)
    world.write_raw(GRID)
    names = [f"crop{number}" for number in range(MANY)]
    for name in names:
        world.write_labels("mito", GRID, crop=name, values=rng.integers(0, 2, GRID.shape, dtype=np.uint8))
    array = ArrayInfo(shape=(4, 4, 4), scale=(8, 8, 8))
    crops = tuple(open_crop(world.row(["mito"], crop=name), ["mito"]) for name in names)
    shape = PatchShape(input=array, target=array)
    return lambda: TrainingPatches(PatchReader(crops=crops, classes=("mito",), patch=shape), foreground_share=1.0)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_of_processes_that_share_a_cache_one_counts(many, monkeypatch):
    context = multiprocessing.get_context("fork")
    counted = context.Value("i", 0)

    def counting(*given):
        with counted.get_lock():
            counted.value += 1
        time.sleep(0.01)
        return count_crop(*given)

    monkeypatch.setattr("csc_data.loader.sampling.drawing.count_crop", counting)
    patches = many()
    processes = [context.Process(target=patches.draws.class_counts) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert counted.value == MANY


def test_a_process_holds_no_rows_of_many_crops(many, monkeypatch):
    patches = many()
    places = [patches.place(index).patch_map.centre for index in range(40)]
    assert all(patches.draws.counts(crop).rows is None for crop in range(MANY))
    looked_at = []
    monkeypatch.setattr(
        "csc_data.loader.sampling.drawing.find_voxel",
        lambda look, counts, *which: looked_at.append(counts.rows) or find_voxel(look, counts, *which),
    )
    np.testing.assert_array_equal([patches.place(index).patch_map.centre for index in range(40)], places)
    assert all(rows is not None for rows in looked_at)
    patches.reader.regions.clear()
    np.testing.assert_array_equal([patches.place(index).patch_map.centre for index in range(40)], places)
    assert looked_at[-1] is None
