"""Which levels of raw a crop gets, and which box of each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from csc_data.fetching.planning.chunk_listing import ChunkLayout
from csc_data.fetching.planning.labels import Region
from csc_data.fetching.planning.raw import RawLevel, choose_levels, level_box
from csc_data.geometry import Grid
from csc_data.volumes import downsampled_grid

voxel_sizes = st.sampled_from([(8, 8, 8), (5.24, 4, 4), (1.74, 2, 2), (3.36, 4, 4), (4, 4, 4)])
chunk = 4


def levels_of(voxel_size, n=5, shape=(160, 160, 160), translation=(100.0, -40.0, 7.0)):
    grids = [Grid(voxel_size=voxel_size, translation=translation, shape=shape)]
    while len(grids) < n:
        grids.append(downsampled_grid(grids[-1], (2, 2, 2)))
    return tuple(
        RawLevel(
            grid=grid,
            array=ChunkLayout(name=f"s{number}", shape=grid.shape, chunks=(chunk,) * 3, separator="/"),
        )
        for number, grid in enumerate(grids)
    )


def names(levels):
    return [level.array.name for level in levels]


def region(grid):
    return Region(bounds=grid.bounds, voxel_size=grid.voxel_size)


def test_levels_that_match_are_those_of_the_annotation_and_coarser():
    levels = levels_of((4, 4, 4))
    crop = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(10, 10, 10))
    assert names(choose_levels(levels, region(crop), all_resolutions=False)) == ["s1", "s2", "s3", "s4"]
    assert names(choose_levels(levels, region(crop), all_resolutions=True)) == ["s0", "s1", "s2", "s3", "s4"]
    fine = Grid(voxel_size=(2, 2, 2), translation=(0, 0, 0), shape=(10, 10, 10))
    assert names(choose_levels(levels, region(fine), all_resolutions=False)) == ["s0", "s1", "s2", "s3", "s4"]


def test_where_voxels_are_anisotropic_the_level_that_reading_takes_comes_too():
    levels = levels_of((5.24, 4, 4))
    crop = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(10, 10, 10))
    # 10.48 x 8 x 8 nm is too coarse along z, so 8 nm are read from 5.24 x 4 x 4.
    assert names(choose_levels(levels, region(crop), all_resolutions=False)) == ["s0", "s1", "s2", "s3", "s4"]
    coarse = Grid(voxel_size=(16, 16, 16), translation=(0, 0, 0), shape=(10, 10, 10))
    assert names(choose_levels(levels, region(coarse), all_resolutions=False)) == ["s1", "s2", "s3", "s4"]


def test_a_level_matches_from_four_fifths_of_the_annotations_voxels_on():
    crop = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(10, 10, 10))
    for size, expected in ((3.24, ["s0", "s1", "s2"]), (3.16, ["s0", "s2"])):  # s1 is 10.48 x 6.48 or 6.32 nm
        levels = levels_of((5.24, size, size), n=3)
        assert names(choose_levels(levels, region(crop), all_resolutions=False)) == expected


@given(
    raw=voxel_sizes,
    label=voxel_sizes,
    begin=st.tuples(*[st.integers(0, 120)] * 3),
    shape=st.tuples(*[st.integers(1, 60)] * 3),
    offset=st.tuples(*[st.floats(-8, 8)] * 3),
    padding=st.integers(0, 12),
)
def test_the_box_covers_the_crop_and_its_padding_at_every_level_and_no_chunk_more(
    raw, label, begin, shape, offset, padding
):
    levels = levels_of(raw)
    low = levels[0].grid.bounds.begin
    corner = [b + n * v + o for b, n, v, o in zip(low, begin, raw, offset, strict=True)]
    crop = Grid(
        voxel_size=label,
        translation=tuple(c + v / 2 for c, v in zip(corner, label, strict=True)),
        shape=shape,
    )
    for level in levels:
        box = level_box(level, region(crop), padding)
        for axis in range(3):
            size, start = level.grid.voxel_size[axis], level.grid.bounds.begin[axis]
            first = (crop.bounds.begin[axis] - start) / size
            last = (crop.bounds.end[axis] - start) / size
            # Where a border of the crop falls on one between voxels, rounding may take one more or not.
            must, may = (
                {
                    voxel // chunk
                    for voxel in range(level.grid.shape[axis])
                    if first - 1 - padding + slack < voxel < last + padding - slack
                }
                for slack in (1e-3, -1e-3)
            )
            assert must <= set(box[axis]) <= may


def test_a_crop_on_the_grid_gets_its_own_voxels_half_open():
    level = levels_of((8, 8, 8))[0]
    crop = level.grid.window((8, 16, 24), (8, 4, 4))
    assert level_box(level, region(crop), 0) == (range(2, 4), range(4, 5), range(6, 7))
    assert level_box(level, region(crop), 1) == (range(1, 5), range(3, 6), range(5, 8))
