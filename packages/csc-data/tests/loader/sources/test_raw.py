import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.loader import RawSource, scale_raw
from csc_data.volumes import Level, Volume


def volume_of(data, grid):
    return Volume(path="memory", levels=(Level(name="s0", grid=grid, array=data),), attributes={})


def read_raw(volume, grid):
    return RawSource(volume, volume.levels[0].grid.bounds).read(grid, (0, 255))


@pytest.mark.parametrize(
    ("dtype", "ends"), [(np.uint8, (0, 255)), (np.uint16, (0, 65535)), (np.int8, (-128, 127)), (np.float32, (0, 1))]
)
@pytest.mark.parametrize("raw_range", [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)])
def test_the_ends_of_the_type_become_the_ends_of_the_range(dtype, ends, raw_range):
    scaled = scale_raw(np.array(ends, dtype=dtype), raw_range)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, raw_range, atol=1e-4)


def test_unscaled_uint8_keeps_its_very_values():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(scale_raw(values, (0, 255)), values.astype(np.float32))


def test_a_range_of_equal_numbers_is_refused():
    with pytest.raises(InvalidArgumentError, match="first smaller"):
        scale_raw(np.zeros(1, np.uint8), (1, 1))


def mirrored_index(index, n):
    """Reflect an index at the faces of n voxels, as often as needed."""
    index = index % (2 * n)
    return index if index < n else 2 * n - 1 - index


@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    begin=st.tuples(*[st.integers(-9, 9)] * 3),
    size=st.tuples(*[st.integers(1, 12)] * 3),
    voxel=st.sampled_from([(8, 8, 8), (5.24, 4, 4), (1.74, 2, 2)]),
)
@settings(max_examples=150, deadline=None)
def test_beyond_the_volume_raw_is_mirrored(shape, begin, size, voxel):
    data = np.random.default_rng(0).integers(1, 255, shape).astype(np.uint8)
    grid = Grid(voxel_size=voxel, translation=(1000.3, -40, 7.7), shape=shape)
    got = read_raw(volume_of(data, grid), grid.window(begin, size))
    index = [[mirrored_index(b + i, n) for i in range(s)] for b, s, n in zip(begin, size, shape, strict=True)]
    np.testing.assert_array_equal(got, data[np.ix_(*index)])


@given(
    ratio=st.tuples(*[st.floats(0.3, 3)] * 3),
    offset=st.tuples(*[st.floats(-9, 9)] * 3),
    cut=st.integers(1, 15),
    axis=st.integers(0, 2),
)
@settings(max_examples=150, deadline=None)
def test_a_value_does_not_depend_on_how_much_is_read(ratio, offset, cut, axis):
    data = np.random.default_rng(1).integers(0, 255, (9, 10, 11)).astype(np.uint8)
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=data.shape)
    whole = Grid(voxel_size=tuple(8 * r for r in ratio), translation=tuple(8 * o for o in offset), shape=(16, 16, 16))
    volume = volume_of(data, grid)
    first, second = [16, 16, 16], [16, 16, 16]
    first[axis], second[axis] = cut, 16 - cut
    begin = [0, 0, 0]
    begin[axis] = cut
    parts = [read_raw(volume, whole.window((0, 0, 0), first)), read_raw(volume, whole.window(begin, second))]
    expected = read_raw(volume, whole)
    for number, part in enumerate(parts):
        box = [slice(None)] * 3
        box[axis] = slice(0, cut) if number == 0 else slice(cut, 16)
        wanted = expected[tuple(box)]
        np.testing.assert_array_equal(part, wanted)
