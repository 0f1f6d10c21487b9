"""The official scorer's numbers, case by case; tests/data/golden.json says where they come from."""

import importlib.util
import math

import numpy as np
import pytest

import csc_eval
from csc_eval.instances.components import find_overlaps, label_components, label_ids
from csc_eval.instances.matching import COST_SCALE, match_overlaps, pair_costs
from csc_eval.instances.ties import match_as_portal
from csc_eval.voxels.arrays import MemoryArray
from csc_eval.voxels.runs import encode_runs

# Several matchings are equally good; the definition takes the one with the nearest centroids.
TIES = {"e18", "e26", "e27", "e28", "e33", "e45"}
# The portal counts groups as missing, and merges ids beyond 2**53; ours says so in portal_differs.
PORTAL_DIFFERS = {
    "e70_ome_group": "a group of arrays as missing",
    "e71_ome_only_finer": "a group of arrays as missing",
    "e78_ids_above_2_53": "above 2**53",
    "e83_plain_group": "a group of arrays as missing",
}
HAS_SOLVER = importlib.util.find_spec("ortools") is not None
COUNTS = ("tp", "fp", "fn", "n_hausdorff", "num_voxels", "voxel_size", "is_missing", "status")


def assert_agrees(expected, actual, path=""):
    """Every number of the official result is in ours: integers exactly, floats to 1e-9."""
    for key, value in expected.items():
        where = f"{path}/{key}"
        assert key in actual, where
        if isinstance(value, dict):
            assert_agrees(value, actual[key], where)
        elif isinstance(value, float):
            assert actual[key] == pytest.approx(value, rel=0, abs=1e-9), where
        else:
            assert actual[key] == value, where


@pytest.fixture
def scored(golden, golden_name, tmp_path):
    submission, truth = golden.write(golden_name, tmp_path)
    result = csc_eval.score_submission(submission, truth, rules=("leaderboard-2026-06", "definition-2026-06"))
    return golden.cases[golden_name], result


def test_labels_agree_with_the_official_scores(golden_name, scored):
    case, result = scored
    for key, label in case["labels"].items():
        crop, name = key.split("/")
        ours = result.crops[crop][name].to_dict()
        if "error" in label:
            # The official run died of it: ours scores what it can, and names the problem where it cannot.
            assert ours["status"] == "scored" or result.failures[crop, name]
            continue
        if golden_name == "e27_tie_asymmetric" and "portal_differs" in ours:  # OR-tools is not installed
            assert {n: ours[n] for n in COUNTS} == {n: label["score"][n] for n in COUNTS}
            continue
        if golden_name == "e78_ids_above_2_53" and key == "crop557/cell":
            assert (ours["tp"], ours["fp"], ours["fn"]) == (3, 0, 0)
            continue
        assert_agrees(label["score"], ours, key)


def test_the_whole_result_agrees_with_the_official_one(golden_name, scored):
    case, result = scored
    if golden_name in PORTAL_DIFFERS:
        notes = [score.portal_differs for labels in result.crops.values() for score in labels.values()]
        assert any(PORTAL_DIFFERS[golden_name] in note for note in notes)
        return
    expected = case["expected"]
    if "submission" not in expected or (golden_name == "e27_tie_asymmetric" and not HAS_SOLVER):
        return
    extended = result.to_extended_dict()
    assert_agrees(expected["submission"], extended)
    crops = {name for name in expected["submission"] if name.startswith("crop")}
    assert {crop: set(extended[crop]) for crop in crops} == {crop: set(expected["submission"][crop]) for crop in crops}
    assert {name for name in extended if name.startswith("crop")} == crops
    assert set(extended["label_scores"]) == set(expected["submission"]["label_scores"])
    if "public" in expected:
        assert_agrees(expected["public"], result.to_dict())
        assert set(result.to_dict()["label_scores"]) == set(expected["public"]["label_scores"])


def test_distances_without_colliding_ids_agree(golden_name, scored):
    case, result = scored
    if golden_name[:3] in TIES or golden_name in PORTAL_DIFFERS or golden_name.startswith(("e5", "e6")):
        return  # matchings or offsets that the definition sees otherwise
    definition = result.alternatives[0]
    for key, label in case["labels"].items():
        if "nocollide" not in label:
            continue
        crop, name = key.split("/")
        assert_agrees(label["nocollide"], definition.crops[crop][name].to_dict(), key)


@pytest.mark.parametrize("number", sorted(TIES))
def test_ties_reach_the_official_optimum(golden, number):
    golden_name = next(name for name in golden.cases if name.startswith(number))
    for key, label in golden.cases[golden_name]["labels"].items():
        if "mapping" not in label:
            continue
        volumes = {}
        for node in golden.cases[golden_name]["nodes"]:
            if node["path"].endswith(key) and "array" in node:
                volumes[node["path"].split(".")[0]] = golden.array(node["array"])
        t = label_ids(encode_runs(MemoryArray(volumes["ground_truth"])))
        p = label_components(encode_runs(MemoryArray(volumes["submission"])))
        overlaps = find_overlaps(t, p)
        gain = {
            (int(t.ids[a]), int(b)): COST_SCALE + 1 - int(c)
            for a, b, c in zip(overlaps.truth, overlaps.prediction, pair_costs(overlaps.iou), strict=True)
        }
        official = {(i, int(k)) for k, i in label["mapping"].items() if int(k)}
        for ours in (match_overlaps(overlaps), match_as_portal(overlaps, t, p)):
            found = {(int(t.ids[a]), int(b)) for a, b in zip(ours.truth, ours.prediction, strict=True)}
            assert sum(gain[pair] for pair in found) == sum(gain[pair] for pair in official)
        assert found == official or not HAS_SOLVER


@pytest.mark.parametrize("name", ["m1_voronoi_128", "m3_ves_256", "e27_tie_asymmetric", "e10_touching_same_ids"])
def test_each_distance_agrees_bit_for_bit(golden, name):
    for key, label in golden.cases[name]["labels"].items():
        if "distances" not in label:
            continue
        nodes = {n["path"].split(".")[0]: n for n in golden.cases[name]["nodes"] if n["path"].endswith(key)}
        t = golden.array(nodes["ground_truth"]["array"])
        p, count = csc_eval.connected_components(golden.array(nodes["submission"]["array"]))
        renamed = np.arange(count + 1, dtype=np.int64)
        for component, truth_id in label["mapping"].items():
            renamed[int(component)] = truth_id
        voxel_size = nodes["ground_truth"]["attrs"]["voxel_size"]
        ours = csc_eval.hausdorff_distances(t, renamed[p], voxel_size)
        official = np.array(label["distances"][: len(ours)], np.float32)
        np.testing.assert_array_equal(ours, official)


def test_a_distance_that_is_no_tie_is_told_apart(golden):
    """Guards the comparisons above: the two optima of e27 do differ in their distances."""
    label = golden.cases["e27_tie_asymmetric"]["labels"]["crop557/mito"]
    assert not math.isclose(label["score"]["hausdorff_norm_sum"], 1.8667692561240665, abs_tol=1e-6)
