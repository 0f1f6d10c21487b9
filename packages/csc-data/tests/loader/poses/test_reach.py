"""How far beyond a crop patches reach: no patch that is drawn reaches further, and some reach nearly as far."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo, PatchShape
from csc_data.loader.patches.reader import PatchReader
from csc_data.loader.patches.training import Augmentation, TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.poses.reach import PatchReach, reach_beyond
from csc_data.loader.poses.spatial import SpatialTransforms
from csc_data.splits.annotations import open_crop

CLASS = "mito"
sizes = st.tuples(*[st.integers(1, 12)] * 3)
voxels = st.sampled_from([(8.0, 8.0, 8.0), (5.24, 4.0, 4.0), (4.0, 16.0, 8.0)])
degrees = st.sampled_from([(-180.0, 180.0), (-15.0, 30.0), (80.0, 100.0)])
factors = st.sampled_from([(0.8, 1.25), (0.5, 0.9), (1.0, 2.0)])


def some(values):
    return st.dictionaries(st.sampled_from("zyx"), values)


transforms = st.fixed_dictionaries(
    {
        "transpose": st.sampled_from([[], ["x", "y"], ["z", "y", "x"]]),
        "mirror": st.just(["z", "x"]),
        "rotate": some(degrees),
        "scale": some(factors),
        "elastic": st.sampled_from([None, {"spacing_nm": 40, "amplitude_nm": 10}]),
    }
)


def crop_of(world, grid):
    """A crop with its class in the outermost corners, so that patches must reach for them, and inside."""
    world.write_raw(grid)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[:: max(1, grid.shape[0] - 1), :: max(1, grid.shape[1] - 1), :: max(1, grid.shape[2] - 1)] = 1
    world.write_labels(CLASS, grid, values=labels)
    return open_crop(world.row((CLASS,)), (CLASS,))


def ends(place, array):
    """The box of the voxel centres of an array of a patch, its displacement with it, in nm."""
    half = (np.asarray(array.shape) - 1) / 2 * array.scale
    corners = np.array(list(itertools.product(*zip(-half, half, strict=True)))) @ place.linear.T + place.centre
    bent = 0.0 if place.displacement is None else place.displacement.largest
    return corners.min(axis=0) - bent, corners.max(axis=0) + bent


def beyond(bounds, low, high):
    return np.maximum(np.subtract(bounds.begin, low), np.subtract(high, bounds.end))


@settings(max_examples=150, deadline=None)
@given(
    spatial=transforms,
    crop=sizes,
    given=sizes,
    target=sizes,
    further=sizes,
    scales=st.tuples(voxels, voxels, voxels),
    stored=voxels,
)
def test_no_patch_reaches_further(make_world, spatial, crop, given, target, further, scales, stored):
    if given[0] == 1 or target[0] == 1:
        given, target = (1, *given[1:]), (1, *target[1:])
    parsed = SpatialTransforms.parse(spatial)
    arrays = [ArrayInfo(shape=s, scale=v) for s, v in zip((given, target, further), scales, strict=True)]
    patch = PatchShape(input=arrays[0], target=arrays[1], further_inputs={"more": arrays[2]})
    crops = (crop_of(make_world(), Grid(voxel_size=stored, translation=(100, -50, 3), shape=crop)),)
    bounds = crops[0].bounds
    reader = PatchReader(crops=crops, classes=(CLASS,), patch=patch)
    drawn = TrainingPatches(reader, Augmentation(spatial=parsed), foreground_share=0.6)
    tiles = ValidationPatches(reader)
    places = [drawn.place(index) for index in range(40)]
    most = np.array(reach_beyond(patch, parsed, bounds.extent))
    for array in (arrays[0], arrays[2]):
        reached = np.max([beyond(bounds, *ends(place.patch_map, array)) for place in places], axis=0)
        assert np.all(reached <= most + 1e-6)
    both = np.array(PatchReach(patch=patch, transforms=parsed)(bounds.extent))
    assert np.all(both >= most)
    for place in map(tiles.place, range(len(tiles))):
        assert np.all(beyond(bounds, *ends(place.patch_map, arrays[0])) <= both + 1e-6)


@pytest.mark.parametrize(
    ("spatial", "least", "most"),
    [
        ({}, 0, 0),
        ({"mirror": True, "transpose": True}, 0, 0),
        ({"scale": {axis: [0.8, 1.25] for axis in "zyx"}}, 0.25, 0.25),
        ({"rotate": True}, 0.7, 1.16),
        ({"rotate": {"z": [-5, 5], "y": [-5, 5]}}, 0.1, 0.3),
        ({"rotate": True, "scale": {axis: [0.8, 1.25] for axis in "zyx"}}, 1.1, 1.45),
    ],
)
def test_it_is_little_more_than_what_patches_reach(make_world, spatial, least, most):
    """Counted in half patches: a cube of 32 voxels in a crop of 64."""
    parsed = SpatialTransforms.parse(spatial)
    array = ArrayInfo(shape=(32, 32, 32), scale=(8, 8, 8))
    patch = PatchShape(input=array, target=array)
    crop = crop_of(make_world(), Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(64, 64, 64)))
    reader = PatchReader(crops=(crop,), classes=(CLASS,), patch=patch)
    drawn = TrainingPatches(reader, Augmentation(spatial=parsed), foreground_share=0.9)
    places = [drawn.place(index).patch_map for index in range(2000)]
    reached = np.max([beyond(crop.bounds, *ends(place, array)) for place in places]) / 128
    stated = (np.array(reach_beyond(patch, parsed, crop.bounds.extent)) - 16) / 128
    assert least - 0.07 <= reached <= stated.max() + 1e-6
    assert stated.max() <= most + 0.05


def test_no_displacement_is_longer_than_what_is_counted():
    array = ArrayInfo(shape=(40, 40, 40), scale=(8, 8, 8))
    elastic = SpatialTransforms.parse({"elastic": {"spacing_nm": 80, "amplitude_nm": 20}})
    drawn = [elastic.draw(np.random.default_rng(n), array.shape, array.extent).displacement for n in range(300)]
    largest = max(field.largest.max() for field in drawn)
    assert 60 < largest <= 80
    upright = reach_beyond(PatchShape(input=array, target=array), SpatialTransforms(), (640, 640, 640))
    bent = reach_beyond(PatchShape(input=array, target=array), elastic, (640, 640, 640))
    assert np.subtract(bent, upright) == pytest.approx(80)


def test_patches_of_a_corner_hold_it_and_reach_no_further_than_they_must(make_world):
    crop = crop_of(make_world(), Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(40, 40, 40)))
    array = ArrayInfo(shape=(16, 16, 16), scale=(8, 8, 8))
    reader = PatchReader(crops=(crop,), classes=(CLASS,), patch=PatchShape(input=array, target=array))
    shrunk = SpatialTransforms.parse({"rotate": {"z": 180}, "scale": {axis: [0.5, 0.9] for axis in "zyx"}})
    drawn = TrainingPatches(reader, Augmentation(spatial=shrunk), foreground_share=1.0)
    for index in range(200):
        place = drawn.place(index)
        assert np.nansum(reader.sample(0, place.patch_map)["output"]) > 0
        # upright along z, and less than the crop: it need not hang over
        low, high = ends(place.patch_map, array)
        assert beyond(crop.bounds, low, high)[0] <= 0
