from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from csc_data.geometry import Grid
from csc_data.loader import (
    ArrayInfo,
    PatchShape,
    RegionCache,
    SpatialTransforms,
    TrainingPatches,
    ValidationPatches,
    count_classes,
    open_crop,
)
from csc_data.loader.patches.reader import PatchReader
from csc_data.loader.patches.training import Augmentation
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.poses.spatial import Orientation
from csc_data.volumes import downsampled_grid, write_multiscale

VOXELS = [(8, 8, 8), (5.24, 4, 4), (1.74, 2, 2), (16, 8, 8), (3.24, 4.0, 4.0)]
ALL = Augmentation(spatial=SpatialTransforms(mirror=(0.5, 0.5, 0.5), transpose=(0, 1, 2)))
SLOPE = np.array([0.0011, 0.0017, 0.0023])


def patch_of(shape, scale, target=None):
    given_info = ArrayInfo(shape=shape, scale=scale)
    return PatchShape(input=given_info, target=target or given_info)


def reader_of(world, patch, classes=("mito",), rows=None, **options):
    crops = [open_crop(row, classes) for row in (rows or [world.row(classes)])]
    return PatchReader(crops=tuple(crop for crop in crops if crop), classes=tuple(classes), patch=patch, **options)


@given(
    stored=st.sampled_from(VOXELS),
    wanted=st.sampled_from(VOXELS),
    origin=st.tuples(*[st.floats(-5000, 5000)] * 3),
    begin=st.tuples(*[st.integers(-4, 20)] * 3),
    order=st.sampled_from(list(permutations(range(3)))),
    mirrored=st.sampled_from(list(product([False, True], repeat=3))),
    held=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(  # rows that lie wholly beyond the volume, first along one axis and then along another
    stored=(1.74, 2, 2),
    wanted=(8, 8, 8),
    origin=(0, 0, 0),
    begin=(10, 0, 1),
    order=(1, 2, 0),
    mirrored=(True, False, False),
    held=False,
)
def test_a_patch_holds_the_values_at_its_positions(make_world, stored, wanted, origin, begin, order, mirrored, held):
    """Raw and labels agree with known functions of nm, whatever the voxel sizes, offsets and orientations."""
    world = make_world()
    grid = Grid(voxel_size=stored, translation=origin, shape=(40, 44, 48))
    world.write_raw(grid)
    world.write_labels("mito", grid.window((6, 6, 6), (28, 32, 36)))
    orientation = Orientation(world_axis=order, mirrored=mirrored)
    patch = patch_of((9, 10, 11), wanted)
    reader = reader_of(world, patch, regions=RegionCache(1 << 30 if held else 0))
    whole = reader.grid(0, orientation)
    target = whole.window(begin, patch.target_shape(orientation))
    centre = (np.asarray(target.bounds.begin) + np.asarray(target.bounds.end)) / 2
    sample = reader.sample(0, PatchMap(centre=centre, linear=orientation.matrix))

    # Where each voxel of the patch lies in nm, worked out one by one from what an orientation means.
    lie = [None, None, None]
    for axis, along in enumerate(order):
        count, size = patch.target.shape[axis], patch.target.scale[axis]
        nm = whole.bounds.begin[along] + (begin[along] + 0.5 + np.arange(count)) * size
        lie[axis] = nm[::-1] if mirrored[along] else nm
    value = np.zeros(patch.target.shape)
    within_raw, within_crop, to_border = (np.ones(patch.target.shape, dtype=bool) for _ in range(3))
    crop = reader.crops[0].bounds
    for axis, along in enumerate(order):
        nm = lie[axis].reshape([-1 if a == axis else 1 for a in range(3)])
        value = value + SLOPE[along] * (nm - world.origin[along])
        inner = Grid.window(grid, (0, 0, 0), grid.shape)
        # At its faces raw is mirrored, so what is averaged there, where voxels are wanted that are larger, is no longer
        # linear.
        far = 2 * wanted[along] if wanted[along] > stored[along] else 0
        within_raw = within_raw & (nm >= inner.centres(along)[0] + far) & (nm <= inner.centres(along)[-1] - far)
        within_crop = within_crop & (nm > crop.begin[along] + 1e-3) & (nm < crop.end[along] - 1e-3)
        outside = (nm < crop.begin[along] - 1e-3) | (nm > crop.end[along] + 1e-3)
        to_border = to_border & ~outside
    np.testing.assert_allclose(sample["input"][0][within_raw], value[within_raw], atol=2e-4)
    assert np.isnan(sample["output"][0][~to_border]).all()
    known = sample["output"][0][within_crop]
    assert not np.isnan(known).any()
    # Nearest: right wherever the threshold is further away than half a stored voxel on every axis.
    half_voxel = sum(s * v / 2 for s, v in zip(SLOPE, stored, strict=True)) + 1e-5
    clear = np.abs(value[within_crop] - 0.5) > half_voxel
    np.testing.assert_array_equal(known[clear], (value[within_crop] > 0.5)[clear])


def test_samples_agree_with_themselves_under_all_transforms(world):
    """Drawn samples: a voxel is present exactly where raw, read through the same grid, is above the threshold."""
    grid = Grid(voxel_size=(5.24, 4, 4), translation=(999, -50, 3), shape=(64, 80, 80))
    world.write_raw(grid)
    world.write_labels("mito", grid.window((8, 8, 8), (40, 60, 50)))
    patch = patch_of((8, 12, 16), (16, 8, 10))
    patches = TrainingPatches(reader_of(world, patch), ALL, seed=3)
    margin = sum(SLOPE * [5.24, 4, 4]) / 2 + 1e-5
    present = 0
    for index in range(40):
        sample = patches[index]
        raw, label = sample["input"][0], sample["output"][0]
        assert raw.shape == label.shape == (8, 12, 16)
        clear = ~np.isnan(label) & (np.abs(raw - 0.5) > margin)
        np.testing.assert_array_equal(label[clear], (raw > 0.5)[clear])
        present += int((label == 1).sum())
    assert present > 0


def test_a_coarser_level_is_not_taken_where_a_finer_one_exists(world):
    fine = Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(32, 32, 32))
    coarse = downsampled_grid(fine, (2, 2, 2))
    path = world.folder / "x.zarr" / "raw"
    write_multiscale(path, [np.full(fine.shape, 10, np.uint8), np.full(coarse.shape, 20, np.uint8)], [fine, coarse])
    world.write_labels("mito", fine, values=np.ones(fine.shape, np.uint8))
    for scale, grey in [((8, 8, 8), 20), ((6, 6, 6), 10), ((8, 8, 4), 10), ((16, 16, 16), 20)]:
        sample = TrainingPatches(reader_of(world, patch_of((2, 2, 2), scale), raw_range=(0, 255)), ALL)[0]
        assert np.unique(sample["input"]).tolist() == [grey]


def test_input_and_target_share_their_centre(world):
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(48, 48, 48))
    world.write_raw(grid)
    world.write_labels("mito", grid.window((8, 8, 8), (32, 32, 32)))
    target = ArrayInfo(shape=(8, 8, 8), scale=(8, 8, 8))
    same = TrainingPatches(reader_of(world, patch_of((8, 8, 8), (8, 8, 8))), ALL, seed=1)
    wider = TrainingPatches(reader_of(world, patch_of((16, 16, 16), (8, 8, 8), target)), ALL, seed=1)
    coarser = TrainingPatches(reader_of(world, patch_of((8, 8, 8), (16, 16, 16), target)), ALL, seed=1)
    for index in range(10):
        plain = same[index]
        np.testing.assert_allclose(wider[index]["input"][:, 4:12, 4:12, 4:12], plain["input"], atol=1e-5)
        np.testing.assert_array_equal(wider[index]["output"], plain["output"])
        centre = coarser[index]["input"][0, 3:5, 3:5, 3:5].mean()
        np.testing.assert_allclose(centre, plain["input"][0, 3:5, 3:5, 3:5].mean(), atol=1e-4)


def test_flat_patches_stay_in_their_plane_and_come_without_their_axis(world):
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(20, 40, 40))
    path = world.folder / "x.zarr" / "raw"
    planes = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None] * 10, grid.shape)
    write_multiscale(path, [np.ascontiguousarray(planes)], [grid])
    world.write_labels("mito", grid, values=np.ones(grid.shape, np.uint8))
    patches = TrainingPatches(reader_of(world, patch_of((1, 16, 24), (8, 8, 8)), raw_range=(0, 255)), ALL)
    seen = set()
    for index in range(30):
        sample = patches[index]
        assert sample["input"].shape == (1, 16, 24)
        assert sample["output"].shape == (1, 16, 24)
        assert len(np.unique(sample["input"])) == 1  # one plane of z, never across planes
        assert not np.isnan(sample["output"]).any()
        seen.add(float(sample["input"][0, 0, 0]))
    assert len(seen) > 8


def test_patches_stay_in_crops_that_hold_them_and_hold_crops_that_do_not(world):
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(48, 48, 48))
    world.write_raw(grid)
    world.write_labels("mito", grid.window((4, 4, 4), (12, 40, 40)))
    patches = TrainingPatches(reader_of(world, patch_of((16, 16, 16), (8, 8, 8))), foreground_share=0.0)
    for index in range(20):
        known = ~np.isnan(patches[index]["output"][0])
        assert known.sum() == 12 * 16 * 16


def two_crops(world):
    """A large crop with a speck of `ld` and much `mito`; a small one with `mito` only."""
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(64, 64, 64))
    world.write_raw(grid)
    speck = np.zeros((40, 40, 40), np.uint8)
    speck[7, 31, 22] = 1
    half = np.zeros((40, 40, 40), np.uint8)
    half[:20] = 1
    world.write_labels("ld", grid.window((0, 0, 0), (40, 40, 40)), values=speck)
    world.write_labels("mito", grid.window((0, 0, 0), (40, 40, 40)), values=half)
    world.write_labels(
        "mito", grid.window((44, 44, 44), (16, 16, 16)), crop="crop2", values=np.ones((16,) * 3, np.uint8)
    )
    return [world.row(["ld", "mito"]), world.row(["mito"], crop="crop2")]


def test_weighted_sampling_shows_rare_classes_as_often_as_common_ones(world):
    rows = two_crops(world)
    classes = ("ld", "mito", "er")  # er is nowhere: its turns show any position
    reader = reader_of(world, patch_of((8, 8, 8), (8, 8, 8)), classes, rows)
    weighted = TrainingPatches(reader, ALL, seed=0)
    shows = [bool((weighted[i]["output"][0] == 1).any()) for i in range(200)]
    assert 0.17 < np.mean(shows) < 0.35  # one turn in four
    uniform = TrainingPatches(reader, ALL, seed=0, foreground_share=0.0)
    assert np.mean([bool((uniform[i]["output"][0] == 1).any()) for i in range(100)]) < 0.1


def test_the_speck_appears_at_every_place_of_a_patch(world):
    reader = reader_of(world, patch_of((4, 4, 4), (8, 8, 8)), ("ld",), two_crops(world))
    patches = TrainingPatches(reader, seed=5)
    places = set()
    for index in range(400):
        found = np.argwhere(patches[index]["output"][0] == 1)
        places.update(map(tuple, found.tolist()))
    assert len(places) > 55  # of 64


def test_counts_are_of_known_and_present_voxels(world):
    classes = ("ld", "mito", "er")
    patches = TrainingPatches(reader_of(world, patch_of((8, 8, 8), (8, 8, 8)), classes, two_crops(world)), ALL)
    counts = patches.draws.class_counts()
    assert counts.present == {"ld": 1, "mito": 20 * 40 * 40 + 16**3, "er": 0}
    assert counts.known == {"ld": 40**3, "mito": 40**3 + 16**3, "er": 0}
    assert counts == count_classes([patches.draws.counts(0), patches.draws.counts(1)], classes)


@pytest.mark.parametrize("shuffle", [None, 4])
@pytest.mark.parametrize("size", [(8, 8, 8), (7, 9, 16), (50, 5, 40)])
def test_validation_shows_each_known_voxel_once(world, size, shuffle):
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(64, 64, 64))
    world.write_raw(grid)
    rows = []
    for number, shape in enumerate([(20, 21, 22), (9, 30, 5)], start=1):
        values = np.random.default_rng(number).integers(0, 2, shape).astype(np.uint8)
        world.write_labels("mito", grid.window((5, 6, 7), shape), crop=f"crop{number}", values=values)
        rows.append(world.row(["mito"], crop=f"crop{number}"))
    reader = reader_of(world, patch_of(size, (8, 8, 8)), ("mito",), rows)
    tiles = ValidationPatches(reader, shuffle_seed=shuffle)
    outputs = [tiles[i]["output"] for i in range(len(tiles))]
    assert sum(int((~np.isnan(o)).sum()) for o in outputs) == 20 * 21 * 22 + 9 * 30 * 5
    total = sum(int(p.present.sum()) for p in map(TrainingPatches(reader, ALL).draws.counts, range(2)))
    assert sum(int((o == 1).sum()) for o in outputs) == total
    again = ValidationPatches(reader, shuffle_seed=shuffle)
    for index, output in enumerate(outputs):
        np.testing.assert_array_equal(again[index]["output"], output)


def test_tiles_that_hang_over_a_crop_see_the_raw_beyond_it(world):
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(64, 64, 64))
    world.write_raw(grid)
    world.write_labels("mito", grid.window((20, 20, 20), (10, 10, 10)))
    reader = reader_of(world, patch_of((8, 8, 8), (8, 8, 8)))
    tiles = ValidationPatches(reader)
    last = tiles[len(tiles) - 1]["input"][0]  # from voxel 28 to 36 on each axis; the crop ends at 30
    np.testing.assert_allclose(last, world.raw(grid)[28:36, 28:36, 28:36], atol=1e-5)
