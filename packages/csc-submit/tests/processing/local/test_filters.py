from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from csc_submit import ProcessSettings
from csc_submit.processing.local.filters import distance_nm, open_mask, smooth
from csc_submit.processing.passes import passes_of, steps_for

VOXEL_SIZE = (8.0, 4.0, 4.0)


def needed_halo(**settings):
    """Return the halo of the first pass, in which smoothing and opening are."""
    steps = steps_for(ProcessSettings(**settings), "mito", VOXEL_SIZE, None, ["mito"])
    return passes_of(steps)[0].halo(VOXEL_SIZE)


@given(
    seed=st.integers(0, 10**6),
    sigma=st.floats(0, 12),
    radius=st.floats(0, 14),
    cut=st.integers(1, 23),
)
@hypothesis_settings(max_examples=40, deadline=None)
def test_beyond_the_halo_nothing_changes_a_result(seed, sigma, radius, cut):
    values = np.random.default_rng(seed).random((24, 20, 20)).astype("f4")
    halo = needed_halo(smoothing_nm=sigma, opening_nm=radius)

    def steps(part):
        return open_mask(smooth(part, sigma, VOXEL_SIZE) > 0.4, radius, VOXEL_SIZE)

    # The block is what lies before the cut; it is read as far as its halo.
    np.testing.assert_array_equal(steps(values)[:cut], steps(values[: cut + halo[0]])[:cut])
    np.testing.assert_array_equal(steps(values)[:, :cut], steps(values[:, : cut + halo[1]])[:, :cut])


@pytest.mark.parametrize("radius", [5.0, 10.0, 14.0])
def test_objects_at_the_end_of_a_block_are_opened_as_in_the_whole(radius):
    """Objects of every length around the border, whose end the halo has to show."""
    end = 20
    halo = needed_halo(opening_nm=radius)
    for length in range(1, 14):
        for begin in range(end - length, end):
            whole = np.zeros((1, 40, 1), dtype=bool)
            whole[:, begin : begin + length] = True
            block = whole[:, : end + halo[1]]
            opened = open_mask(whole, radius, VOXEL_SIZE), open_mask(block, radius, VOXEL_SIZE)
            np.testing.assert_array_equal(opened[1][:, :end], opened[0][:, :end], err_msg=f"{begin}, {length}")


def test_no_step_needs_no_halo():
    assert needed_halo() == (0, 0, 0)


def test_opening_removes_what_is_thinner_than_the_ball_in_nm_not_in_voxels():
    mask = np.zeros((20, 40, 40), dtype=bool)
    mask[:, 5:12, 5:12] = True  # 28 nm thick in y and x, through the whole volume in z
    assert open_mask(mask, 10.0, VOXEL_SIZE)[10, 8, 8]
    assert not open_mask(mask, 18.0, VOXEL_SIZE).any()


@pytest.mark.parametrize("radius", [0.0, 5.0, 9.0, 100.0])
def test_opening_adds_nothing_and_twice_is_once(make_blobs, radius):
    mask = make_blobs((16, 24, 24)) > 0.5
    once = open_mask(mask, radius, VOXEL_SIZE)
    assert not (once & ~mask).any()
    np.testing.assert_array_equal(open_mask(once, radius, VOXEL_SIZE), once)


def test_distances_are_in_nm_and_infinite_without_background():
    mask = np.ones((5, 1, 1), dtype=bool)
    assert np.isinf(distance_nm(mask, VOXEL_SIZE)).all()
    mask[0] = False
    assert distance_nm(mask, VOXEL_SIZE).ravel().tolist() == [0.0, 8.0, 16.0, 24.0, 32.0]
