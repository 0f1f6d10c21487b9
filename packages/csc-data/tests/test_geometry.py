from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid, Roi, as_shape, as_triple

# Sizes as they occur: decimals with up to two places, some not representable in binary.
sizes = st.tuples(*[st.sampled_from([1.0, 1.74, 2.0, 3.24, 4.0, 5.24, 8.0, 16.0, 33.3])] * 3)
positions = st.tuples(*[st.integers(-100_000, 100_000).map(lambda n: n / 100)] * 3)
shapes = st.tuples(*[st.integers(1, 40)] * 3)
grids = st.builds(lambda v, t, s: Grid(voxel_size=v, translation=t, shape=s), sizes, positions, shapes)
extents = st.tuples(*[st.integers(1, 50_000).map(lambda n: n / 100)] * 3)


@given(grids)
def test_bounds_reach_half_a_voxel_beyond_the_centres(grid):
    for axis in range(3):
        centres = grid.centres(axis)
        half = grid.voxel_size[axis] / 2
        assert len(centres) == grid.shape[axis]
        assert grid.bounds.begin[axis] == pytest.approx(centres[0] - half)
        assert grid.bounds.end[axis] == pytest.approx(centres[-1] + half)


@given(positions, extents, sizes)
def test_a_covering_grid_covers_and_has_no_voxel_to_spare(begin, extent, voxel_size):
    roi = Roi(begin, tuple(b + e for b, e in zip(begin, extent, strict=True)))
    grid = Grid.covering(roi, voxel_size)
    assert grid.bounds.contains(roi, tolerance_nm=1e-4 * max(voxel_size) + 1e-9)
    assert grid.bounds.begin == pytest.approx(roi.begin)
    for axis in range(3):
        assert (grid.shape[axis] - 1) * voxel_size[axis] < roi.extent[axis] + 1e-9


@given(grids, positions, extents)
def test_a_covering_window_covers_and_has_no_voxel_to_spare(grid, begin, extent):
    roi = Roi(begin, tuple(b + e for b, e in zip(begin, extent, strict=True)))
    first, window = grid.window_covering(roi)
    tolerance = 1e-4 * max(grid.voxel_size) + 1e-9
    assert window.bounds.contains(roi, tolerance_nm=2 * tolerance)
    assert window.is_aligned_with(grid)
    for axis in range(3):
        assert window.translation[axis] == pytest.approx(grid.translation[axis] + first[axis] * grid.voxel_size[axis])
        inner = roi.begin[axis] - window.bounds.begin[axis]
        outer = window.bounds.end[axis] - roi.end[axis]
        assert inner < grid.voxel_size[axis] + tolerance
        assert outer < grid.voxel_size[axis] + tolerance


@given(grids, st.tuples(*[st.integers(-50, 50)] * 3), shapes)
def test_a_window_is_the_same_grid_elsewhere(grid, begin, shape):
    window = grid.window(begin, shape)
    assert window.is_aligned_with(grid)
    for axis in range(3):
        expected = begin[axis] + np.arange(shape[axis])
        np.testing.assert_array_equal(window.coordinates_in(grid, axis), expected)


@given(grids, grids, st.data())
def test_a_window_has_the_very_coordinates_of_its_part_of_the_whole(target, source, data):
    begin = [data.draw(st.integers(0, n - 1)) for n in target.shape]
    shape = [n - b for n, b in zip(target.shape, begin, strict=True)]
    for axis in range(3):
        whole = target.coordinates_in(source, axis)[begin[axis] :]
        np.testing.assert_array_equal(target.window(begin, shape).coordinates_in(source, axis), whole)


@pytest.mark.parametrize("voxel_size", [0.1, 1.74, 3.24, 5.24])
@pytest.mark.parametrize("translation", [0.03, 1234.57, -99_999.99, 400_012.0])
def test_stored_decimals_give_whole_indices_far_from_the_origin(voxel_size, translation):
    grid = Grid(voxel_size=(voxel_size,) * 3, translation=(translation,) * 3, shape=(5000, 1, 1))
    for start in (0, 1, 777, 4999):
        # As another tool would store it: a rounded decimal, not our own sum.
        stored = round(translation + start * voxel_size, 6)
        part = Grid(voxel_size=(voxel_size,) * 3, translation=(stored, translation, translation), shape=(1, 1, 1))
        assert part.coordinates_in(grid, 0).tolist() == [start]
        assert part.is_aligned_with(grid)


@given(grids, st.tuples(*[st.integers(-500, 5000)] * 3), shapes)
def test_the_bounds_of_a_window_are_covered_by_that_very_window(grid, begin, shape):
    first, window = grid.window_covering(grid.window(begin, shape).bounds)
    assert (first, window.shape) == (begin, shape)


@given(positions, sizes, shapes)
def test_the_bounds_of_a_grid_are_covered_by_as_many_voxels(translation, voxel_size, shape):
    grid = Grid(voxel_size=voxel_size, translation=translation, shape=shape)
    assert Grid.covering(grid.bounds, voxel_size).shape == shape


def test_a_third_of_a_voxel_is_not_aligned():
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(4, 4, 4))
    assert not Grid(voxel_size=(8, 8, 8), translation=(2.7, 0, 0), shape=(4, 4, 4)).is_aligned_with(grid)
    assert not Grid(voxel_size=(8, 8, 8.1), translation=(0, 0, 0), shape=(4, 4, 4)).is_aligned_with(grid)


@pytest.mark.parametrize("voxel_size", [0.1, 1.74, 3.24, 5.24, 8.0])
def test_centres_of_twice_the_size_lie_exactly_between_voxels(voxel_size):
    fine = Grid(voxel_size=(voxel_size,) * 3, translation=(0.03, 1234.57, -99.9), shape=(4000, 1, 1))
    coarse = Grid.covering(fine.bounds, (2 * voxel_size,) * 3)
    assert coarse.coordinates_in(fine, 0).tolist() == [2 * index + 0.5 for index in range(2000)]


def test_voxel_sizes_that_drift_apart_along_an_axis_are_not_aligned():
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(5000, 4, 4))
    near = {"voxel_size": (8.0002, 8, 8), "translation": (0, 0, 0)}
    assert Grid(**near, shape=(2, 4, 4)).is_aligned_with(grid)
    assert not Grid(**near, shape=(5000, 4, 4)).is_aligned_with(grid)  # by an eighth of a voxel at its end


boxes = st.builds(
    lambda b, e: Roi(b, tuple(x + y for x, y in zip(b, e, strict=True))),
    positions,
    st.tuples(*[st.integers(0, 50_000).map(lambda n: n / 100)] * 3),
)


@given(boxes, boxes)
def test_an_intersection_lies_in_both_and_is_symmetric(one, other):
    both = one.intersect(other)
    assert both == other.intersect(one)
    assert both.empty == any(
        max(a, b) >= min(c, d) for a, b, c, d in zip(one.begin, other.begin, one.end, other.end, strict=True)
    )
    if not both.empty:
        assert one.contains(both)
        assert other.contains(both)


@given(boxes, st.tuples(*[st.integers(0, 1000)] * 3))
def test_growing_and_shrinking_come_back(roi, margin):
    grown = roi.grow(margin)
    assert grown.contains(roi)
    back = grown.grow([-m for m in margin])
    assert back.begin == pytest.approx(roi.begin, abs=1e-6)
    assert back.end == pytest.approx(roi.end, abs=1e-6)


def test_an_inverted_box_is_empty_and_has_no_extent():
    roi = Roi((5, 0, 0), (1, 8, 8))
    assert roi.empty
    assert roi.extent == (0.0, 8.0, 8.0)


@pytest.mark.parametrize("values", [(1, 2), (1, 2, math.nan), (1, 2, math.inf), ("a", 1, 2), (None, 1, 2)])
def test_no_three_finite_numbers_are_refused(values):
    with pytest.raises(InvalidArgumentError, match="translation must be three finite numbers"):
        as_triple(values, "translation")


@pytest.mark.parametrize("values", [(1, 2), (1, 2, -1), (1, 2, 1.5), (1, 2, math.nan), (1, 2, "a"), (1, 2, math.inf)])
def test_no_three_whole_numbers_are_refused(values):
    with pytest.raises(InvalidArgumentError, match="shape must be three whole numbers"):
        as_shape(values)


@pytest.mark.parametrize("voxel_size", [(0, 1, 1), (1, -4, 1)])
def test_voxels_have_a_size(voxel_size):
    with pytest.raises(InvalidArgumentError, match="above 0 nm"):
        Grid(voxel_size=voxel_size, translation=(0, 0, 0), shape=(1, 1, 1))


def test_numbers_of_numpy_become_plain_ones():
    grid = Grid(voxel_size=np.array([8, 8, 8]), translation=np.zeros(3, "f4"), shape=np.array([2, 3, 4]))
    assert grid == Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(2, 3, 4))
    assert {type(n) for n in grid.shape} == {int}
    assert grid.size == 24
