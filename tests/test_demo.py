"""`csc demo` does the main job, and does it again the same way."""

import json
import re
import shutil
import zipfile

import pytest

from csc_data.challenge.test_crops import read_test_crops
from csc_data.splits.split_file import read_datasplit
from csc_data.volumes import open_volume

STAGES = ["synthetic challenge", "make-datasplit", "train", "predict", "process", "pack-results", "evaluate"]

pytestmark = pytest.mark.slow


def test_a_line_a_stage_then_the_scores_and_where_things_are(quick_demo):
    folder, printed = quick_demo
    for number, name in enumerate(STAGES, start=1):
        assert re.search(rf"^\[{number}/{len(STAGES)}\] {name}: .+ \(\d+\.\d s\)$", printed, re.MULTILINE), name
    result = json.loads((folder / "csc-demo/result.json").read_text("utf-8"))
    for name in result["label_scores"]:
        assert re.search(rf"^\s+{name}\s+(IoU|combined score)\s+[01]\.\d+\s+[01]\.\d+$", printed, re.MULTILINE), name
    assert f"{result['overall_score']:.3f}" in printed
    assert "csc predict csc-demo/train_3D.py --data csc-demo" in printed


def test_what_it_leaves_is_the_layout_of_a_data_folder(quick_demo):
    data = quick_demo[0] / "csc-demo"
    rows = read_datasplit(data / "datasplit.csv")
    assert {row.usage for row in rows} == {"train", "validate"}
    crops = read_test_crops(data / "test_crop_manifest.csv")
    for crop in crops.values():
        for name in crop.classes:
            for kind in ("predictions", "processed"):
                assert open_volume(data / kind / f"{crop.dataset}.zarr" / f"crop{crop.id}" / name).levels
            packed = open_volume(data / "submission.zarr" / f"crop{crop.id}" / name).levels[0].grid
            assert packed.shape == crop.shape
            assert packed.translation == crop.translation


@pytest.mark.thorough  # test_resume.py of csc-train compares weights bit by bit
def test_the_same_seed_gives_the_same_scores_twice(quick_demo, run_csc, tmp_path):
    again = run_csc("demo", "--quick", "--out", "elsewhere", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    first, second = (
        json.loads((folder / "result.json").read_text("utf-8"))
        for folder in (quick_demo[0] / "csc-demo", tmp_path / "elsewhere")
    )
    assert first == second


def test_a_folder_of_another_seed_is_left_alone(quick_demo, run_csc):
    folder, _ = quick_demo
    result = run_csc("demo", "--quick", "--seed", "5", cwd=folder)
    assert result.returncode == 1
    assert "another folder" in result.stderr


def test_run_again_in_its_folder_it_computes_nothing_anew(quick_demo, run_csc):
    folder, _ = quick_demo
    before = (folder / "csc-demo/result.json").read_text("utf-8")
    checkpoints = {path: path.stat().st_mtime_ns for path in (folder / "csc-demo/checkpoints").iterdir()}
    result = run_csc("demo", "--quick", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "csc-demo/result.json").read_text("utf-8") == before
    assert {path: path.stat().st_mtime_ns for path in (folder / "csc-demo/checkpoints").iterdir()} == checkpoints


def test_the_validation_crops_are_predicted_and_scored_as_test_crops_are(quick_demo, run_csc, tmp_path):
    data = tmp_path / "csc-demo"
    shutil.copytree(quick_demo[0] / "csc-demo", data)
    refused = run_csc("evaluate", "--data", "csc-demo", "--datasplit", "csc-demo/datasplit.csv", cwd=tmp_path)
    assert refused.returncode == 1
    assert "csc predict --crops validation" in refused.stderr
    config = "csc-demo/train_3D.py"
    assert run_csc("predict", config, "--data", "csc-demo", "--crops", "validation", cwd=tmp_path).returncode == 0
    refused = run_csc("evaluate", "--data", "csc-demo", "--datasplit", "csc-demo/datasplit.csv", cwd=tmp_path)
    assert refused.returncode == 1
    assert "probabilities; `csc process`" in refused.stderr
    for arguments in (
        ("process", config, "--data", "csc-demo"),
        ("evaluate", "--data", "csc-demo", "--datasplit", "csc-demo/datasplit.csv", "-r", "validation.json"),
    ):
        result = run_csc(*arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    scored = json.loads((tmp_path / "validation_extended.json").read_text("utf-8"))
    [row] = [row for row in read_datasplit(data / "datasplit.csv") if row.usage == "validate"]
    assert set(scored[row.crop]) == set(row.classes)
    assert "portal" not in result.stdout


def test_a_datasplit_that_somebody_edited_is_kept_beside_the_new_one(quick_demo, run_csc, tmp_path):
    data = tmp_path / "csc-demo"
    shutil.copytree(quick_demo[0] / "csc-demo", data)
    edited = (data / "datasplit.csv").read_text("utf-8").replace('"validate"', '"train"')
    (data / "datasplit.csv").write_text(edited, "utf-8")
    result = run_csc("make-datasplit", "--data", "csc-demo", "--classes", "mito", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (data / "datasplit.csv.bak").read_text("utf-8") == edited
    assert "datasplit.csv.bak" in result.stdout


def test_what_is_no_longer_there_is_no_longer_packed(quick_demo, run_csc, tmp_path):
    data = tmp_path / "csc-demo"
    shutil.copytree(quick_demo[0] / "csc-demo", data)
    shutil.rmtree(next((data / "processed").rglob("crop501/mito")))
    result = run_csc("pack-results", "--data", "csc-demo", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "missing: crop501: mito" in result.stdout
    assert not (data / "submission.zarr/crop501/mito").exists()
    with zipfile.ZipFile(data / "submission.zip") as archive:
        assert not [name for name in archive.namelist() if name.startswith("crop501/mito/")]


def test_a_submission_stays_where_nothing_could_take_its_place(quick_demo, run_csc, tmp_path):
    data = tmp_path / "csc-demo"
    shutil.copytree(quick_demo[0] / "csc-demo", data)
    before = (data / "submission.zip").read_bytes()
    arrays = sorted((data / "submission.zarr").glob("crop*/*/.zarray"))
    failed = run_csc("pack-results", "-i", "predictions", "--data", "csc-demo", "--overwrite", cwd=tmp_path)
    assert failed.returncode == 1
    assert "nothing could be packed" in failed.stderr
    assert (data / "submission.zip").read_bytes() == before
    assert sorted((data / "submission.zarr").glob("crop*/*/.zarray")) == arrays
    assert arrays
