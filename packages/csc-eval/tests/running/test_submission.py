"""Whole submissions: what is found, what is missing, rules side by side, and the result files."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import csc_eval
from csc_data.errors import CscError, InvalidArgumentError, MissingDataError

PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}


@pytest.fixture
def volumes(tmp_path, write_array):
    """A truth of two crops and an empty folder for a submission."""
    volume = np.zeros((8, 9, 10), np.uint8)
    volume[1:4, 1:5, 1:6] = 1
    volume[5:7, 5:8, 5:9] = 2
    for crop in ("crop1", "crop2"):
        for name in ("mito", "er"):
            write_array(tmp_path / f"t.zarr/{crop}/{name}", volume, attributes=PLACE)
    return tmp_path, volume


def put(write_array, folder, volume, *names):
    for name in names:
        write_array(folder / name, volume, attributes=PLACE)
    return folder


def test_names_of_crops_may_lack_the_prefix(volumes, write_array):
    folder, volume = volumes
    submission = put(write_array, folder / "s.zarr", volume, "1/mito", "1/er", "2/mito", "2/er")
    assert csc_eval.score_submission(submission, folder / "t.zarr").overall_score == 1


def test_a_zarr_further_down_counts(volumes, write_array):
    folder, volume = volumes
    put(write_array, folder / "outer/my/s.zarr", volume, "crop1/mito", "crop1/er", "crop2/mito", "crop2/er")
    assert csc_eval.score_submission(folder / "outer", folder / "t.zarr").overall_score == 1
    put(write_array, folder / "outer/other.zarr", volume, "crop1/mito")
    with pytest.raises(InvalidArgumentError, match=r"several zarr folders.*other\.zarr"):
        csc_eval.score_submission(folder / "outer", folder / "t.zarr")


def test_what_is_missing_counts_and_what_is_surplus_is_named(volumes, write_array):
    folder, volume = volumes
    submission = put(write_array, folder / "s.zarr", volume, "crop1/mito", "crop1/golgi", "crop9/er")
    result = csc_eval.score_submission(submission, folder / "t.zarr")
    assert set(result.ignored) == {"crop1/golgi", "crop9"}
    assert result.crops["crop2"]["mito"].to_dict() == {
        "tp": 0, "fp": 0, "fn": 2, "hausdorff_norm_sum": 0.0, "n_hausdorff": 2, "num_voxels": 720,
        "voxel_size": [8.0] * 3, "is_missing": True, "status": "missing",
    }  # fmt: skip
    assert result.crops["crop1"]["er"].fn == 720
    assert result.combined.classes["mito"].metrics["f1"] == pytest.approx(2 / 3)
    assert result.submitted.classes["mito"].metrics["f1"] == 1
    assert set(result.to_dict()["label_scores"]) == {"mito"}
    assert (result.total_evals, result.num_evals_done) == (4, 4)


def test_no_crop_in_common_is_one_clear_error(volumes, write_array):
    folder, volume = volumes
    submission = put(write_array, folder / "s.zarr", volume, "crop7/mito")
    with pytest.raises(CscError, match="none of the submission's crops: it holds crop1, crop2") as error:
        csc_eval.score_submission(submission, folder / "t.zarr")
    assert "\n" not in str(error.value)


def test_missing_paths_are_said(volumes):
    folder, _ = volumes
    with pytest.raises(MissingDataError, match=r"nothing\.zip does not exist"):
        csc_eval.score_submission(folder / "nothing.zip", folder / "t.zarr")


def test_nothing_is_written_into_a_submission(volumes, write_array):
    folder, volume = volumes
    submission = put(write_array, folder / "s.zarr", volume, "crop1/mito")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    csc_eval.score_submission(submission, folder / "t.zarr")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_several_rules_are_explained(golden, tmp_path):
    submission, truth = golden.write("e21_id_collision", tmp_path / "a")
    result = csc_eval.score_submission(submission, truth, rules=("leaderboard-2026-06", "definition-2026-06", "pq"))
    assert [other.rules for other in result.alternatives] == ["definition-2026-06", "pq"]
    difference = result.differences[0]
    assert (difference.class_name, difference.other_rules) == ("mito", "definition-2026-06")
    assert difference.other_score > difference.score
    assert "collide" in difference.reasons[0]
    submission, truth = golden.write("e31_too_many", tmp_path / "b")
    result = csc_eval.score_submission(submission, truth, rules=("leaderboard-2026-06", "definition-2026-06"))
    assert (result.combined.classes["mito"].score, result.alternatives[0].combined.classes["mito"].score) == (1, 0)
    assert "too many" in result.differences[0].reasons[0]
    definition = result.alternatives[0].crops["crop557"]["mito"]
    assert (definition.tp, definition.fp, definition.fn, definition.n_hausdorff) == (0, 60, 1, 61)


def test_masks_are_labels_only_for_the_leaderboard(golden, tmp_path):
    submission, truth = golden.write("e40_mask_instance", tmp_path)
    result = csc_eval.score_submission(submission, truth, rules=("leaderboard-2026-06", "definition-2026-06"))
    assert result.combined.classes["mito_mask"].score == 0
    assert "mito_mask" not in result.alternatives[0].combined.classes
    assert (result.total_evals, result.num_evals_done) == (2, 3)


def test_instance_classes_decide_alignment_and_score(volumes, write_array):
    folder, volume = volumes
    submission = put(write_array, folder / "s.zarr", volume, "crop1/mito", "crop1/er")
    result = csc_eval.score_submission(submission, folder / "t.zarr", instance_classes=["er"])
    assert (result.crops["crop1"]["er"].tp, result.crops["crop1"]["mito"].tp) == (2, int((volume > 0).sum()))


def test_changed_cutoffs_change_what_is_skipped(golden, tmp_path):
    from dataclasses import replace

    submission, truth = golden.write("e31_too_many", tmp_path)
    lenient = replace(csc_eval.LEADERBOARD, name="lenient", final_ratio_cutoff=100.0)
    score = csc_eval.score_submission(submission, truth, rules=lenient).crops["crop557"]["mito"]
    assert (score.status, score.tp, score.fp) == ("scored", 1, 59)


def test_the_result_files_are_strict_json(volumes, write_array):
    folder, volume = volumes
    submission = put(write_array, folder / "s.zarr", volume, "crop1/mito")
    result = csc_eval.score_submission(submission, folder / "t.zarr", metrics=csc_eval.METRICS)
    paths = csc_eval.write_results(result, folder / "out/result.json")
    assert [path.name for path in paths] == ["result.json", "result_extended.json"]
    short, extended = (json.loads(path.read_text(), parse_constant=pytest.fail) for path in paths)
    assert short["rules"] == "leaderboard-2026-06"
    assert set(short) == {
        "label_scores", "overall_instance_score", "overall_semantic_score", "overall_score", "total_evals",
        "num_evals_done", "git_version", "rules",
    }  # fmt: skip
    assert extended["crop1"]["mito"]["metrics"]["ap"] == 1
    assert extended["submitted_only"]["overall_instance_score"] == 1
    assert [path.name for path in (folder / "out").iterdir() if "partial" in path.name] == []


def test_one_crop_alone(volumes, write_array):
    folder, volume = volumes
    submission = put(write_array, folder / "s.zarr", volume, "crop1/mito", "crop1/er")
    scores = csc_eval.score_crop(submission, folder / "t.zarr", "crop1")
    assert {name: score.score for name, score in scores.items()} == {"mito": 1, "er": 1}
    with pytest.raises(InvalidArgumentError, match="no crop5"):
        csc_eval.score_crop(submission, folder / "t.zarr", "crop5")


def test_a_truth_without_voxel_size_takes_the_challenges(write_array, tmp_path):
    volume = np.ones((4, 4, 4), np.uint8)
    write_array(tmp_path / "t.zarr/crop557/mito", volume)
    write_array(tmp_path / "t.zarr/crop1/mito", volume, attributes=PLACE)
    write_array(tmp_path / "s.zarr/crop557/mito", volume)
    result = csc_eval.score_submission(tmp_path / "s.zarr", tmp_path / "t.zarr")
    assert result.crops["crop557"]["mito"].voxel_size == (1.74, 2.0, 2.0)
    write_array(tmp_path / "t.zarr/crop2/mito", volume)
    with pytest.raises(CscError, match="says no voxel_size"):
        csc_eval.score_submission(tmp_path / "s.zarr", tmp_path / "t.zarr")


@pytest.mark.parametrize("twin", ["__MACOSX/s.zarr/._x", "__MACOSX/._s.zarr"])
def test_what_the_portal_refuses_is_scored_and_told(volumes, write_array, twin):
    folder, volume = volumes
    put(write_array, folder / "to_zip/s.zarr", volume, "crop1/mito", "crop1/er", "crop2/mito", "crop2/er")
    zipped = Path(shutil.make_archive(str(folder / "s"), "zip", folder / "to_zip"))
    assert csc_eval.score_submission(zipped, folder / "t.zarr").portal_differs == ()
    with zipfile.ZipFile(zipped, "a") as file:
        file.writestr(twin, b"x")
    result = csc_eval.score_submission(zipped, folder / "t.zarr")
    assert result.overall_score == 1
    (note,) = result.portal_differs
    assert note.startswith("the portal refuses it")
    assert "__MACOSX" in note
    assert "csc validate --fix" in note


def test_a_folder_beside_the_zip_is_told_unless_it_holds_the_same(volumes, write_array):
    folder, volume = volumes
    put(write_array, folder / "s.zarr", volume, "crop1/mito")
    shutil.make_archive(str(folder / "s"), "zip", folder / "s.zarr")

    def notes():
        return csc_eval.score_submission(folder / "s.zip", folder / "t.zarr").portal_differs

    assert notes() == ()
    chunk = folder / "s.zarr/crop1/mito/0.0.0"
    times = chunk.stat()
    chunk.write_bytes(chunk.read_bytes() + b"x")
    os.utime(chunk, ns=(times.st_atime_ns, times.st_mtime_ns))
    (note,) = notes()
    assert note.startswith("the official tool takes the folder s.zarr beside the zip")
    assert "remove it, or pack again" in note
    chunk.write_bytes(chunk.read_bytes()[:-1])
    os.utime(chunk, ns=(2**61, 2**61))  # changed since it was packed, without another size
    assert notes() == (note,)
    chunk.unlink()
    assert notes() == (note,)


@pytest.mark.parametrize(
    ("name", "dtype", "ends"), [("mito", ">u2", True), ("mito", "<u2", False), ("er", ">u2", False)]
)
def test_ids_in_big_endian_order_end_the_portals_run(volumes, write_array, name, dtype, ends):
    folder, volume = volumes
    write_array(folder / f"s.zarr/crop1/{name}", volume.astype(dtype), attributes=PLACE)
    rules = ["leaderboard-2026-06", "definition-2026-06"]
    result = csc_eval.score_submission(folder / "s.zarr", folder / "t.zarr", rules=rules)
    score = result.crops["crop1"][name]
    assert score.score == 1
    assert ("the portal's run would have ended here" in score.portal_differs) == ends
    assert result.alternatives[0].crops["crop1"][name].portal_differs == ""
    # A product with a mask is in the order of the machine.
    write_array(folder / f"t.zarr/crop1/{name}_mask", np.ones_like(volume), attributes=PLACE)
    score = csc_eval.score_submission(folder / "s.zarr", folder / "t.zarr").crops["crop1"][name]
    assert score.portal_differs == ""


FILTERS = {
    "delta": {"dtype": "<u2"},
    "fixedscaleoffset": {"offset": 0, "scale": 10, "dtype": "<u2", "astype": "<u4"},
    "packbits": {},
    "astype": {"encode_dtype": "<u4", "decode_dtype": "<u2"},
    "shuffle": {"elementsize": 2},
}


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("name", ["mito", "er"])
def test_filters_are_undone_as_the_portal_undoes_them(volumes, write_array, kind, name):
    folder, volume = volumes
    filters = [{"id": kind, **FILTERS[kind]}]
    dtype = "|b1" if kind == "packbits" else "<u2"
    values = (volume > 0 if kind == "packbits" else volume.astype(dtype) * 1000).astype(dtype)
    write_array(folder / f"s.zarr/crop1/{name}", values, attributes=PLACE, filters=filters)
    stored = json.loads((folder / f"s.zarr/crop1/{name}/.zarray").read_text("utf-8"))
    assert stored["filters"] == filters
    result = csc_eval.score_submission(folder / "s.zarr", folder / "t.zarr")
    assert result.failures == {}
    score = result.crops["crop1"][name]
    assert (score.score, score.portal_differs) == (1, "")


def test_classes_given_by_hand_are_aligned_by_the_challenges_list(volumes, write_array):
    """`mito` scored as a mask is still resampled as instances on the portal, and `er` the other way round."""
    folder, volume = volumes
    fine = np.zeros((16, 18, 20), np.uint8)
    fine[1::2, 1::2, 1::2] = volume > 0  # one voxel of eight: it is the nearest, and the mean is below a half
    for name in ("mito", "er"):
        write_array(folder / f"s.zarr/crop1/{name}", fine, attributes={"voxel_size": [4.0] * 3})
    nearest = rescaled = {}
    for rules in ("leaderboard-2026-06", "definition-2026-06"):
        result = csc_eval.score_submission(folder / "s.zarr", folder / "t.zarr", rules=rules, instance_classes=["er"])
        assert not result.crops["crop1"]["mito"].instance
        nearest = {**nearest, rules: result.crops["crop1"]["mito"].tp}
        rescaled = {**rescaled, rules: result.crops["crop1"]["er"].tp}
    by_list = csc_eval.match_crop_space(folder / "s.zarr/crop1/mito", "mito", (8, 8, 8), volume.shape, (0, 0, 0))
    assert nearest["leaderboard-2026-06"] == np.count_nonzero(by_list.astype(bool) & (volume > 0))
    assert nearest["leaderboard-2026-06"] != nearest["definition-2026-06"]
    assert rescaled["leaderboard-2026-06"] != rescaled["definition-2026-06"]
    both = csc_eval.score_submission(
        folder / "s.zarr",
        folder / "t.zarr",
        rules=["leaderboard-2026-06", "definition-2026-06"],
        instance_classes=["er"],
    )
    assert any("by the challenge's list" in reason for one in both.differences for reason in one.reasons)


def test_unknown_rules_and_metrics_name_the_nearest():
    with pytest.raises(InvalidArgumentError, match="did you mean leaderboard-2026-06"):
        csc_eval.get_rules("leaderboard")
    with pytest.raises(InvalidArgumentError, match="there are no metrics jaccard"):
        csc_eval.score_semantic(np.ones((1, 1, 1)), np.ones((1, 1, 1)), metrics=["jaccard"])
