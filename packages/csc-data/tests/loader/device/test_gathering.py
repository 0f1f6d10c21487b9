"""Patches gathered on a device are those that the compiled loops gather, at any pose.

Raw may round to a neighbouring grey level in few voxels, as processors and devices round products differently; labels
may differ at positions that lie on the border of two voxels but for rounding.
"""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from csc_data.geometry import Grid
from csc_data.loader import AnnotatedCrop, ArrayInfo, RawSource, RegionCache
from csc_data.loader.poses.patch_map import Displacement, PatchMap
from csc_data.loader.sources.label_source import LabelSource
from csc_data.loader.sources.level_map import LevelMap
from csc_data.splits.annotations import EncodedArray
from csc_data.volumes import Level, Volume
from csc_data.volumes.annotation_values import Encoding

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from csc_data.loader.device import gathering  # noqa: E402
from csc_data.loader.device.regions import DeviceRegion, DeviceRegions  # noqa: E402

CLASSES = ("mito", "er", "nuc")
SIZES = st.sampled_from([(8.0, 8.0, 8.0), (5.24, 4.0, 4.0), (16.0, 8.0, 8.0), (3.3, 7.1, 4.9)])


@dataclass(frozen=True, kw_only=True)
class Drawn:
    raw: RawSource
    labels: LabelSource
    patch_map: PatchMap
    array: ArrayInfo


@st.composite
def drawn_patches(draw):
    """A crop at the border of its raw or within, and a patch in it, at its ends or beyond it."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    raw = rng.integers(0, np.iinfo(dtype).max, (26, 24, 28), dtype=dtype, endpoint=True)
    origin = draw(st.tuples(*[st.floats(-9e4, 9e4)] * 3))
    whole = Grid(voxel_size=draw(SIZES), translation=origin, shape=raw.shape)
    box = whole.window(draw(st.tuples(*[st.integers(-6, 12)] * 3)), (14, 12, 13))
    labels = {}
    for name in CLASSES:
        encoded = EncodedArray(rng.integers(0, 2, box.shape).astype(np.uint8), Encoding())
        levels = (Level(name="s0", grid=box, array=encoded),)
        labels[name] = (Volume(path=f"{name}{rng.integers(2**60)}", levels=levels, attributes={}),)
    volume = Volume(path=f"raw{rng.integers(2**60)}", levels=(Level(name="s0", grid=whole, array=raw),), attributes={})
    crop = AnnotatedCrop(name="x/crop1", raw=volume, labels=labels, bounds=box.bounds)
    flat = draw(st.booleans())
    shape = (1 if flat else draw(st.integers(1, 14)), *draw(st.tuples(st.integers(2, 17), st.integers(2, 17))))
    array = ArrayInfo(shape=shape, scale=draw(SIZES))
    centre = np.asarray(box.bounds.begin) + rng.uniform(-0.2, 1.2, 3) * box.bounds.extent
    pose = draw(st.sampled_from(["upright", "on voxels", "flipped", "turned", "bent"]))
    linear = np.eye(3)
    if pose == "on voxels":
        centre = np.asarray(box.translation) + rng.integers(0, 24, 3) / 2 * box.voxel_size
    elif pose == "flipped":
        linear = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    elif pose != "upright":
        turn = Rotation.from_euler("z", rng.uniform(-180, 180), degrees=True) if flat else Rotation.random(rng=rng)
        linear = turn.as_matrix() * (rng.uniform(0.7, 1.4, 3) if draw(st.booleans()) else 1.0)
    displacement = None
    if pose == "bent":
        points = rng.integers(1, 6, 3)
        values = rng.normal(0, 12, (3, *points)).astype(np.float32)
        step = np.asarray(array.extent) / np.maximum(points - rng.uniform(0.5, 1.5, 3), 0.7)
        displacement = Displacement(values=values, begin=-np.asarray(array.extent) / 2, step=step)
    assume(not crop.bounds.intersect(whole.bounds).empty)
    cache = RegionCache(1 << 24)
    return Drawn(
        raw=RawSource(volume, crop.bounds, whole.bounds, cache),
        labels=LabelSource(crop, CLASSES, {}, cache),
        patch_map=PatchMap(centre=centre, linear=linear, displacement=displacement),
        array=array,
    )


def gathered(drawn):
    """Return raw and labels, each as loops and as torch gather them, and the map to voxels of the labels."""
    raw, labels, array, patch_map = drawn.raw, drawn.labels, drawn.array, drawn.patch_map
    regions = DeviceRegions("cpu", 1 << 24)

    loops = np.empty(array.shape, dtype=np.float32)
    raw.gather(patch_map, array, np.arange(np.iinfo(raw.dtype).max + 1, dtype=np.float32), loops)
    level = raw.level_for(patch_map, array)
    there = torch.empty(array.shape)
    gathering.gather_raw(
        LevelMap(patch_map, array, level.grid),
        regions.find_or_send(raw.region_for(patch_map, array)),
        level.faces,
        there,
    )
    targets = np.empty((len(CLASSES), *array.shape), dtype=np.float32)
    labels.gather(patch_map, array, targets)
    there_targets = torch.empty(targets.shape)
    grid, limits, region = labels.region_for(patch_map, array)
    on = LevelMap(patch_map, array, grid)
    gathering.gather_labels(on, regions.find_or_send(region), limits, there_targets)
    return (loops, there.numpy()), (targets, there_targets.numpy()), on


def distance_to_border(drawn, on):
    """Return how far the positions of a patch's voxels are from the border of two voxels of the labels."""
    index = np.stack(np.meshgrid(*map(np.arange, drawn.array.shape), indexing="ij"), axis=-1)
    at = index @ on.m.T + on.t
    if on.displacement.shape[1]:
        from scipy.ndimage import map_coordinates

        where = np.moveaxis(index * on.place[:, 0] + on.place[:, 1], -1, 0)
        at += np.stack(
            [map_coordinates(each.astype(np.float64), where, order=1, mode="nearest") for each in on.displacement], -1
        )
    return np.abs(at + 0.5 - np.rint(at + 0.5)).min(axis=-1)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=drawn_patches())
def test_torch_gathers_what_the_loops_gather(drawn):
    (raw, raw_there), (labels, labels_there), on = gathered(drawn)
    differing = np.abs(raw - raw_there)
    assert differing.max() <= 1
    # Products of 16 bits of raw and of weights do not fit into float32: 1.5e-5 of the range in some voxels.
    many = max(1, raw.size // 1000) if drawn.raw.dtype == np.uint8 else 3 + raw.size // 10
    assert np.count_nonzero(differing) <= many
    same = ((labels == labels_there) | (np.isnan(labels) & np.isnan(labels_there))).all(axis=0)
    assert on.positions is None or same.all()
    assert (distance_to_border(drawn, on)[~same] < 1e-3).all()


class PeakBytes(TorchDispatchMode):
    """The most bytes that tensors made within it hold at a time; those of views of a given one are not theirs."""

    def __init__(self, given):
        super().__init__()
        self.now = self.most = 0
        self.users = Counter([given.untyped_storage().data_ptr()])

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, list | tuple) else [result]:
            place, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
            self.now += 0 if self.users[place] else size
            self.users[place] += 1
            self.most = max(self.most, self.now)
            weakref.finalize(tensor, self._end, place, size)
        return result

    def _end(self, place, size):
        self.users[place] -= 1
        self.now -= 0 if self.users[place] else size


@pytest.mark.parametrize("bent", [False, True])
def test_what_a_large_patch_needs_besides_is_bounded(bent):
    rng = np.random.default_rng(0)
    whole = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(40, 40, 40))
    array = ArrayInfo(shape=(160, 128, 160), scale=(8, 8, 8))
    points = 9
    displacement = Displacement(
        values=rng.normal(0, 8, (3, points, points, points)).astype(np.float32),
        begin=np.full(3, -512.0),
        step=np.full(3, 1024 / (points - 1)),
    )
    patch_map = PatchMap(
        centre=np.full(3, 160.0),
        linear=Rotation.random(rng=rng).as_matrix(),
        displacement=displacement if bent else None,
    )
    raw = torch.from_numpy(rng.integers(0, 256, whole.size, dtype=np.uint8))
    region = DeviceRegion(flat=raw, begin=np.zeros(3, np.int64), shape=whole.shape, values=None)
    out = torch.empty(array.shape)
    with PeakBytes(out) as peak:
        gathering.gather_raw(LevelMap(patch_map, array, whole), region, np.array([[0] * 3, whole.shape]), out)
    assert out.nbytes < peak.most < 256e6
    classes = 3
    values = torch.from_numpy(rng.random((classes, 257), dtype=np.float32))
    region = DeviceRegion(flat=raw, begin=np.zeros(3, np.int64), shape=whole.shape, values=values)
    targets = torch.empty((classes, *array.shape))
    limits = np.array([[0.0] * 3, whole.shape])
    with PeakBytes(targets) as peak:
        gathering.gather_labels(LevelMap(patch_map, array, whole), region, limits, targets)
    assert out.nbytes < peak.most < 256e6


@pytest.mark.parametrize("off", [0.0, -1e-10])
def test_on_the_border_of_two_voxels_a_label_is_that_of_the_later_one(off):
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(12, 12, 12))
    array = ArrayInfo(shape=(5, 6, 7), scale=(8, 8, 8))
    still = Displacement(values=np.zeros((3, 2, 2, 2), np.float32), begin=np.full(3, -24.0), step=np.full(3, 48.0))
    begin = np.array([2, 3, 4])
    centre = (begin + (np.array(array.shape) - 1) / 2 + 0.5 + off) * 8
    numbers = np.random.default_rng(0).integers(0, 200, grid.shape, dtype=np.uint8)
    values = torch.arange(257, dtype=torch.float32)[None]
    flat = torch.from_numpy(numbers.reshape(-1))
    region = DeviceRegion(flat=flat, begin=np.zeros(3, np.int64), shape=grid.shape, values=values)
    out = torch.empty((1, *array.shape))
    on = LevelMap(PatchMap(centre=centre, displacement=still), array, grid)
    gathering.gather_labels(on, region, np.array([[0.0] * 3, grid.shape]), out)
    box = tuple(slice(b + 1, b + 1 + n) for b, n in zip(begin, array.shape, strict=True))
    np.testing.assert_array_equal(out[0].numpy(), numbers[box])
