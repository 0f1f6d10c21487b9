"""What users get wrong ends in one clear line on stderr and exit code 1, without a traceback."""

import os
import shutil

import numpy as np
import pytest

from csc_cli.main import main
from csc_data.formats.writing import create_array


@pytest.fixture
def refused(csc_environment, tmp_path, monkeypatch, capfd):
    """Run a command that must be refused, and return the line that it says.

    In this process, as its entry point is called: each start of its own would import torch once more.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, csc_environment[name])
    for name in [name for name in os.environ if name.startswith("CSC_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["csc", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed, said = capfd.readouterr()
        assert ended.value.code == 1, f"exit code {ended.value.code}\n{printed}\n{said}"
        return only_line(said)

    return run


def only_line(said: str) -> str:
    assert "Traceback" not in said
    lines = said.strip().splitlines()
    assert len(lines) == 1, said
    return lines[0]


def test_a_process_of_its_own_ends_so_too(run_csc, tmp_path):
    result = run_csc("make-datasplit", "--data", "nowhere", cwd=tmp_path)
    assert result.returncode == 1
    assert "no data folder nowhere" in only_line(result.stderr)


def test_a_data_folder_that_is_not_there(refused):
    assert "no data folder nowhere" in refused("make-datasplit", "--data", "nowhere")


def test_a_data_folder_without_crops(refused, tmp_path):
    (tmp_path / "data").mkdir()
    assert "holds no annotated crop" in refused("make-datasplit")


def test_a_data_set_whose_crops_are_empty(refused, tmp_path):
    (tmp_path / "data/d/d.zarr/recon-1/labels/groundtruth/crop1").mkdir(parents=True)
    (tmp_path / "data/d/d.zarr/recon-1/em/fibsem-uint8").mkdir(parents=True)
    assert "crop1" in refused("make-datasplit")


def test_a_class_that_the_challenge_does_not_have(refused, tmp_path):
    write_zarr(tmp_path / "data/d/d.zarr/recon-1/labels/groundtruth", "crop1", "er")
    create_array(
        tmp_path / "data/d/d.zarr/recon-1/em/fibsem-uint8",
        shape=(8, 8, 8),
        dtype="uint8",
        chunks=(8, 8, 8),
        attributes={"voxel_size": [8.0] * 3, "translation": [4.0] * 3},
    )
    said = refused("make-datasplit", "-c", "er,mitto")
    assert "mitto" in said
    assert "did you mean" in said


def test_an_experiment_file_that_is_not_there(refused):
    for command in ("train", "predict", "process"):
        assert "train_4D.py" in refused(command, "train_4D.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('classes = ["er", "mitto"]\nmodel_name = "3d_unet_s"', "did you mean mito?"),
        ('classes = ["er"]\nmodel_name = "3d_unet_s"\nlearning_rat = 0.1', "did you mean learning_rate?"),
        ('classes = ["er"]\nbatch_size = "many"', "batch_size"),
        ('classes = ["er"\n', "line 1"),
    ],
)
def test_an_experiment_with_a_mistake(refused, tmp_path, text, said):
    (tmp_path / "train.py").write_text(text, "utf-8")
    assert said in refused("train", "train.py")


def test_predicting_without_a_checkpoint(refused, tmp_path):
    (tmp_path / "train.py").write_text('classes = ["er"]\nmodel_name = "3d_unet_s"', "utf-8")
    assert "checkpoint" in refused("predict", "train.py")


def test_processing_without_predictions(refused, tmp_path):
    (tmp_path / "train.py").write_text('classes = ["er"]', "utf-8")
    assert "predict" in refused("process", "train.py")


def test_packing_without_results(refused):
    assert "`csc process`" in refused("pack-results")


def write_zarr(folder, crop, class_name):
    array = create_array(
        folder / crop / class_name,
        shape=(8, 8, 8),
        dtype="uint8",
        chunks=(8, 8, 8),
        attributes={"voxel_size": [8.0] * 3, "translation": [4.0] * 3, "shape": [8] * 3},
    )
    array[...] = np.ones((8, 8, 8), "uint8")


def test_a_submission_that_is_not_there(refused, tmp_path):
    write_zarr(tmp_path / "data/ground_truth.zarr", "crop1", "er")
    assert "submission" in refused("evaluate")


def test_a_truth_without_the_crops_of_the_submission(refused, tmp_path):
    write_zarr(tmp_path / "data/ground_truth.zarr", "crop1", "er")
    write_zarr(tmp_path / "data/submission.zarr", "crop2", "er")
    said = refused("evaluate")
    assert "crop1" in said
    assert "crop2" in said


def test_a_zip_that_is_cut_off(refused, tmp_path):
    write_zarr(tmp_path / "data/ground_truth.zarr", "crop1", "er")
    write_zarr(tmp_path / "data/submission.zarr", "crop1", "er")
    archive = shutil.make_archive(str(tmp_path / "data/submission"), "zip", tmp_path / "data/submission.zarr")
    os.truncate(archive, 100)
    assert "submission.zip" in refused("evaluate")


def test_a_demo_folder_that_holds_something_else(refused, tmp_path):
    (tmp_path / "csc-demo").mkdir()
    (tmp_path / "csc-demo/thesis.tex").write_text("important", "utf-8")
    assert "not empty" in refused("demo", "--quick")
    assert (tmp_path / "csc-demo/thesis.tex").read_text("utf-8") == "important"
