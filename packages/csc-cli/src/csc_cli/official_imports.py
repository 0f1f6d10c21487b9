"""What a file imports of the official toolbox, and what gives the same here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

OFFICIAL = "cellmap_segmentation_challenge"

HERE = {
    "csc_train": ("predict", "train"),
    "csc_train.objectives": ("CellMapLossWrapper",),
    "csc_submit": (
        "load_safe_config",
        "package_submission",
        "process",
        "save_numpy_binary_to_zarr",
        "save_numpy_class_arrays_to_zarr",
        "save_numpy_class_labels_to_zarr",
        "save_numpy_labels_to_zarr",
        "zip_submission",
    ),
    "csc_eval": ("match_crop_space", "match_instances", "score_semantic", "score_submission"),
    "csc_models": ("ResNet", "UNet_2D", "UNet_3D", "ViTVNet"),
    "csc_models.checkpoint": ("load_best_val", "load_latest"),
    "csc_data": (
        "get_class_relations",
        "get_dataset_counts",
        "get_test_crops",
        "get_tested_classes",
        "make_datasplit_csv",
        "make_s3_datasplit_csv",
    ),
    "csc_data.challenge": ("TEST_CROPS", "TEST_CROPS_DICT", "TestCropRow", "get_test_crop_labels"),
    "csc_data.loader": ("get_dataloader",),
}
"""Names that are the same here, by the module that has them."""

INSTEAD = {
    "BASE_DATA_PATH": "the data folder is `csc config`'s, CSC_DATA or --data: csc_data.load_config().root",
    "CROP_NAME": "the setting `labels` of `csc config`",
    "CropRow": "csc_data.challenge.TrainingCrop",
    "EvaluationConfig": "arguments of csc_eval.score_submission; the limits stand in csc_eval.Rules",
    "GT_S3_BUCKET": "the setting `bucket` of `csc config`",
    "INSTANCE_CLASSES": "csc_data.challenge.get_instance_classes()",
    "MatchedCrop": "csc_eval.match_crop_space",
    "MatchingFailedError": "matching here does not fail",
    "PREDICTIONS_PATH": "the setting `predictions` of `csc config`",
    "PROCESSED_PATH": "the setting `processed` of `csc config`",
    "RAW_NAME": "the setting `raw` of `csc config`",
    "RAW_S3_BUCKET": "the setting `bucket` of `csc config`",
    "REPO_ROOT": "paths are below the working folder, or base_experiment_path",
    "S3_CROP_NAME": "the setting `labels` of `csc config`",
    "S3_RAW_NAME": "the setting `raw` of `csc config`",
    "S3_SEARCH_PATH": "the settings `raw` and `labels` of `csc config`",
    "SEARCH_PATH": "the settings `raw` and `labels` of `csc config`",
    "SEARCH_PATHS": "the settings of `csc config`; `csc visualize` finds what there is",
    "SUBMISSION_PATH": "the setting `submission` of `csc config`",
    "TRUTH_PATH": "the setting `ground_truth` of `csc config`",
    "TooManyInstancesError": "such a label has the status skipped_too_many_instances",
    "TooManyOverlapEdgesError": "such a label has the status skipped_too_many_instances",
    "VIS_SEARCH_PATHS": "the settings of `csc config`; `csc visualize` finds what there is",
    "add_layers": "csc_data.view.open_layer for each layer, then csc_data.view.show",
    "analyze_script": "an experiment that must not run code is written as TOML",
    "construct_test_crop_manifest": "`csc classes --refresh` reads the organisers' lists",
    "construct_truth_dataset": "csc_eval.scoring.validation_truth.build_validation_truth",
    "download_file": "`csc fetch-data`",
    "empty_label_score": "a label that is missing is scored so by csc_eval.score_submission",
    "eval_batch": "`csc batch-eval`",
    "extract_from_template": "csc_data.config.templates.match",
    "fetch_crop_manifest": "csc_data.challenge.get_training_crops",
    "fetch_test_crop_manifest": "csc_data.get_test_crops",
    "format_string": "csc_data.config.templates.fill",
    "get_best_val_epoch": "csc_models.checkpoint.load_best_val",
    "get_data_from_batch": "batches are mappings: batch['input'], batch['output']",
    "get_formatted_fields": "csc_data.config.templates.match",
    "get_git_hash": "run.json of a run has it",
    "get_latest_checkpoint_epoch": "csc_models.checkpoint.load_latest",
    "get_layer": "csc_data.view.open_layer",
    "get_model": "csc_models.create_model",
    "get_result_file": "`csc batch-eval`",
    "get_singleton_dim": "networks with two axes get planes without one",
    "monitor_jobs": "`csc batch-eval --cluster`",
    "newest_wildcard_path": "csc_models.checkpoint.load_latest",
    "package_results": "csc_submit.package_submission",
    "perturb_instance_mask": "numpy: csc_eval needs no perturbed masks",
    "score_instance": "csc_eval.score_instances",
    "score_label": "csc_eval.score_crop",
    "squeeze_singleton_dim": "networks with two axes get planes without one",
    "structure_model_output": "the setting `further_targets` names several outputs",
    "unsqueeze_singleton_dim": "networks with two axes get planes without one",
    "visualize": "`csc visualize`, or csc_data.view",
}
"""Names that are not here, and what does what they do."""


def answers(file: Path) -> Iterator[str]:
    r"""Yield a line for each import of the official toolbox in a Python file: our import, or what does the same.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "config.py")
    ...     _ = file.write_text("from cellmap_segmentation_challenge.utils import load_safe_config\n")
    ...     print(*answers(file), sep="\n")
    line 1: from csc_submit import load_safe_config
    """
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_official(alias.name):
                    yield f"line {node.lineno}: import {alias.name}: import what is used of it by name"
        elif isinstance(node, ast.ImportFrom) and node.module and _is_official(node.module):
            yield from _of_names(node)


def _is_official(module: str) -> bool:
    return module.partition(".")[0] == OFFICIAL


def _of_names(node: ast.ImportFrom) -> Iterator[str]:
    left = {alias.name: alias.asname for alias in node.names}
    for module, known in HERE.items():
        found = [f"{name} as {left.pop(name)}" if left[name] else name for name in known if name in left]
        left = {name: other for name, other in left.items() if name not in known}
        if found:
            yield f"line {node.lineno}: from {module} import {', '.join(found)}"
    for name in left:
        yield f"line {node.lineno}: {name}: {INSTEAD.get(name, 'there is nothing of this name here')}"
