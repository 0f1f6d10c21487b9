from __future__ import annotations

import itertools
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.errors import ExistingOutputError, InvalidArgumentError, MissingDataError, UnreadableDataError
from csc_data.formats.writing import create_array, ensure_groups
from csc_data.geometry import Grid
from csc_data.volumes import (
    Level,
    Volume,
    create_multiscale,
    downsampled_grid,
    grid_attributes,
    multiscale_attributes,
    open_volume,
    write_multiscale,
)

GRID = Grid(voxel_size=(4.0, 3.24, 3.24), translation=(100.5, -20.0, 7.62), shape=(8, 10, 12))


@pytest.fixture
def volume(tmp_path):
    """Three levels, each of which holds its own number."""
    grids = [GRID, downsampled_grid(GRID, (2, 2, 2)), downsampled_grid(GRID, (4, 4, 4))]
    levels = [np.full(grid.shape, 10 * (n + 1), "u1") for n, grid in enumerate(grids)]
    write_multiscale(tmp_path / "x.zarr" / "raw", levels, grids, attributes={"more": 1})
    return tmp_path / "x.zarr" / "raw"


def test_what_is_written_is_read_with_its_grids(volume):
    opened = open_volume(volume)
    assert [level.name for level in opened.levels] == ["s0", "s1", "s2"]
    assert opened.levels[0].grid == GRID
    assert opened.levels[1].grid.voxel_size == (8.0, 6.48, 6.48)
    assert opened.levels[1].grid.translation == pytest.approx((102.5, -18.38, 9.24))
    assert opened.attributes["more"] == 1
    assert opened.levels[0].dtype == np.uint8


def test_attributes_follow_ome_ngff_0_4(volume):
    (entry,) = json.loads((volume / ".zattrs").read_text())["multiscales"]
    assert entry["version"] == "0.4"
    assert [(axis["name"], axis["type"], axis["unit"]) for axis in entry["axes"]] == [
        (name, "space", "nanometer") for name in "zyx"
    ]
    steps = entry["datasets"][0]["coordinateTransformations"]
    assert steps == [
        {"type": "scale", "scale": [4.0, 3.24, 3.24]},
        {"type": "translation", "translation": [100.5, -20.0, 7.62]},
    ]


@given(
    grid=st.builds(
        lambda v, t, s: Grid(voxel_size=v, translation=t, shape=s),
        st.tuples(*[st.floats(0.5, 50)] * 3),
        st.tuples(*[st.floats(-1e6, 1e6)] * 3),
        st.tuples(*[st.integers(4, 40)] * 3),
    ),
    factors=st.tuples(*[st.integers(1, 4)] * 3),
)
def test_a_downsampled_grid_has_the_same_first_corner_and_fits_in(grid, factors):
    coarse = downsampled_grid(grid, factors)
    assert coarse.bounds.begin == pytest.approx(grid.bounds.begin, abs=1e-6)
    for axis in range(3):
        left = grid.bounds.end[axis] - coarse.bounds.end[axis]
        assert -1e-6 <= left < coarse.voxel_size[axis]


@given(wanted=st.tuples(*[st.floats(1, 40)] * 3))
def test_a_level_coarser_than_asked_is_never_chosen_when_a_finer_one_exists(wanted):
    grids = [
        Grid(voxel_size=v, translation=(0, 0, 0), shape=(4, 4, 4))
        for v in [(4, 4, 4), (8, 4, 4), (8, 8, 8), (16, 16, 16)]
    ]

    levels = tuple(Level(name=str(n), grid=grid, array=None) for n, grid in enumerate(grids))
    chosen = Volume(path="", levels=levels, attributes={}).level_for(wanted)
    fine = [level for level in levels if all(v <= w for v, w in zip(level.grid.voxel_size, wanted, strict=True))]
    if fine:
        assert all(v <= w * 1.001 for v, w in zip(chosen.grid.voxel_size, wanted, strict=True))
        assert np.prod(chosen.grid.voxel_size) >= max(np.prod(level.grid.voxel_size) for level in fine)
    else:
        assert chosen is levels[0] or all(v <= w * 1.001 for v, w in zip(chosen.grid.voxel_size, wanted, strict=True))


@pytest.mark.parametrize(
    ("voxel_size", "value"),
    [
        ((4, 3.24, 3.24), 10),
        ((7.9, 6.4, 6.4), 10),
        ((8, 6.48, 6.48), 20),
        ((8, 6.475, 6.475), 20),
        ((9, 9, 9), 20),
        ((16, 13, 13), 30),
        ((1, 1, 1), 10),
    ],
)
def test_reading_takes_the_level_that_fits(volume, voxel_size, value):
    target = Grid(voxel_size=voxel_size, translation=(115, 0, 25), shape=(1, 1, 1))
    assert open_volume(volume).read(target, 0).item() == value


def test_reading_beyond_the_volume_fills(volume):
    begin, window = GRID.window_covering(GRID.bounds.grow((8, 0, 0)))
    values = open_volume(volume).read(window, 1, fill=99)
    assert begin == (-2, 0, 0)
    assert values[:, 0, 0].tolist() == [99, 99, *[10] * 8, 99, 99]


@pytest.mark.parametrize(
    ("unit", "factor"), [("micrometer", 1e-3), ("angstrom", 10), ("millimeter", 1e-6), ("meter", 1e-9)]
)
def test_units_become_nm(volume, unit, factor):
    attributes = json.loads((volume / ".zattrs").read_text())
    for axis in attributes["multiscales"][0]["axes"]:
        axis["unit"] = unit
    for dataset in attributes["multiscales"][0]["datasets"]:
        for step in dataset["coordinateTransformations"]:
            step[step["type"]] = [value * factor for value in step[step["type"]]]
    (volume / ".zattrs").write_text(json.dumps(attributes))
    grid = open_volume(volume).levels[0].grid
    assert grid.voxel_size == pytest.approx(GRID.voxel_size)
    assert grid.translation == pytest.approx(GRID.translation)
    assert grid.is_aligned_with(GRID)


def test_transformations_of_the_whole_come_after_those_of_a_level(volume):
    attributes = json.loads((volume / ".zattrs").read_text())
    attributes["multiscales"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [2, 2, 2]},
        {"type": "translation", "translation": [1, 2, 3]},
    ]
    (volume / ".zattrs").write_text(json.dumps(attributes))
    grid = open_volume(volume).levels[0].grid
    assert grid.voxel_size == (8.0, 6.48, 6.48)
    assert grid.translation == pytest.approx((202.0, -38.0, 18.24))


def test_levels_are_ordered_by_size_whatever_the_file_says(volume):
    attributes = json.loads((volume / ".zattrs").read_text())
    attributes["multiscales"][0]["datasets"].reverse()
    (volume / ".zattrs").write_text(json.dumps(attributes))
    assert [level.name for level in open_volume(volume).levels] == ["s0", "s1", "s2"]


def change_nothing(entry):
    entry.clear()


def change_axes(entry):
    entry["axes"].reverse()


def change_unit(entry):
    entry["axes"][0]["unit"] = "parsec"


def change_count(entry):
    entry["datasets"][0]["coordinateTransformations"][0]["scale"] = [1, 1, 4, 4, 4]


def change_type(entry):
    entry["datasets"][0]["coordinateTransformations"][0] = {"type": "affine", "affine": [[1]]}


def change_text(entry):
    entry["datasets"][0]["coordinateTransformations"][0]["scale"] = ["a", "b", "c"]


def change_zero(entry):
    entry["datasets"][0]["coordinateTransformations"][0]["scale"] = [0, 1, 1]


def change_path(entry):
    entry["datasets"][0]["path"] = "s9"


def change_datasets(entry):
    entry["datasets"] = 3


@pytest.mark.parametrize(
    "change",
    [
        change_nothing,
        change_axes,
        change_unit,
        change_count,
        change_type,
        change_text,
        change_zero,
        change_path,
        change_datasets,
    ],
)
def test_bad_multiscales_are_errors_with_the_path(volume, change):
    attributes = json.loads((volume / ".zattrs").read_text())
    change(attributes["multiscales"][0])
    (volume / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(UnreadableDataError, match="raw"):
        open_volume(volume)


@pytest.mark.parametrize("names", [("voxel_size", "translation"), ("resolution", "offset"), ("scale", "translation")])
def test_plain_arrays_carry_their_place_under_several_names(tmp_path, names):
    attributes = {names[0]: [8, 4, 4], names[1]: [1, 2, 3]}
    create_array(tmp_path / "a", shape=(2, 3, 4), dtype="u1", chunks=(2, 2, 2), attributes=attributes)
    (level,) = open_volume(tmp_path / "a").levels
    assert level.grid == Grid(voxel_size=(8, 4, 4), translation=(1, 2, 3), shape=(2, 3, 4))


def test_a_plain_group_of_arrays_is_a_volume_of_levels(tmp_path):
    for name, size in (("fine", 4), ("coarse", 8)):
        create_array(
            tmp_path / "g" / name, shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2), attributes={"voxel_size": [size] * 3}
        )
    ensure_groups(tmp_path / "g")
    assert [level.name for level in open_volume(tmp_path / "g").levels] == ["fine", "coarse"]


@pytest.mark.parametrize(
    "attributes", [{}, {"voxel_size": [1, 2]}, {"voxel_size": "8nm"}, {"voxel_size": 8}, {"voxel_size": [8, 8, -8]}]
)
def test_no_voxel_size_no_volume(tmp_path, attributes):
    create_array(tmp_path / "a", shape=(2, 2, 2), dtype="u1", chunks=(2, 2, 2), attributes=attributes)
    with pytest.raises(UnreadableDataError, match="a"):
        open_volume(tmp_path / "a")


def test_flat_arrays_and_empty_groups_are_refused(tmp_path):
    create_array(tmp_path / "a", shape=(2, 2), dtype="u1", chunks=(2, 2), attributes={"voxel_size": [8, 8, 8]})
    with pytest.raises(UnreadableDataError, match="no grid"):
        open_volume(tmp_path / "a")
    ensure_groups(tmp_path / "g.zarr")
    with pytest.raises(UnreadableDataError, match="without arrays"):
        open_volume(tmp_path / "g.zarr")
    with pytest.raises(MissingDataError):
        open_volume(tmp_path / "nothing")


def test_a_damaged_chunk_is_named(volume):
    chunk = volume / "s0" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(UnreadableDataError, match=r"s0/0/0/0 is damaged"):
        open_volume(volume).read(GRID, 0)


def test_writing_checks_shapes_and_what_is_there(volume, tmp_path):
    with pytest.raises(ExistingOutputError):
        write_multiscale(volume, [np.zeros(GRID.shape, "u1")], [GRID])
    with pytest.raises(InvalidArgumentError, match="on a grid of"):
        write_multiscale(tmp_path / "b", [np.zeros((2, 2, 2), "u1")], [GRID])
    with pytest.raises(ExistingOutputError):
        create_multiscale(volume, GRID, dtype="u1", chunks=(4, 4, 4))
    assert open_volume(volume).read(GRID, 0).all()


@pytest.mark.parametrize("form", [lambda data, grid: (data, grid), lambda data, grid: ([data], [grid, grid])])
def test_writing_wants_a_grid_for_each_array_of_a_list(tmp_path, form):
    """An array and its grid by themselves are what one tries first."""
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(4, 4, 4))
    with pytest.raises(InvalidArgumentError, match="give a list of arrays, finest first, and a list with the grid"):
        write_multiscale(tmp_path / "raw", *form(np.zeros((4, 4, 4), np.uint8), grid))
    assert not (tmp_path / "raw").exists()


def test_an_empty_volume_can_be_created_and_filled(tmp_path):
    array = create_multiscale(tmp_path / "x.zarr" / "er", GRID, dtype="f4", chunks=(4, 4, 4), attributes={"kind": "a"})
    array[2:4] = 0.5
    opened = open_volume(tmp_path / "x.zarr" / "er")
    assert opened.levels[0].grid == GRID
    assert opened.attributes["kind"] == "a"
    assert float(opened.read(GRID, 0).sum()) == 0.5 * 2 * 10 * 12


def test_an_array_of_a_volume_is_a_volume_by_itself(volume):
    assert open_volume(volume / "s1").levels[0].grid.voxel_size == (8.0, 6.48, 6.48)
    assert grid_attributes(GRID)["shape"] == [8, 10, 12]
    assert multiscale_attributes("a", [("s0", GRID)])["multiscales"][0]["name"] == "a"


def test_memory_is_bounded_by_the_cache_however_large_the_volume(tmp_path, fresh_cache):
    """2000^3 voxels, of which 125 chunks are stored, read in blocks that overlap."""
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(2000, 2000, 2000))
    array = create_multiscale(tmp_path / "x.zarr", grid, dtype="u1", chunks=(64, 64, 64))
    array[:320, :320, :320] = 7
    limit = 40 * 64**3
    fresh_cache.resize(limit)
    volume = open_volume(tmp_path / "x.zarr")
    tracemalloc.start()
    try:
        for begin in itertools.product((0, 100, 200, 1900), repeat=3):
            window = grid.window(begin, (120, 120, 120))
            stored = np.prod([max(0, min(320, b + 120) - b) for b in begin])
            assert int(volume.read(window, 1).sum(dtype=np.int64)) == 7 * stored
            assert fresh_cache.held_bytes <= limit
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit + 8 * 120**3  # the cache, the block, and what it is made of


def test_a_level_that_is_not_there_is_named(volume):
    attributes = json.loads((volume / ".zattrs").read_text())
    attributes["multiscales"][0]["datasets"][1]["path"] = "s9"
    (volume / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(UnreadableDataError, match="'s9', where there is no array"):
        open_volume(volume)


def test_a_level_with_other_axes_is_named(volume):
    create_array(volume / "s1", shape=(4, 5), dtype="u1", chunks=(4, 4), overwrite=True)
    with pytest.raises(UnreadableDataError, match="s1: shape must be three whole numbers"):
        open_volume(volume)


def test_the_metadata_of_0_5_are_read_from_format_2_too(volume):
    attributes = json.loads((volume / ".zattrs").read_text())
    (volume / ".zattrs").write_text(json.dumps({"ome": {"version": "0.5", **attributes}}))
    assert [level.name for level in open_volume(volume).levels] == ["s0", "s1", "s2"]


def test_reading_needs_no_zarr_and_importing_asks_for_no_network(run_python):
    code = (
        "import sys, csc_data.volumes; print(sorted({'zarr', 'fsspec', 's3fs', 'aiohttp', 'scipy'} & set(sys.modules)))"
    )
    assert run_python(code).stdout.strip() == "[]"
