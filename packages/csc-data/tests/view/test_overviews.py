"""A large volume with one level gets a coarser one, made of what is stored as it is looked at."""

import numpy as np
import pytest

from csc_data.geometry import Grid
from csc_data.view import array_layer, difference_layer, open_layer
from csc_data.view.differences import AGREED, FALSE, MISSED
from csc_data.view.overview import FACTOR, levels_to_show
from csc_data.volumes import create_multiscale, open_volume, write_multiscale

LONG = 300
GRID = Grid(voxel_size=(8, 4, 2), translation=(100, 30, 5), shape=(LONG, 7, 1))
VALUES = np.arange(LONG * 7, dtype="u2").reshape(GRID.shape)


def stored(tmp_path, name, kind, values=VALUES, grid=GRID):
    write_multiscale(tmp_path / name, [values], [grid], chunks=(64, 4, 1))
    return open_layer(tmp_path / name, name, kind)


def blocks(values):
    """Give index and voxels of each block that a coarse voxel stands for."""
    sizes = [min(FACTOR, n) for n in values.shape]
    for index in np.ndindex(*[-(-n // f) for n, f in zip(values.shape, sizes, strict=True)]):
        yield index, values[tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, sizes, strict=True))]


@pytest.mark.parametrize("kind", ["raw", "probability"])
def test_numbers_are_averaged(tmp_path, kind):
    fine, coarse = levels_to_show(stored(tmp_path, "a", kind))
    assert coarse.grid.voxel_size == (32, 16, 2)
    assert coarse.grid.translation == (112, 36, 5)
    read = np.asarray(coarse.array[...])
    assert (fine.grid, read.shape) == (GRID, (75, 2, 1))
    for index, block in blocks(VALUES[:, :4]):  # beyond, a block is cut short
        assert abs(float(read[index]) - block.mean()) <= 0.5, index


@pytest.mark.parametrize("kind", ["mask", "instances"])
def test_of_labels_the_largest_stands_for_all(tmp_path, kind):
    labels = np.random.default_rng(0).integers(0, 9, GRID.shape).astype("u8") << 40
    _, coarse = levels_to_show(stored(tmp_path, "a", kind, labels))
    for index, block in blocks(labels):
        assert coarse.array[index] == block.max(), index


def test_a_browser_reads_both_levels(tmp_path, view):
    source = view._source(stored(tmp_path, "a", "instances")).partition("://")[2]
    read = open_volume(source.replace("{origin}", view.server.origin))
    assert [level.grid.shape for level in read.levels] == [GRID.shape, (75, 2, 1)]
    np.testing.assert_array_equal(read.levels[1].array[-1, -1, -1], VALUES.max())


def test_small_volumes_and_those_with_levels_of_their_own_stay_as_they_are(tmp_path):
    small = array_layer(VALUES[:200], "a", "mask", voxel_size=(8, 8, 8))
    assert len(levels_to_show(small)) == 1
    coarse = Grid(voxel_size=(16, 4, 2), translation=(104, 30, 5), shape=(150, 7, 1))
    write_multiscale(tmp_path / "b", [VALUES, VALUES[::2]], [GRID, coarse])
    assert [level.name for level in levels_to_show(open_layer(tmp_path / "b", "b", "mask"))] == ["s0", "s1"]


def test_what_is_computed_as_it_is_read_is_not_read_as_a_whole():
    class Lazy:
        shape, dtype = GRID.shape, np.dtype("u1")

        def __getitem__(self, box):
            raise AssertionError("read")

    assert len(levels_to_show(array_layer(Lazy(), "a", "probability", voxel_size=(8, 8, 8)))) == 1


def test_arrays_in_memory_are_told_apart():
    for value in (1, 2):
        layer = array_layer(np.full(GRID.shape, value, "u1"), "a", "mask", voxel_size=(8, 8, 8))
        assert levels_to_show(layer)[1].array[0, 0, 0] == value


def test_a_run_that_goes_on_writing_is_seen(tmp_path):
    array = create_multiscale(tmp_path / "a", GRID, dtype="u1", chunks=(64, 4, 1))
    _, coarse = levels_to_show(open_layer(tmp_path / "a", "a", "probability"))
    assert not coarse.array[...].any()
    array[:64, :4] = 200
    assert np.asarray(coarse.array[:, 0, 0]).tolist() == [200] * 16 + [0] * 59


def test_a_difference_has_the_levels_of_what_it_compares(tmp_path):
    ours, theirs = np.zeros(GRID.shape, "u1"), np.zeros(GRID.shape, "u1")
    ours[:100], theirs[40:200] = 1, 1
    found = difference_layer(stored(tmp_path, "a", "mask", ours), stored(tmp_path, "b", "mask", theirs), "d")
    _, coarse = found.volume.levels
    expected = [MISSED] * 10 + [AGREED] * 15 + [FALSE] * 25 + [0] * 25
    assert np.asarray(coarse.array[:, :1, :1]).ravel().tolist() == expected
