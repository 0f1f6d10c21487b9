"""Counts of classes: right, the same from the user's cache, and never beside the annotations."""

from __future__ import annotations

import numpy as np
import pytest

from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo, PatchShape, TrainingPatches, open_crop
from csc_data.loader.patches.reader import PatchReader

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
