"""Errors in a person's own file are told by their lines; imports of the official toolbox are answered by ours."""

import importlib

import pytest

from csc_cli.official_imports import HERE, INSTEAD, answers
from csc_cli.own_code import told_by_their_lines
from csc_data.config.experiment import read_experiment

# Names that the official toolbox hands out, of the package itself, of utils, models and config, and others that its
# documents name.
OFFICIAL_NAMES = """
predict process train visualize score_submission match_crop_space CROP_NAME PREDICTIONS_PATH PROCESSED_PATH
RAW_NAME REPO_ROOT BASE_DATA_PATH SEARCH_PATH SUBMISSION_PATH TRUTH_PATH CropRow fetch_crop_manifest TestCropRow
fetch_test_crop_manifest TEST_CROPS TEST_CROPS_DICT get_test_crops get_test_crop_labels get_dataloader
make_datasplit_csv make_s3_datasplit_csv get_class_relations get_tested_classes get_formatted_fields
CellMapLossWrapper analyze_script load_safe_config construct_test_crop_manifest construct_truth_dataset
perturb_instance_mask download_file format_string get_git_hash get_data_from_batch structure_model_output
get_singleton_dim squeeze_singleton_dim unsqueeze_singleton_dim extract_from_template package_submission
zip_submission save_numpy_class_arrays_to_zarr save_numpy_class_labels_to_zarr MatchedCrop get_result_file
monitor_jobs eval_batch load_best_val load_latest get_latest_checkpoint_epoch get_best_val_epoch
newest_wildcard_path get_model ResNet UNet_2D UNet_3D ViTVNet get_dataset_counts
EvaluationConfig GT_S3_BUCKET INSTANCE_CLASSES MatchingFailedError RAW_S3_BUCKET S3_CROP_NAME S3_RAW_NAME
S3_SEARCH_PATH SEARCH_PATHS TooManyInstancesError TooManyOverlapEdgesError VIS_SEARCH_PATHS add_layers
empty_label_score get_layer match_instances package_results save_numpy_binary_to_zarr save_numpy_labels_to_zarr
score_instance score_label score_semantic
""".split()  # noqa: SIM905


def error_of(file, action=lambda experiment: None):
    try:
        action(read_experiment(file))
    except Exception as error:
        return told_by_their_lines(error)
    raise AssertionError("it raised nothing")


def test_every_official_name_is_here_or_answered():
    known = [name for names in HERE.values() for name in names]
    assert sorted([*known, *INSTEAD]) == sorted(OFFICIAL_NAMES)


@pytest.mark.parametrize("module", HERE)
def test_what_an_answer_imports_is_there(module):
    found = importlib.import_module(module)
    assert [name for name in HERE[module] if not hasattr(found, name)] == []


def test_an_error_is_told_by_the_persons_lines(tmp_path):
    (tmp_path / "helper.py").write_text("def half(n):\n    return n / 0\n", encoding="utf-8")
    file = tmp_path / "train.py"
    file.write_text("from helper import half\n\nx = half(\n    3)\n", encoding="utf-8")
    assert error_of(file) == (
        f"{file} raised ZeroDivisionError: division by zero\n  train.py, line 3: x = half(\n"
        "  helper.py, line 2: return n / 0"
    )


def test_what_their_function_raises_later_is_theirs_and_what_ours_raises_is_not(tmp_path):
    file = tmp_path / "train.py"
    file.write_text("def f():\n    return [][1]\n\ndef g(call):\n    return call()\n", encoding="utf-8")
    told = error_of(file, lambda experiment: experiment.names["f"]())
    assert told == f"{file} raised IndexError: list index out of range\n  train.py, line 2: return [][1]"

    def ours():
        raise KeyError

    ours_code = {**ours.__globals__, "__name__": "csc_data.somewhere"}
    function = type(ours)(ours.__code__, ours_code)
    assert error_of(file, lambda experiment: experiment.names["g"](function)) is None
    assert error_of(file, lambda experiment: ours()) is None


def test_official_imports_are_answered_by_ours(tmp_path):
    file = tmp_path / "train.py"
    file.write_text(
        "from cellmap_segmentation_challenge.models import ResNet, UNet_3D as U\n"
        "from cellmap_segmentation_challenge.utils import get_tested_classes, get_git_hash, nonsense\n"
        "import cellmap_segmentation_challenge as csc\n"
        "import math\n",
        encoding="utf-8",
    )
    lines = [
        "line 1: from csc_models import ResNet, UNet_3D as U",
        "line 2: from csc_data import get_tested_classes",
        "line 2: get_git_hash: run.json of a run has it",
        "line 2: nonsense: there is nothing of this name here",
        "line 3: import cellmap_segmentation_challenge: import what is used of it by name",
    ]
    assert list(answers(file)) == lines
    told = error_of(file)
    assert told is not None
    assert [line.strip() for line in told.splitlines()[1:]] == lines


def test_the_command_says_it_in_a_line_or_two_without_our_own(tmp_path, run):
    file = tmp_path / "train.py"
    file.write_text("classes = undefined\n", encoding="utf-8")
    result = run("train", str(file))
    assert result.exit_code == 1
    assert result.output == (
        f"Error: {file} raised NameError: name 'undefined' is not defined\n  train.py, line 1: classes = undefined\n"
    )
