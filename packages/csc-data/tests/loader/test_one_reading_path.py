"""The same place, upright, is the same bits for training, validation and prediction; what is where raw ends."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from csc_data.errors import MissingDataError
from csc_data.geometry import Grid
from csc_data.loader import (
    AnnotatedCrop,
    ArrayInfo,
    PatchShape,
    RawSource,
    RegionCache,
    ValidationPatches,
    get_dataloader,
    open_crop,
)
from csc_data.loader.patches.reader import PatchReader
from csc_data.loader.patches.training import Augmentation, TrainingPatches
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.poses.spatial import Orientation, SpatialTransforms
from csc_data.splits.annotations import EncodedArray
from csc_data.splits.split_file import SplitRow
from csc_data.volumes import Level, Volume, downsampled_grid, open_volume, write_multiscale
from csc_data.volumes.annotation_values import Encoding

FLIPS = Augmentation(spatial=SpatialTransforms(mirror=(0.5, 0.5, 0.5), transpose=(0, 1, 2)))
sizes = st.sampled_from([(8, 8, 8), (5.24, 4, 4), (1.74, 2, 2), (16, 8, 8), (3.24, 4.0, 4.0), (3.3, 7.1, 4.9)])


def volume_of(grid, data):
    """A volume of two levels, in memory."""
    coarse = downsampled_grid(grid, (2, 2, 2))
    half = tuple(slice(0, 2 * n, 2) for n in coarse.shape)
    levels = (
        Level(name="s0", grid=grid, array=data),
        Level(name="s1", grid=coarse, array=np.ascontiguousarray(data[half])),
    )
    return Volume(path=f"memory{id(data)}", levels=levels, attributes={})


def crop_of(raw, labels):
    """A crop whose labels, all present, lie on a grid."""
    volume = Volume(
        path=f"labels{id(raw)}",
        levels=(Level(name="s0", grid=labels, array=EncodedArray(np.ones(labels.shape, np.uint8), Encoding())),),
        attributes={},
    )
    return AnnotatedCrop(name="x/crop1", raw=raw, labels={"mito": (volume,)}, bounds=labels.bounds)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    stored=sizes,
    wanted=sizes,
    origin=st.tuples(*[st.floats(-9e4, 9e4)] * 3),
    begin=st.tuples(*[st.integers(-20, 20)] * 3),
    shape=st.tuples(*[st.integers(3, 9)] * 3),
    order=st.sampled_from(list(permutations(range(3)))),
    mirrored=st.sampled_from(list(product([False, True], repeat=3))),
    number=st.integers(0, 10**6),
)
def test_no_bit_differs_between_training_validation_and_prediction(
    stored, wanted, origin, begin, shape, order, mirrored, number
):
    data = np.random.default_rng(0).integers(0, 256, (26, 24, 28), dtype=np.uint8)
    grid = Grid(voxel_size=stored, translation=origin, shape=data.shape)
    raw = volume_of(grid, data)
    crop = crop_of(raw, grid.window(begin, (20, 22, 18)))
    if crop.bounds.intersect(grid.bounds).empty:
        return
    array = ArrayInfo(shape=shape, scale=wanted)
    patch = PatchShape(input=array, target=array)
    reader = PatchReader(crops=(crop,), classes=("mito",), patch=patch, regions=RegionCache(1 << 24))

    # A tile of validation, as prediction reads it: with all else that is read around it, and nothing held.
    tiles = ValidationPatches(PatchReader(crops=(crop,), classes=("mito",), patch=patch, overhang=True))
    number %= len(tiles)
    centre = tiles.place(number).patch_map.centre
    tile = tiles[number]["input"][0]
    own = Grid.covering(crop.bounds, wanted)
    window = Grid(voxel_size=wanted, translation=centre - (np.array(shape) - 1) / 2 * wanted, shape=shape)
    first = [round((a - b) / v) for a, b, v in zip(window.translation, own.translation, wanted, strict=True)]
    wider = own.window([f - 2 for f in first], [n + 5 for n in shape])
    predicted = RawSource(raw, own.bounds).read(wider)[tuple(slice(2, 2 + n) for n in shape)]
    np.testing.assert_array_equal(tile, predicted)

    # The same place in training: held or not, and mirrored or transposed, where that is on the same voxels.
    for _ in range(3):
        np.testing.assert_array_equal(reader.sample(0, PatchMap(centre=centre))["input"][0], tile)
    if len({*wanted}) == 1 and len({*shape}) == 1:
        orientation = Orientation(world_axis=order, mirrored=mirrored)
        turned = reader.sample(0, PatchMap(centre=centre, linear=orientation.matrix))["input"][0]
        np.testing.assert_array_equal(turned, orientation.turn(tile))


@settings(max_examples=100, deadline=None)
@given(
    begin=st.tuples(*[st.integers(-12, 12)] * 3),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    upright=st.booleans(),
    stored=sizes,
    shift=st.tuples(*[st.floats(-0.6, 0.6)] * 3),
)
def test_where_there_is_no_raw_no_label_is_known(begin, angles, upright, stored, shift):
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(16, 16, 16))
    raw = volume_of(grid, np.zeros(grid.shape, np.uint8))
    labels = Grid(voxel_size=stored, translation=[4 + 8 * b for b in begin], shape=(20, 20, 20))
    crop = crop_of(raw, labels)
    if crop.bounds.intersect(grid.bounds).empty:
        return
    array = ArrayInfo(shape=(14, 15, 16), scale=(8, 8, 8))
    reader = PatchReader(crops=(crop,), classes=("mito",), patch=PatchShape(input=array, target=array))
    linear = np.eye(3) if upright else Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    patch_map = PatchMap(centre=64 + 128 * np.asarray(shift), linear=linear)
    known = ~np.isnan(reader.sample(0, patch_map)["output"][0])
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij")).reshape(3, -1)
    at = patch_map.centre[:, None] + linear @ ((index - (np.array(array.shape)[:, None] - 1) / 2) * 8)
    at = at.reshape(3, *array.shape)
    begin_nm, end_nm = (
        np.maximum(grid.bounds.begin, labels.bounds.begin),
        np.minimum(grid.bounds.end, labels.bounds.end),
    )
    low, high = (np.asarray(p)[:, None, None, None] for p in (begin_nm, end_nm))
    assert not known[((at < low - 0.01) | (at > high + 0.01)).any(axis=0)].any()
    assert known[((at > low + 0.01) & (at < high - 0.01)).all(axis=0)].all()
    counted = reader.sources(0)[1].read(reader.grid(0))
    assert (counted == 1).sum() <= np.prod(np.ceil((end_nm - begin_nm) / 8 + 1))


def test_a_crop_beside_raw_is_refused_and_one_partly_beside_it_is_said(world, caplog):
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(16, 16, 16))
    world.write_raw(grid)
    world.write_labels("mito", grid.window((100, 0, 0), (8, 8, 8)))
    with pytest.raises(MissingDataError, match="lies beside its raw"):
        open_crop(world.row(["mito"]), ["mito"])
    with pytest.raises(MissingDataError, match="no raw for"):
        RawSource(open_volume(world.row(["mito"]).raw), grid.window((100, 0, 0), (8, 8, 8)).bounds)
    world.write_labels("mito", grid.window((10, 0, 0), (12, 8, 8)), crop="crop2")
    open_crop(world.row(["mito"], crop="crop2"), ["mito"])
    assert "reaches beyond its raw" in caplog.text


CHUNK = 8
WHOLE = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(64, 64, 64))
CROP = ((24, 24, 24), (16, 16, 16))  # two chunks along each axis


def chunk_at(path, index):
    nested = Path(path) / "s0" / "/".join(map(str, index))
    return nested if nested.exists() else nested.parents[len(index) - 1] / ".".join(map(str, index))


def fetched(folder: Path, low: int, high: int) -> tuple[str, np.ndarray]:
    """Write a volume and take away the chunks that a fetch of chunks low to high, along each axis, leaves out."""
    data = np.random.default_rng(3).integers(1, 256, WHOLE.shape, dtype=np.uint8)
    path = folder / "raw"
    write_multiscale(path, [data], [WHOLE], chunks=(CHUNK,) * 3)
    for index in product(range(8), repeat=3):
        if not all(low <= i < high for i in index):
            chunk_at(path, index).unlink()
    return str(path), data


@pytest.mark.parametrize(("low", "high"), [(3, 5), (2, 6), (0, 8)])
def test_beyond_what_was_fetched_the_nearest_raw_is_mirrored(tmp_path, low, high):
    path, data = fetched(tmp_path, low, high)
    labels = WHOLE.window(*CROP)
    crop = crop_of(open_volume(path), labels)
    array = ArrayInfo(shape=(20, 20, 20), scale=(8, 8, 8))
    reader = PatchReader(
        crops=(crop,),
        classes=("mito",),
        patch=PatchShape(input=array, target=array),
        spatial=SpatialTransforms.parse({"rotate": True}),
    )
    stored = data[(slice(low * CHUNK, high * CHUNK),) * 3]
    mirrored = np.pad(stored, low * CHUNK if low else 8, mode="symmetric")
    first = 0 if low else -8
    # Upright patches, and what training, validation and prediction read, agree; nothing is black.
    for begin in ((16, 20, 24), (30, 34, 20), (12, 12, 12)):
        box = tuple(slice(b - first, b - first + 20) for b in begin)
        window = WHOLE.window(begin, (20, 20, 20))
        expected = mirrored[box]
        patch_map, _ = PatchMap.upright(window)
        np.testing.assert_array_equal(np.rint(reader.sample(0, patch_map)["input"][0] * 255), expected)
        source = RawSource(open_volume(path), labels.bounds, labels.bounds.grow((160, 160, 160)))
        np.testing.assert_array_equal(source.read(window, (0, 255)), expected)
    rng = np.random.default_rng(0)
    for _ in range(20):
        turned = PatchMap(centre=np.full(3, 256.0), linear=Rotation.random(rng=rng).as_matrix() * 1.2)
        assert (reader.sample(0, turned)["input"] > 0).all()


def test_a_chunk_of_the_crop_that_is_not_stored_is_empty(tmp_path):
    """Writers leave chunks of zeros out; around the crop all was fetched, so it is not mirrored."""
    path, data = fetched(tmp_path, 0, 8)
    chunk_at(path, (3, 3, 3)).unlink()
    source = RawSource(open_volume(path), WHOLE.window(*CROP).bounds, WHOLE.bounds)
    data[24:32, 24:32, 24:32] = 0
    np.testing.assert_array_equal(source.read(WHOLE, (0, 255)), data)


def test_training_upright_reads_what_validation_reads(world):
    """Drawn by the loader itself, for experiments that mirror and transpose alone."""
    grid = Grid(voxel_size=(5.24, 4, 4), translation=(999, -50, 3), shape=(64, 80, 80))
    world.write_raw(grid)
    world.write_labels("mito", grid.window((8, 8, 8), (40, 60, 50)))
    array = ArrayInfo(shape=(8, 8, 8), scale=(8, 8, 8))
    crop = open_crop(world.row(["mito"]), ["mito"])
    reader = PatchReader(crops=(crop,), classes=("mito",), patch=PatchShape(input=array, target=array))
    patches = TrainingPatches(reader, FLIPS, seed=1)
    whole = RawSource(open_volume(world.row(["mito"]).raw), crop.bounds).read(reader.grid(0))
    for index in range(30):
        place = patches.place(index)
        begin = (place.patch_map.centre - reader.grid(0).translation) / 8 - 3.5
        assert np.abs(begin - np.rint(begin)).max() < 1e-6
        box = tuple(slice(b, b + 8) for b in np.rint(begin).astype(int).tolist())
        if min(s.start for s in box) < 0:
            continue
        turned = np.abs(place.patch_map.linear).argmax(axis=0)
        flips = tuple(slice(None, None, -1 if place.patch_map.linear[a].sum() < 0 else 1) for a in range(3))
        np.testing.assert_array_equal(patches[index]["input"][0], whole[box][flips].transpose(turned))


def test_the_first_batch_says_what_raw_is_lacking(tmp_path, caplog):
    path, _ = fetched(tmp_path, 3, 5)
    write_multiscale(tmp_path / "labels" / "mito", [np.ones(CROP[1], np.uint8)], [WHOLE.window(*CROP)])
    row = SplitRow(usage="train", raw=path, labels=str(tmp_path / "labels"), classes=("mito",))
    given = {
        "batch_size": 1,
        "input_array_info": {"shape": (12, 12, 12), "scale": (8, 8, 8)},
        "iterations_per_epoch": 2,
    }
    for rotate, cut in ((True, True), (False, False)):
        caplog.clear()
        loaders = get_dataloader([row], ["mito"], spatial_transforms={"rotate": rotate}, **given)
        for _ in loaders.train:
            pass
        assert caplog.text.count("raw ends before patches do around 1 of 1 crops") == cut
        assert ("--raw-padding auto --config CONFIG" in caplog.text) == cut
        assert "not stored" not in caplog.text
    chunk_at(path, (3, 3, 3)).unlink()
    next(iter(get_dataloader([row], ["mito"], **given).train))
    assert "lacks 1 of 8" in caplog.text
