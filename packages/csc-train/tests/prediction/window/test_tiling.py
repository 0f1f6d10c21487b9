"""Where windows lie: where MONAI's `sliding_window_inference` has them, whatever the size."""

import itertools

import pytest
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo, PatchShape
from csc_train.prediction.window.tiling import axis_starts, plan_windows


def shape(voxels, target=None, scale=8, target_scale=None):
    given = ArrayInfo(shape=voxels, scale=(scale,) * 3)
    return PatchShape(input=given, target=ArrayInfo(shape=target or voxels, scale=(target_scale or scale,) * 3))


@pytest.mark.parametrize("overlap", [0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("size", [1, 2, 7, 16, 33])
def test_starts_are_those_of_monai(overlap, size):
    windows = plan_windows(shape((1, size, size) if size == 1 else (size,) * 3), overlap=overlap, halo=(0, 0, 0))
    for length in [*range(size, 3 * size + 5), 1000]:
        step = _get_scan_interval((length,), (size,), 1, (overlap,))
        theirs = sorted({s.start for (s,) in dense_patch_slices((length,), (size,), step)})
        assert list(windows.place((length,) * 3)[0].starts[2]) == theirs, length


def test_a_region_smaller_than_a_window_lies_in_its_middle():
    # MONAI pads half of what is lacking, rounded down, before it.
    for length in range(1, 12):
        assert axis_starts(length, 12, 9) == (-((12 - length) // 2),)


@pytest.mark.parametrize("grain", [1, 2, 3])
@pytest.mark.parametrize("clamp", [True, False])
def test_windows_cover_and_begin_at_whole_input_voxels(grain, clamp):
    for length, size, step in itertools.product(range(1, 40, 3), range(grain, 19, grain), range(grain, 19, grain)):
        if step > size:
            continue
        starts = axis_starts(length, size, step, grain=grain, clamp=clamp)
        covered = {voxel for start in starts for voxel in range(start, start + size)}
        assert covered >= set(range(length))
        assert all(start % grain == 0 for start in starts)
        assert list(starts) == sorted(set(starts))


def test_a_block_takes_all_windows_that_touch_it_and_no_others():
    (placement,) = plan_windows(shape((8, 9, 10)), overlap=0.5).place((40, 41, 42))
    begin, end = (8, 12, 0), (16, 13, 42)
    expected = [
        position
        for position in itertools.product(*placement.starts)
        if all(p < e and p + n > b for p, n, b, e in zip(position, (8, 9, 10), begin, end, strict=True))
    ]
    assert list(placement.positions(begin, end)) == expected
    alone = {
        position
        for position in itertools.product(*placement.starts)
        if not any(
            other != position and all(abs(p - q) < n for p, q, n in zip(position, other, (8, 9, 10), strict=True))
            for other in itertools.product(*placement.starts)
        )
    }
    assert alone == {p for p in itertools.product(*placement.starts) if placement.alone(p)}


def test_windows_side_by_side_are_alone():
    (placement,) = plan_windows(shape((8, 8, 8)), overlap=0, halo=(0, 0, 0)).place((16, 8, 20))
    assert placement.starts == ((0, 8), (0,), (0, 8, 12))
    assert placement.alone((0, 0, 0))
    assert placement.alone((8, 0, 0))
    assert not placement.alone((0, 0, 8))


def test_a_crop_of_one_patch_is_one_pass():
    (placement,) = plan_windows(shape((16, 16, 16))).place((16, 16, 16))
    assert list(placement.positions((0, 0, 0), (16, 16, 16))) == [(0, 0, 0)]


SURROUNDED = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(400, 400, 2000))


def test_windows_reach_beyond_a_region_as_far_as_there_is_raw():
    windows = plan_windows(shape((16, 16, 16)))
    region = SURROUNDED.window((1, 100, 1960), (40, 30, 40))
    (placement,) = windows.within(SURROUNDED.bounds, region).place(region.shape)
    assert placement.starts == ((-1, 11, 23, 28), (-4, 8, 18), (-4, 8, 20, 24))
    (alone,) = windows.place(region.shape)
    assert alone.starts == ((0, 12, 24), (0, 12, 14), (0, 12, 24))
    one = SURROUNDED.window((9, 9, 9), (16, 15, 10))
    ((around,), (within,)) = windows.within(SURROUNDED.bounds, one).place(one.shape), windows.place(one.shape)
    assert around == within


@pytest.mark.parametrize("overlap", [0.05, 0.1, 0.25, 0.5, 0.75, 0.9])
def test_blocks_of_a_region_take_no_more_windows_for_those_that_reach_beyond_it(overlap):
    size = 40
    windows = plan_windows(shape((size,) * 3), overlap=overlap)
    step = windows.step[0]
    region = SURROUNDED.window((50, 50, 50), (99, 99, 24 * step + 77))
    (placement,) = windows.within(SURROUNDED.bounds, region).place(region.shape)
    (alone,) = windows.place(region.shape)
    assert (placement.starts[2][0] + size) % step == 0  # one of a row of windows ends at the face
    blocks = [((0, 0, begin), (1, 1, begin + 3 * step)) for begin in range(0, 21 * step, 3 * step)]
    most = max(len(alone.touching(*block)[2]) for block in blocks)
    assert max(len(placement.touching(*block)[2]) for block in blocks) == most


def test_windows_do_not_reach_beyond_where_a_halo_is_given_or_nothing_overlaps():
    assert plan_windows(shape((16, 16, 16))).reach == (4, 4, 4)
    assert plan_windows(shape((16, 16, 16)), overlap=0.5).reach == (8, 8, 8)
    assert plan_windows(shape((1, 16, 16))).reach == (0, 4, 4)
    for options in ({"halo": (0, 0, 0)}, {"halo": (1, 1, 1)}, {"overlap": 0.0}):
        assert plan_windows(shape((16, 16, 16)), **options).reach == (0, 0, 0)
    assert plan_windows(shape((20, 20, 20), target=(12, 12, 12)), overlap=0.25).reach == (0, 0, 0)


def test_valid_networks_read_whole_voxels_around_their_windows():
    """8 nm to 4 nm: windows keep their step to the end, as what pooling sees depends on where it begins."""
    windows = plan_windows(shape((20, 20, 20), target=(12, 12, 12), target_scale=4))
    assert windows.overlap == 0
    assert windows.halo == (0, 0, 0)
    # 7 of 12 voxels would begin within a voxel of the input.
    assert plan_windows(windows.patch, overlap=0.4).step == (6, 6, 6)
    (placement,) = windows.place((30, 24, 7))
    assert placement.starts == ((0, 12, 24), (0, 12), (-2,))
    region = Grid(voxel_size=(4, 4, 4), translation=(2, 2, 2), shape=(30, 24, 7))
    grid = windows.inputs(region, placement.orientation, (12, 0, -2))["input"]
    assert grid.shape == (20, 20, 20)
    assert all((edge / 8).is_integer() for edge in grid.bounds.begin)
