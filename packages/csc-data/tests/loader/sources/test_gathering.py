"""Patches at any pose hold the values at their positions: on volumes that are known functions of nm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from csc_data.geometry import TOLERANCE, Grid
from csc_data.loader import AnnotatedCrop, ArrayInfo, PatchShape, RegionCache, scale_raw
from csc_data.loader.patches.reader import PatchReader
from csc_data.loader.poses.patch_map import Displacement, PatchMap
from csc_data.loader.sources.gathering.labels import take_stored
from csc_data.loader.sources.gathering.raw import gather_turned
from csc_data.loader.sources.gathering.rows import NO_DISPLACEMENT
from csc_data.splits.annotations import EncodedArray
from csc_data.volumes import Level, Volume
from csc_data.volumes.annotation_values import UNKNOWN, Encoding

SHAPE = (40, 44, 36)
FULL_SCALE = 255


def volume(grid, values):
    return Volume(path=f"memory{id(values)}", levels=(Level(name="s0", grid=grid, array=values),), attributes={})


def world(voxel_size, translation, normal, label_window):
    """Raw that rises along a direction over the whole volume; two classes, above and below the middle."""
    grid = Grid(voxel_size=voxel_size, translation=translation, shape=SHAPE)
    centre = (np.asarray(grid.bounds.begin) + np.asarray(grid.bounds.end)) / 2
    reach = np.abs(np.asarray(normal) * np.asarray(SHAPE) * voxel_size).sum() / 2
    slope = np.asarray(normal) / reach / 2

    def intensity(position):
        """0 to 1 at nm positions, shape (3, ...)."""
        offset = position - centre.reshape([3] + [1] * (position.ndim - 1))
        return 0.5 + np.tensordot(slope, offset, axes=1)

    stored = intensity(np.stack(np.meshgrid(*(grid.centres(axis) for axis in range(3)), indexing="ij")))
    raw = np.rint(stored * FULL_SCALE).astype(np.uint8)
    begin, size = label_window
    labels = grid.window(begin, size)
    inner = tuple(slice(b, b + n) for b, n in zip(begin, size, strict=True))
    above = (stored[inner] > 0.5).astype(np.uint8)
    crop = AnnotatedCrop(
        name="x/crop1",
        raw=volume(grid, raw),
        labels={
            "mito": (volume(labels, EncodedArray(above, Encoding())),),
            "er": (volume(labels, EncodedArray(1 - above, Encoding())),),
        },
        bounds=labels.bounds,
    )
    return crop, grid, labels, intensity, slope


def positions(patch_map, array):
    """The nm position of every voxel of a patch, one by one from what the map says; shape (3, z, y, x)."""
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij")).reshape(3, -1)
    offset = (index - (np.array(array.shape)[:, None] - 1) / 2) * np.array(array.scale)[:, None]
    found = patch_map.centre[:, None] + patch_map.linear @ offset
    if patch_map.displacement is not None:
        found = found + patch_map.displacement.values.reshape(3)[:, None]  # a single grid point: the same everywhere
    return found.reshape(3, *array.shape)


voxel_sizes = st.tuples(*[st.floats(2, 12)] * 3)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    stored=voxel_sizes,
    wanted=voxel_sizes,
    origin=st.tuples(*[st.floats(-9e4, 9e4)] * 3),
    normal=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda n: np.abs(n).max() > 0.1),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    turned=st.booleans(),
    mirrored=st.tuples(*[st.booleans()] * 3),
    order=st.permutations([0, 1, 2]),
    factor=st.floats(0.7, 1.4),
    shift=st.tuples(*[st.floats(-0.4, 0.4)] * 3),
    moved=st.none() | st.tuples(*[st.floats(-30, 30)] * 3),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 12)),
    held=st.booleans(),
)
@example(
    stored=(4, 4, 4),
    wanted=(8, 8, 8),
    origin=(0, 0, 0),
    normal=(1, 0, 0),
    angles=(0, 0, 0),
    turned=False,
    mirrored=(False, True, False),
    order=[2, 0, 1],
    factor=1.0,
    shift=(0, 0, 0),
    moved=None,
    shape=(5, 5, 5),
    held=False,
)
def test_raw_and_labels_are_those_of_their_positions(
    stored, wanted, origin, normal, angles, turned, mirrored, order, factor, shift, moved, shape, held
):
    crop, grid, labels, intensity, slope = world(stored, origin, normal, ((4, 5, 6), (30, 31, 22)))
    array = ArrayInfo(shape=shape, scale=wanted)
    linear = np.eye(3)[list(order)] * np.where(mirrored, -1.0, 1.0)
    if turned:
        linear = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() @ linear * factor
    extent = np.asarray(grid.bounds.end) - np.asarray(grid.bounds.begin)
    centre = (np.asarray(grid.bounds.begin) + np.asarray(grid.bounds.end)) / 2 + np.asarray(shift) * extent
    displacement = None
    if moved is not None:
        values = np.asarray(moved, dtype=np.float32).reshape(3, 1, 1, 1)
        displacement = Displacement(values=values, begin=np.zeros(3), step=np.ones(3))
    patch_map = PatchMap(centre=centre, linear=linear, displacement=displacement)
    reader = PatchReader(
        crops=(crop,),
        classes=("mito", "er"),
        patch=PatchShape(input=array, target=array),
        regions=RegionCache(1 << 28 if held else 0),
    )
    for _ in range(8 if held else 1):  # until what is read in parts is read whole
        sample = reader.sample(0, patch_map)
    raw, target = (part.reshape(-1, *shape) for part in (sample["input"], sample["output"]))
    at = positions(patch_map, array)
    voxel = np.asarray(stored)[:, None, None, None]

    # Raw: half a level of rounding when it was stored, half a level when it is interpolated; and where stored voxels
    # are averaged half a level more, and none that were mirrored at a face.
    shrunk = max(wanted) > min(stored)
    first, last = (np.array([grid.centres(axis)[i] for axis in range(3)])[:, None, None, None] for i in (0, -1))
    far = 2 * max(wanted) * shrunk
    inside = ((at >= first + far) & (at <= last - far)).all(axis=0)
    error = np.abs(raw[0] - intensity(at))
    assert (error[inside] <= (1.501 if shrunk else 1.001) / FULL_SCALE).all()

    # Labels: wherever the border is further away than half a voxel on every axis.
    begin, end = (np.asarray(p)[:, None, None, None] for p in (labels.bounds.begin, labels.bounds.end))
    edge = 1e-3 * voxel
    known = ((at > begin + edge) & (at < end - edge)).all(axis=0)
    unknown = ((at < begin - edge) | (at > end + edge)).any(axis=0)
    clear = known & (np.abs(intensity(at) - 0.5) > np.abs(slope) @ np.asarray(stored) / 2 + 1e-6)
    assert not np.isnan(target[:, known]).any()
    assert np.isnan(target[:, unknown]).all()
    np.testing.assert_array_equal(target[0][clear], intensity(at)[clear] > 0.5)
    np.testing.assert_array_equal(target[1][clear], intensity(at)[clear] < 0.5)


def ramp(shape=(12, 12, 12)):
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=shape)
    return grid, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def reader_of(grid, raw, labels=None, *, shape=(4, 4, 4), classes=("mito",), scale=(8, 8, 8), **options):
    values = (raw > 127).astype(np.uint8) if labels is None else labels
    crop = AnnotatedCrop(
        name="x/crop1",
        raw=volume(grid, raw),
        labels={"mito": (volume(grid, EncodedArray(values, Encoding())),)},
        bounds=grid.bounds,
    )
    array = ArrayInfo(shape=shape, scale=scale)
    return PatchReader(crops=(crop,), classes=classes, patch=PatchShape(input=array, target=array), **options)


@pytest.mark.parametrize("centre", [(0, 0, 0), (96, 96, 96), (-20, 48, 120), (48, -300, 48), (500, 48, 48)])
@pytest.mark.parametrize("angle", [0, 37])
def test_beyond_the_volume_raw_is_mirrored_and_labels_are_unknown(centre, angle):
    grid, raw = ramp()
    reader = reader_of(grid, raw)
    linear = Rotation.from_euler("z", angle, degrees=True).as_matrix()[::-1, ::-1]
    patch_map = PatchMap(centre=np.asarray(centre, dtype=float), linear=linear)
    sample = reader.sample(0, patch_map)
    at = positions(patch_map, reader.patch.input)
    mirrored = np.pad(raw, 48, mode="symmetric")  # four times the volume on either side
    index = at / 8 - 0.5 + 48
    low = np.floor(index + 1e-9).astype(int)
    share = np.clip(index - low, 0, 1)
    expected = np.zeros(at.shape[1:])
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod([s if c else 1 - s for s, c in zip(share, corner, strict=True)], axis=0)
        z, y, x = (np.clip(i + c, 0, n - 1) for i, c, n in zip(low, corner, mirrored.shape, strict=True))
        expected += weight * mirrored[z, y, x]
    if np.abs(np.asarray(centre)).max() <= 300:  # further away the reference has no mirrors left
        np.testing.assert_allclose(sample["input"][0] * 255, expected, atol=0.52)
    outside = ((at < 0) | (at > 96)).any(axis=0)
    assert np.isnan(sample["output"][0][outside]).all()
    assert not np.isnan(sample["output"][0][((at > 0.01) & (at < 95.99)).all(axis=0)]).any()


def test_upright_patches_are_the_stored_voxels_bit_for_bit():
    grid, raw = ramp()
    reader = reader_of(grid, raw, shape=(5, 6, 7), raw_range=(0, 255))
    for begin in ((0, 0, 0), (3, 2, 1), (7, 6, 5)):
        centre = (np.array(begin) + np.array([5, 6, 7]) / 2) * 8
        sample = reader.sample(0, PatchMap(centre=centre))
        box = tuple(slice(b, b + n) for b, n in zip(begin, (5, 6, 7), strict=True))
        np.testing.assert_array_equal(sample["input"][0], raw[box])
        np.testing.assert_array_equal(sample["output"][0], raw[box] > 127)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_raw_of_every_type_is_scaled_by_the_same_rule(dtype):
    grid, raw = ramp()
    if dtype == "u2":
        raw = raw.astype("u2") * 257
    elif dtype == "i2":
        raw = raw.astype("i2") * 200 - 20_000
    elif dtype.startswith("f"):
        raw = (raw / 255).astype(dtype)
    reader = reader_of(grid, raw, labels=np.ones(raw.shape, "u1"), raw_range=(-1.0, 1.0))
    upright = reader.sample(0, PatchMap(centre=np.array([4.0, 5.0, 6.0]) * 8))["input"]
    np.testing.assert_array_equal(upright[0], scale_raw(raw[2:6, 3:7, 4:8], (-1.0, 1.0)))
    np.testing.assert_array_equal(upright[0], reader.sources(0)[0].read(grid.window((2, 3, 4), (4, 4, 4)), (-1.0, 1.0)))
    turned = reader.sample(0, PatchMap(centre=np.array([4.0, 5.0, 6.0]) * 8, linear=np.eye(3) * (1 + 1e-7)))["input"]
    np.testing.assert_allclose(turned, upright, atol=1e-4)


def test_classes_on_grids_of_their_own_are_each_right():
    fine, _ = ramp((24, 24, 24))
    fine = Grid(voxel_size=(4, 4, 4), translation=(2, 2, 2), shape=(24, 24, 24))
    coarse, raw = ramp()
    rng = np.random.default_rng(1)
    one, two = rng.integers(0, 2, fine.shape, dtype=np.uint8), rng.integers(0, 2, coarse.shape, dtype=np.uint8)
    crop = AnnotatedCrop(
        name="x/crop1",
        raw=volume(coarse, raw),
        labels={
            "mito": (volume(fine, EncodedArray(one, Encoding())),),
            "er": (volume(coarse, EncodedArray(two, Encoding(unknown=1, absent=0))),),
        },
        bounds=coarse.bounds,
    )
    array = ArrayInfo(shape=(8, 8, 8), scale=(4, 4, 4))
    for exclusive in (False, True):
        reader = PatchReader(
            crops=(crop,),
            classes=("mito", "er"),
            patch=PatchShape(input=array, target=array),
            use_mutual_exclusion=exclusive,
        )
        target = reader.sample(0, PatchMap(centre=np.array([40.0, 40.0, 40.0])))["output"]
        here = one[6:14, 6:14, 6:14]
        there = two.repeat(2, 0).repeat(2, 1).repeat(2, 2)[6:14, 6:14, 6:14]
        np.testing.assert_array_equal(target[0], here)
        expected = np.where(there == 1, np.nan, 0.0)
        if exclusive:
            expected[here == 1] = 0.0
        np.testing.assert_array_equal(target[1], expected)


def test_labels_of_noise_that_do_not_pack_are_right_all_the_same():
    grid, raw = ramp((40, 42, 44))
    rng = np.random.default_rng(2)
    names = [f"c{n}" for n in range(20)]
    stored = {name: rng.integers(0, 2, grid.shape, dtype=np.uint8) for name in names}
    crop = AnnotatedCrop(
        name="x/crop1",
        raw=volume(grid, raw),
        labels={name: (volume(grid, EncodedArray(v, Encoding())),) for name, v in stored.items()},
        bounds=grid.bounds,
    )
    array = ArrayInfo(shape=(36, 36, 36), scale=(8, 8, 8))
    reader = PatchReader(crops=(crop,), classes=tuple(names), patch=PatchShape(input=array, target=array))
    target = reader.sample(0, PatchMap(centre=np.array([20.0, 21.0, 22.0]) * 8))["output"]
    for channel, name in enumerate(names):
        np.testing.assert_array_equal(target[channel], stored[name][2:38, 3:39, 4:40])


@pytest.mark.parametrize("seed", range(6))
def test_stored_numbers_are_those_of_the_nearest_voxel(seed):
    rng = np.random.default_rng(seed)
    source = rng.integers(1, 2**40, (9, 8, 7))
    m = np.diag(rng.uniform(0.3, 1.7, 3)) @ (Rotation.random(rng=rng).as_matrix() if seed else np.eye(3))
    begin = np.array([0, 1, 2])  # of the box in its volume
    out = np.full((6, 7, 8), -1, dtype=np.int64)
    t = begin + np.array([4, 3.5, 3]) + rng.uniform(-1, 1, 3) - m @ (np.array(out.shape) - 1) / 2
    limits = np.stack([begin, begin + source.shape]).astype(float)
    take_stored(source, begin, limits, m, t, NO_DISPLACEMENT, np.zeros((3, 2)), out)
    inside = 0
    for index in np.ndindex(*out.shape):
        nearest = np.floor(m @ index + t + 0.5 + TOLERANCE).astype(int) - begin  # borders: the later voxel
        held = all(0 <= i < n for i, n in zip(nearest, source.shape, strict=True))
        assert out[index] == (source[tuple(nearest)] if held else 0)
        inside += held
    assert inside > 50


@pytest.mark.parametrize("seed", range(8))
def test_bent_patches_hold_the_values_at_their_bent_positions(seed):
    """Each position worked out by itself: the map, and the displacement interpolated between eight grid points."""
    rng = np.random.default_rng(seed)
    shape = [(9, 14, 33), (1, 20, 40)][seed % 2]
    counts = [max(2, n // 4) if n > 1 else 1 for n in shape]
    field = rng.uniform(-2.5, 2.5, (3, *counts)).astype(np.float32)
    place = np.array([[rng.uniform(0.05, 0.11), rng.uniform(0.1, 0.5)] for _ in range(3)])
    m = (Rotation.random(rng=rng).as_matrix() if seed % 3 else np.eye(3)) * rng.uniform(0.8, 1.2)
    begin, size = np.array([5, -3, 7]), (60, 62, 64)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).reshape(3, -1)
    t = begin + np.array(size) / 2 - m @ (np.array(shape) / 2) + rng.uniform(-1, 1, 3)
    at = np.clip(index * place[:, :1] + place[:, 1:], 0, np.array(counts)[:, None] - 1)
    bent = np.stack([map_coordinates(part.astype(np.float64), at, order=1, mode="nearest") for part in field])
    positions = m @ index + t[:, None] + bent

    slope = np.array([0.7, -0.4, 1.1])
    grid = np.stack(np.meshgrid(*(b + np.arange(n) for b, n in zip(begin, size, strict=True)), indexing="ij"))
    source = np.tensordot(slope, grid, axes=1).astype(np.float32) + 500
    for cubic in (False, True):
        out = np.empty(shape, dtype=np.float32)
        none = np.empty(0, dtype=np.float32)
        faces = np.stack([begin, begin + size])
        gather_turned(source, begin, faces, m, t, field, place, none, cubic, out)
        inside = ((positions >= faces[:1].T + 2) & (positions <= faces[1:].T - 3)).all(axis=0)
        assert inside.sum() > inside.size / 2
        expected = slope @ positions + 500
        np.testing.assert_allclose(out.reshape(-1)[inside], expected[inside], atol=1e-3)

    ids = rng.integers(1, 2**40, size)
    taken = np.empty(shape, dtype=np.int64)
    take_stored(ids, begin, np.stack([begin, begin + size]).astype(float), m, t, field, place, taken)
    nearest = np.floor(positions + 0.5 + TOLERANCE).astype(int) - begin[:, None]
    held = ((nearest >= 0) & (nearest < np.array(size)[:, None])).all(axis=0)
    clear = (np.abs(positions - np.floor(positions) - 0.5) > 1e-3).all(axis=0)
    expected_ids = np.where(held, ids[tuple(np.where(held, nearest, 0))], 0)
    np.testing.assert_array_equal(taken.reshape(-1)[clear], expected_ids[clear])


def test_cubics_keep_parabolas():
    """Between voxels a cubic is right for polynomials of the second degree; a line is not."""
    z, y, x = np.meshgrid(*[np.arange(24.0)] * 3, indexing="ij")
    source = (0.3 * z * z - 0.2 * y * x + 0.5 * x * x - y + 7).astype(np.float32)
    m = Rotation.from_euler("zyx", [31, -12, 55], degrees=True).as_matrix() * 0.9
    shape = (7, 8, 9)
    t = np.full(3, 11.5) - m @ (np.array(shape) - 1) / 2
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).reshape(3, -1)
    pz, py, px = m @ index + t[:, None]
    expected = 0.3 * pz * pz - 0.2 * py * px + 0.5 * px * px - py + 7
    faces, none = np.array([[0] * 3, [24] * 3]), np.empty(0, dtype=np.float32)
    errors = []
    for cubic in (True, False):
        out = np.empty(shape, dtype=np.float32)
        gather_turned(source, faces[0], faces, m, t, NO_DISPLACEMENT, np.zeros((3, 2)), none, cubic, out)
        errors.append(np.abs(out.reshape(-1) - expected).max())
    assert errors[0] < 2e-3 < 0.05 < errors[1]


def test_what_is_held_stays_below_its_bound():
    grid, raw = ramp((64, 64, 64))
    regions = RegionCache(4 << 20)
    reader = reader_of(grid, raw, shape=(8, 8, 8), regions=regions)
    for number in range(40):
        reader.sample(0, PatchMap(centre=np.array([100.0 + number, 200, 300])))
        assert regions.held_bytes <= regions.max_bytes
    assert regions.held_bytes > 0
    small = RegionCache(1000)
    reader = reader_of(grid, raw, shape=(8, 8, 8), regions=small)
    for _ in range(20):
        reader.sample(0, PatchMap(centre=np.array([100.0, 200, 300])))
    assert small.held_bytes == 0


@pytest.mark.parametrize("seed", range(12))
def test_what_is_held_changes_no_bit(seed):
    """Read in parts or from the whole, at any pose, also at the faces of the volume."""
    rng = np.random.default_rng(seed)
    grid, raw = ramp((40, 44, 36))
    labels = rng.integers(0, 2, raw.shape, dtype=np.uint8)
    linear = Rotation.from_euler("zyx", rng.uniform(-180, 180, 3), degrees=True).as_matrix() * rng.uniform(0.8, 1.2)
    centre = rng.uniform(0, 1, 3) * np.asarray(grid.bounds.end)
    held = reader_of(grid, raw, labels, shape=(16, 20, 24), regions=RegionCache(1 << 28))
    for _ in range(12):
        held.sample(0, PatchMap(centre=centre))
    assert held.regions.held_bytes > 0
    parts = reader_of(grid, raw, labels, shape=(16, 20, 24), regions=RegionCache(0))
    patch_map = PatchMap(centre=centre, linear=linear)
    one, other = held.sample(0, patch_map), parts.sample(0, patch_map)
    np.testing.assert_array_equal(one["input"], other["input"])
    np.testing.assert_array_equal(one["output"], other["output"])


def test_codes_of_a_grid_are_unknown_outside():
    grid, raw = ramp()
    labels = reader_of(grid, raw).sources(0)[1]
    codes = labels.read(grid.window((-2, 0, 0), (4, 2, 2)))
    assert (codes[:, :2] == UNKNOWN).all()
    np.testing.assert_array_equal(codes[0, 2:], raw[:2, :2, :2] > 127)
    assert (labels.read(grid.window((100, 0, 0), (2, 2, 2))) == UNKNOWN).all()
