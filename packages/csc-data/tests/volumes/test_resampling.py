from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.volumes.resampling import resample

sizes = st.tuples(*[st.floats(1.5, 20).map(lambda n: round(n, 2))] * 3)
positions = st.tuples(*[st.floats(-200, 200).map(lambda n: round(n, 3))] * 3)
shapes = st.tuples(*[st.integers(1, 24)] * 3)
grids = st.builds(lambda v, t, s: Grid(voxel_size=v, translation=t, shape=s), sizes, positions, shapes)


def reader(data):
    """Give boxes of an array, and insist that they lie within it."""

    def read_box(box):
        for s, n in zip(box, data.shape, strict=True):
            assert 0 <= s.start <= s.stop <= n
        return data[box]

    return read_box


def centres(grid):
    return np.meshgrid(*(grid.centres(axis) for axis in range(3)), indexing="ij")


def linear(z, y, x, slopes):
    return slopes[0] * z + slopes[1] * y + slopes[2] * x


@given(grids, grids, st.tuples(*[st.floats(-3, 3)] * 3))
@settings(max_examples=250, deadline=None)
def test_linear_functions_of_nm_come_back(source, target, slopes):
    data = linear(*centres(source), slopes)
    values = resample(reader(data), source, target, order=1, fill=np.nan)
    where = centres(target)
    # Between the outermost centres the function itself; from there to the bounds, the value at the centre.
    clipped = [np.clip(w, source.centres(axis)[0], source.centres(axis)[-1]) for axis, w in enumerate(where)]
    inside = np.ones(target.shape, dtype=bool)
    for axis, w in enumerate(where):
        position = (w - source.bounds.begin[axis]) / source.voxel_size[axis]
        inside &= (position > 1e-3) & (position < source.shape[axis] - 1e-3)
    # Positions count as a centre when they are within 1e-4 of a voxel of it.
    tolerance = 1e-6 + 2e-4 * sum(abs(s) * v for s, v in zip(slopes, source.voxel_size, strict=True))
    np.testing.assert_allclose(values[inside], linear(*clipped, slopes)[inside], atol=tolerance)


@given(grids, grids)
@settings(max_examples=250, deadline=None)
def test_labels_are_right_for_all_positions_within_a_voxel(source, target):
    data = np.arange(1, source.size + 1, dtype=np.uint64).reshape(source.shape)
    values = resample(reader(data), source, target, order=0)
    index, sure = [], np.ones(target.shape, dtype=bool)
    for axis, w in enumerate(centres(target)):
        position = (w - source.bounds.begin[axis]) / source.voxel_size[axis]
        index.append(np.floor(position).astype(int))
        sure &= np.abs(position - np.rint(position)) > 1e-3  # not on a border between voxels
    inside = np.ones(target.shape, dtype=bool)
    for axis, i in enumerate(index):
        inside &= (i >= 0) & (i < source.shape[axis])
    expected = np.zeros(target.shape, dtype=np.uint64)
    expected[inside] = data[tuple(i[inside] for i in index)]
    np.testing.assert_array_equal(values[sure], expected[sure])


@given(grids, st.sampled_from([0, 1]), st.sampled_from(["u1", "i8", "u8", "f4", "f8", "?"]), st.integers(0, 10**6))
@settings(deadline=None)
def test_the_same_grid_gives_the_same_bits(grid, order, dtype, seed):
    raw = np.random.default_rng(seed).bytes(grid.size * np.dtype(dtype).itemsize)
    data = np.frombuffer(raw, dtype="u1" if dtype == "?" else dtype)
    data = (data > 127 if dtype == "?" else data).reshape(grid.shape)
    values = resample(reader(data), grid, grid, order)
    assert values.dtype == data.dtype
    assert values.tobytes() == data.tobytes()


@given(grids, st.tuples(*[st.integers(-30, 30)] * 3), shapes, st.sampled_from([0, 1]))
@settings(deadline=None)
def test_a_window_of_the_grid_is_a_padded_cut(grid, begin, shape, order):
    data = np.random.default_rng(0).integers(0, 255, grid.shape).astype("u1")
    values = resample(reader(data), grid, grid.window(begin, shape), order, fill=7)
    big = np.pad(data, 60, constant_values=7)
    expected = big[tuple(slice(60 + b, 60 + b + n) for b, n in zip(begin, shape, strict=True))]
    np.testing.assert_array_equal(values, expected)


@given(grids, grids, st.sampled_from([0, 1]), st.tuples(*[st.integers(5, 15)] * 3))
@settings(max_examples=100, deadline=None)
def test_pieces_are_the_same_as_the_whole(source, target, order, piece):
    data = np.random.default_rng(1).integers(0, 255, source.shape).astype("u1")
    whole = resample(reader(data), source, target, order, fill=3)
    for z in range(0, target.shape[0], piece[0]):
        for y in range(0, target.shape[1], piece[1]):
            for x in range(0, target.shape[2], piece[2]):
                begin = (z, y, x)
                shape = [min(p, n - b) for p, n, b in zip(piece, target.shape, begin, strict=True)]
                part = resample(reader(data), source, target.window(begin, shape), order, fill=3)
                np.testing.assert_array_equal(part, whole[z : z + shape[0], y : y + shape[1], x : x + shape[2]])


def test_pieces_agree_where_rounding_is_a_tie():
    # 0.25 of a voxel of values that differ by 2 lies on a half: the last bit of a position decides how it is rounded.
    source = Grid(voxel_size=(1.74, 1, 1), translation=(0.03, 0, 0), shape=(400, 1, 1))
    target = Grid(voxel_size=(0.435, 1, 1), translation=(0.03, 0, 0), shape=(1500, 1, 1))
    data = (np.arange(400) % 2 * 2).astype("u4").reshape(-1, 1, 1)
    whole = resample(reader(data), source, target, 1)
    for begin in range(0, 1500, 7):
        shape = (min(7, 1500 - begin), 1, 1)
        part = resample(reader(data), source, target.window((begin, 0, 0), shape), 1)
        np.testing.assert_array_equal(part, whole[begin : begin + 7])


@pytest.mark.parametrize(("order", "expected"), [(0, [3, 9, 15]), (1, [3, 8, 15])])
def test_as_many_positions_as_voxels_need_not_be_the_voxels(order, expected):
    source = Grid(voxel_size=(2, 2, 6), translation=(0, 0, 3), shape=(1, 1, 3))
    target = Grid(voxel_size=(2, 2, 7), translation=(0, 0, 1), shape=(1, 1, 3))
    assert resample(reader(np.array([[[3, 9, 15]]])), source, target, order).ravel().tolist() == expected


def test_a_position_on_a_border_takes_the_later_voxel_and_the_far_face_is_outside():
    source = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(1, 1, 3))
    data = np.array([[[10, 20, 30]]], "u1")
    at = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 0), shape=(1, 1, 4))
    assert resample(reader(data), source, at, 0).ravel().tolist() == [10, 20, 30, 0]


def test_the_edge_value_holds_between_the_outermost_centre_and_the_bounds():
    source = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(1, 1, 2))
    data = np.array([[[10.0, 20.0]]])
    at = Grid(voxel_size=(8, 8, 2), translation=(0, 0, -6), shape=(1, 1, 11))
    expected = [-1, 10, 10, 10, 12.5, 15, 17.5, 20, 20, -1, -1]
    assert resample(reader(data), source, at, 1, fill=-1).ravel().tolist() == expected


def test_only_the_box_that_is_needed_is_read():
    source = Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(100, 100, 100))
    asked = []

    def read_box(box):
        asked.append(tuple(s.stop - s.start for s in box))
        return np.zeros(asked[-1], "u1")

    target = source.window((40, 40, 40), (5, 6, 7))
    resample(read_box, source, target, 0)
    resample(read_box, source, Grid(voxel_size=(4, 4, 4), translation=(162, 162, 162), shape=(5, 6, 7)), 1)
    assert asked == [(5, 6, 7), (6, 7, 8)]


def test_a_target_elsewhere_is_fill():
    source = Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(3, 3, 3))
    target = Grid(voxel_size=(4, 4, 4), translation=(1000, 0, 0), shape=(2, 3, 3))
    values = resample(reader(np.ones((3, 3, 3), "i2")), source, target, 1, fill=-5)
    assert values.dtype == np.int16
    assert (values == -5).all()


def test_another_order_is_refused():
    grid = Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(3, 3, 3))
    with pytest.raises(InvalidArgumentError, match="order"):
        resample(reader(np.zeros((3, 3, 3))), grid, grid, 3)
