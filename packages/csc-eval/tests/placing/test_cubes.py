"""Large sources, resampled cube by cube as the portal does."""

import numpy as np
import pytest

import csc_eval
from csc_eval.placing import align, cubes
from csc_eval.placing.cubes import ResampledCubes
from csc_eval.rules import DEFINITION, LEADERBOARD
from csc_eval.voxels.arrays import MemoryArray

rescale = pytest.importorskip("skimage.transform").rescale


def portal(values, scale, order, edge):
    """What the official scorer makes of a large source, before any threshold."""
    shape = [max(1, int(np.round(n * s))) for n, s in zip(values.shape, scale, strict=True)]
    out = np.zeros(shape, values.dtype if order == 0 else np.float32)
    for begin in np.ndindex(*(-(-n // edge) for n in values.shape)):
        begin = [edge * b for b in begin]
        cube = values[tuple(slice(b, b + edge) for b in begin)]
        cube = cube.astype(np.float32) if order == 1 and cube.dtype == bool else cube
        part = rescale(cube, scale, order=order, mode="constant", preserve_range=True)
        part = part.astype(cube.dtype) if order == 0 else part
        first = [int(b * s) for b, s in zip(begin, scale, strict=True)]
        last = [min(f + n, m) for f, n, m in zip(first, part.shape, shape, strict=True)]
        kept = tuple(slice(max(0, b - f)) for f, b in zip(first, last, strict=True))
        out[tuple(map(slice, first, last))] = part[kept]
    return out


@pytest.mark.parametrize("seed", range(40))
def test_cubes_are_the_portals(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 30, 3))
    scale = rng.choice([0.25, 0.5, 2 / 3, 0.217, 1.31, 2.0, 5.24 / 8, 1.74 / 2], 3)
    order = seed % 2
    dtype = rng.choice(["?", "u1", "i2", "u8", "f4", "f8"])
    values = rng.integers(0, 4, shape).astype(dtype)
    view = ResampledCubes(MemoryArray(values), scale, order, edge=9)
    expected = portal(values, tuple(scale), order, 9)
    np.testing.assert_array_equal(view.read((0, 0, 0), view.shape), expected)
    begin = [int(rng.integers(0, n)) for n in view.shape]
    end = [int(rng.integers(b + 1, n + 1)) for b, n in zip(begin, view.shape, strict=True)]
    np.testing.assert_array_equal(view.read(begin, end), expected[tuple(map(slice, begin, end))])


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(align, "LARGE_SOURCE", 4 * 20**3)
    monkeypatch.setattr(cubes.ResampledCubes.__init__, "__defaults__", (9,))


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", ["mito", "er"])
def test_only_the_leaderboard_has_seams_and_only_in_large_sources(name, write_array, tmp_path):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 3, (26, 25, 24)).astype(np.uint8)
    write_array(tmp_path / name, values, attributes={"voxel_size": [4.0] * 3})
    target = (name, (8, 8, 8), (13, 12, 12), (0, 0, 0))
    seams = csc_eval.match_crop_space(tmp_path / name, *target, rules=LEADERBOARD)
    whole = csc_eval.match_crop_space(tmp_path / name, *target, rules=DEFINITION)
    order = 0 if name == "mito" else 1
    expected = portal(values, (0.5, 0.5, 0.5), order, 9)
    np.testing.assert_array_equal(seams, expected if order == 0 else expected > 0.5)
    assert (seams != whole).any()
    write_array(tmp_path / "small" / name, values[:20, :20, :20], attributes={"voxel_size": [4.0] * 3})
    target = (name, (8, 8, 8), (10, 10, 10), (0, 0, 0))
    both = [csc_eval.match_crop_space(tmp_path / "small" / name, *target, rules=r) for r in (LEADERBOARD, DEFINITION)]
    alone = portal(values[:20, :20, :20], (0.5, 0.5, 0.5), order, 99)
    np.testing.assert_array_equal(both[0], alone if order == 0 else alone > 0.5)
    if order == 0:
        np.testing.assert_array_equal(*both)


@pytest.mark.usefixtures("_small")
def test_a_large_source_without_a_voxel_size_is_shrunk_by_the_ratio_of_shapes(write_array, tmp_path):
    values = np.random.default_rng(2).integers(0, 3, (26, 27, 23)).astype(np.uint8)
    write_array(tmp_path / "mito", values)
    shape = (12, 11, 21)
    found = csc_eval.match_crop_space(tmp_path / "mito", "mito", (8, 8, 8), shape, (0, 0, 0))
    scale = tuple(1.0 / (np.array(values.shape) / np.array(shape)))
    np.testing.assert_array_equal(found, portal(values, scale, 0, 9))


@pytest.mark.usefixtures("_small")
def test_a_score_says_that_seams_count(write_array, tmp_path):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 3, (26, 25, 24)).astype(np.uint8)
    write_array(tmp_path / "s.zarr/crop1/er", values, attributes={"voxel_size": [4.0] * 3})
    write_array(tmp_path / "t.zarr/crop1/er", values[::2, :24:2, ::2], attributes={"voxel_size": [8.0] * 3})
    result = csc_eval.score_submission(tmp_path / "s.zarr", tmp_path / "t.zarr", rules=[LEADERBOARD, DEFINITION])
    score = result.crops["crop1"]["er"]
    expected = portal(values, (0.5, 0.5, 0.5), 1, 9) > 0.5
    assert score.tp == np.count_nonzero(expected & (values[::2, :24:2, ::2] > 0))
    assert score.portal_differs == ""
    assert [reason for one in result.differences for reason in one.reasons] == [f"crop1: {score.place_differs}"]
    assert "seams are scored" in score.place_differs
