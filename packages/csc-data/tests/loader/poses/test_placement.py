"""Where patches begin, and that arrays of a patch have one centre."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.geometry import Grid
from csc_data.loader.poses.placement import begin_range, centred_grid, draw_begin

counts = st.tuples(*[st.integers(1, 9)] * 3)


@given(counts, counts, st.data())
def test_a_patch_holds_its_anchor_and_stays_where_it_fits(crop, patch, data):
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=crop)
    anchor = tuple(data.draw(st.integers(0, n - 1)) for n in crop)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    for begin, count, size, voxel in zip(draw_begin(rng, grid, patch, anchor), crop, patch, anchor, strict=True):
        assert begin <= voxel < begin + size
        if size <= count:
            assert 0 <= begin <= count - size
        else:
            assert begin <= 0 <= count <= begin + size


def test_every_place_that_holds_the_anchor_is_drawn_and_every_place_without_one():
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(10, 6, 3))
    rng = np.random.default_rng(0)
    drawn = [draw_begin(rng, grid, (4, 4, 4), (5, 0, 2)) for _ in range(300)]
    assert [sorted({begin[axis] for begin in drawn}) for axis in range(3)] == [[2, 3, 4, 5], [0], [-1, 0]]
    drawn = [draw_begin(rng, grid, (4, 4, 4)) for _ in range(300)]
    assert [sorted({begin[axis] for begin in drawn}) for axis in range(3)] == [list(range(7)), [0, 1, 2], [-1, 0]]
    assert begin_range(4, 4) == (0, 0)


@given(counts, counts, st.sampled_from([(8.0, 8.0, 8.0), (5.24, 4.0, 3.24)]))
def test_boxes_around_one_centre(shape, around, voxel_size):
    target = Grid(voxel_size=(16, 8, 8), translation=(100, -50, 3), shape=around)
    bounds = centred_grid(target, shape, voxel_size).bounds
    for axis in range(3):
        centre = (target.bounds.begin[axis] + target.bounds.end[axis]) / 2
        assert (bounds.begin[axis] + bounds.end[axis]) / 2 == pytest.approx(centre)
        assert bounds.extent[axis] == pytest.approx(shape[axis] * voxel_size[axis])
