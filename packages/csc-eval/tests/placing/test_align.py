"""Where a prediction lands in its crop."""

import json

import numpy as np
import pytest

import csc_eval
from csc_data.errors import InvalidArgumentError, UnreadableDataError
from csc_eval.placing.align import align_probabilities, align_values, floor_offset, nearest_offset
from csc_eval.placing.predictions import CropGrid, Prediction
from csc_eval.rules import DEFINITION
from csc_eval.voxels.arrays import MemoryArray

RULES = ["leaderboard-2026-06", "definition-2026-06"]


def grid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=(6, 7, 8)):
    return CropGrid(voxel_size=voxel_size, translation=translation, shape=shape)


def test_floor_offset_is_the_leaderboards_formula_with_its_floats():
    v, t = np.array([1.74, 2.0, 2.0]), np.array([round(1.74 * 103, 2), 7600.0, 36000.0])
    crop = grid(tuple(v), tuple(t))
    for source in (t, t + v, t - v, t + 0.3, t - 0.3, t + 100):
        snapped = (source // v) * v
        expected = (np.abs(snapped - t) // v) * np.sign(snapped - t)
        assert floor_offset(tuple(source), crop) == tuple(expected.astype(int))


def test_floor_offset_moves_a_prediction_whose_grid_is_no_multiple():
    crop = grid(translation=(803.0, 1701.0, 10403.0))
    assert floor_offset((811.0, 1709.0, 10411.0), crop) == (0, 0, 0)
    assert nearest_offset((811.0, 1709.0, 10411.0), crop) == (1, 1, 1)


@pytest.mark.parametrize("k", range(95, 140))
def test_equal_translations_are_offset_zero_in_the_definition(k):
    translation = (round(1.74 * k, 2), 1.74 * k, k * 0.1)
    assert nearest_offset(translation, grid((1.74, 1.74, 0.1), translation)) == (0, 0, 0)


def test_the_definition_takes_the_nearest_voxel_on_both_sides():
    assert nearest_offset((7.0, 5.0, 3.0), grid()) == (1, 1, 0)
    assert nearest_offset((-7.0, -5.0, -3.0), grid()) == (-1, -1, 0)
    assert nearest_offset((804.0, 801.0, 799.0), grid(translation=(800.0, 0.0, 0.0))) == (0, 100, 100)


def test_half_a_voxel_rounds_towards_the_first():
    assert nearest_offset((4.0, 12.0, -4.0), grid()) == (0, 1, -1)


@pytest.fixture
def volume():
    return np.random.default_rng(3).integers(0, 4, (6, 7, 8)).astype(np.uint16)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("shift", [(0, 0, 0), (1, -2, 3), (-5, 6, 0), (9, 0, 0)])
def test_a_shifted_prediction_is_cut_and_padded(rules, shift, volume, write_array, tmp_path):
    place = {"voxel_size": [8.0] * 3, "translation": [8.0 * s for s in shift]}
    write_array(tmp_path / "mito", volume, attributes=place, chunks=(3, 3, 3))
    actual = csc_eval.match_crop_space(tmp_path / "mito", "mito", (8, 8, 8), (6, 7, 8), (0, 0, 0), rules=rules)
    expected = np.zeros_like(volume)
    for index in np.ndindex(*volume.shape):
        target = tuple(i + s for i, s in zip(index, shift, strict=True))
        if all(0 <= i < n for i, n in zip(target, volume.shape, strict=True)):
            expected[target] = volume[index]
    np.testing.assert_array_equal(actual, expected)


def test_without_voxel_size_the_centre_counts(volume):
    grown = np.pad(volume, ((2, 3), (0, 0), (1, 1)))
    aligned = csc_eval.match_crop_space(grown, "mito", (8, 8, 8), volume.shape, (0, 0, 0))
    np.testing.assert_array_equal(aligned, volume)
    small = csc_eval.match_crop_space(volume[1:4, :, 2:7], "mito", (8, 8, 8), volume.shape, (0, 0, 0))
    np.testing.assert_array_equal(small[1:4, :, 1:6], volume[1:4, :, 2:7])
    assert small.sum() == volume[1:4, :, 2:7].sum()


def multiscale(folder, write_array, levels):
    folder.mkdir()
    datasets = []
    for name, (values, scale, translation) in levels.items():
        write_array(folder / name, values)
        steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
        datasets.append({"path": name, "coordinateTransformations": steps})
    (folder / ".zattrs").write_text(json.dumps({"multiscales": [{"datasets": datasets}]}))


def test_the_level_of_a_multiscale_group_is_the_nearest(write_array, volume, tmp_path):
    levels = {
        "s0": (np.ones((12, 14, 16), np.uint16), [4.0] * 3, [0.0] * 3),
        "s1": (volume, [8.0] * 3, [0.0] * 3),
        "s2": (np.ones((3, 4, 4), np.uint16), [16.0] * 3, [0.0] * 3),
    }
    multiscale(tmp_path / "mito", write_array, levels)
    found = csc_eval.match_crop_space(tmp_path / "mito", "mito", (8, 8, 8), volume.shape, (0, 0, 0))
    np.testing.assert_array_equal(found, volume)
    # Between two equally near ones the first counts.
    coarse = csc_eval.match_crop_space(tmp_path / "mito", "mito", (12, 12, 12), (4, 5, 5), (0, 0, 0))
    nearest = np.floor(6 / 4 * (np.arange(4) + 0.5)).astype(int)
    np.testing.assert_array_equal(coarse[:, 0, 0] > 0, np.ones(4, bool))
    assert nearest.max() < 6


def test_a_plain_group_prefers_what_is_not_coarser(write_array, volume, tmp_path):
    write_array(tmp_path / "mito/a", np.ones((6, 7, 8), np.uint16), attributes={"voxel_size": [8.5] * 3})
    write_array(tmp_path / "mito/b", np.repeat(volume, 2, 2), attributes={"voxel_size": [8.0, 8.0, 4.0]})
    write_array(tmp_path / "mito/c", np.ones((6, 7, 8), np.uint16))
    found = csc_eval.match_crop_space(tmp_path / "mito", "mito", (8, 8, 8), volume.shape, (0, 0, 0))
    np.testing.assert_array_equal(found, volume)


@pytest.mark.parametrize(
    ("values", "leaderboard", "definition"),
    [
        (np.array([0.2, 0.5, 0.7, np.nan], np.float32), [1, 1, 1, 0], [0, 1, 1, 0]),
        (np.array([0.0, 100.0, 200.0, 255.0], np.float32), [0, 1, 1, 1], [0, 0, 1, 1]),
        (np.array([np.nan, 90.0, 200.0, -np.inf], np.float32), [0, 1, 1, 0], [0, 0, 1, 0]),
        (np.array([0.0, 90.0, 200.0, np.inf], np.float32), [0, 1, 1, 1], [0, 0, 1, 1]),
        (np.array([0, 1, 100, 255], np.uint8), [0, 1, 1, 1], [0, 1, 1, 1]),
    ],
    ids=["probabilities", "0 to 255", "with NaN", "with infinity", "integers"],
)
def test_what_counts_as_foreground_at_the_crops_voxel_size(values, leaderboard, definition):
    for rules, expected in zip(RULES, (leaderboard, definition), strict=True):
        found = csc_eval.match_crop_space(values.reshape(1, 1, 4), "er", (8, 8, 8), (1, 1, 4), (0, 0, 0), rules=rules)
        assert (found > 0).astype(int).ravel().tolist() == expected


def test_fortran_order_survives_only_what_keeps_it(volume):
    turned = np.asfortranarray(volume)
    same = csc_eval.match_crop_space(turned, "mito", (8, 8, 8), volume.shape, (0, 0, 0))
    assert same.flags.f_contiguous
    padded = csc_eval.match_crop_space(turned, "mito", (8, 8, 8), (8, 8, 9), (0, 0, 0))
    assert padded.flags.f_contiguous
    cut = csc_eval.match_crop_space(turned, "mito", (8, 8, 8), (4, 7, 8), (0, 0, 0))
    assert cut.flags.c_contiguous


def test_a_prediction_much_larger_than_its_crop_is_refused():
    with pytest.raises(InvalidArgumentError, match="nearer to the crop's"):
        csc_eval.match_crop_space(np.ones((64, 64, 64), np.uint8), "er", (8, 8, 8), (3, 3, 3), (0, 0, 0))


def test_nothing_there_is_said_so(tmp_path):
    with pytest.raises(UnreadableDataError, match="neither a zarr array nor a group"):
        csc_eval.match_crop_space(tmp_path / "mito", "mito", (8, 8, 8), (3, 3, 3), (0, 0, 0))


@pytest.mark.parametrize("voxel_size", [8.0, 4.0])
def test_values_on_the_crops_grid_exceed_a_value_where_their_mask_says_and_are_nowhere_else(voxel_size):
    values = np.random.default_rng(1).random((6, 7, 8), np.float32) - np.float32(0.5)
    crop = CropGrid(voxel_size=(voxel_size,) * 3, translation=(8.0, 8.0, 8.0), shape=(12, 9, 10))
    prediction = Prediction(voxels=MemoryArray(values), voxel_size=(8.0,) * 3, translation=(24.0, 0.0, 8.0))
    placed = align_values(prediction, crop, rules=DEFINITION).read((0, 0, 0), crop.shape)
    assert np.isneginf(placed).any()
    for above in (-0.3, 0.0, 0.2):
        mask = align_probabilities(prediction, crop, above=above, rules=DEFINITION).read((0, 0, 0), crop.shape)
        np.testing.assert_array_equal(placed > above, mask)
        assert mask.any()
        assert not mask[np.isneginf(placed)].any()
