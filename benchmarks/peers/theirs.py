"""nnU-Net's side: what it reads, its process, and its probabilities as our predictions."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from csc_cli.commands.demo.experiment import CLASSES
from csc_data.challenge.current_lists import load_test_crops
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow, read_datasplit
from csc_data.volumes import open_volume, write_multiscale
from csc_data.volumes.stored_values import StoredValues
from csc_train import TrainSettings
from peers.label_maps import RegionMaps, Unannotated, make_region_maps

NNUNET = "nnunetv2==2.8.1"
DATASET = "Dataset001_Demo"
PLANS = "nnUNetPlans"
CONFIGURATION = "3d_fullres"
WORKER = Path(__file__).with_name("nnunet_worker.py")


def write_inputs(data: Config, folder: Path, settings: TrainSettings, unannotated: Unannotated) -> None:
    """Write crops as arrays, and nnU-Net's dataset.json, plans and split, unless they are there.

    Training crops are given as they are annotated, at their own voxel size; test crops with raw around them, so that it
    sees as much there as anywhere else, as ours does.
    """
    if folder.exists():
        return
    rows = read_datasplit(data.path("datasplit"))
    regions = make_region_maps([_masks(row) for row in rows], CLASSES, unannotated, _atoms(rows))
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    preprocessed = part / "preprocessed" / DATASET
    preprocessed.mkdir(parents=True)
    for row, labels in zip(rows, regions.maps, strict=True):
        volume = open_volume(f"{row.labels}/{row.classes[0]}")
        _write_case(part / "cases" / row.crop, row.raw, volume.levels[0].grid, labels)
    # Its tiles overlap by half, so that no voxel inside a volume is nearer than a quarter to the border of all of them.
    reach = [n / 4 * v for n, v in zip(settings.input_array_info.shape, settings.input_array_info.scale, strict=True)]
    for crop in load_test_crops(data).values():
        raw = data.path("raw", dataset=crop.dataset)
        whole = open_volume(raw).levels[0].grid
        _, seen = whole.window_covering(crop.grid.bounds.grow(reach).intersect(whole.bounds))
        _write_case(part / "tests" / f"crop{crop.id}", raw, seen)
    split = {
        side: [row.crop for row in rows if row.usage == usage]
        for side, usage in (("train", "train"), ("val", "validate"))
    }
    for name, content in {
        "dataset": _dataset(regions, len(rows)),
        PLANS: _plans(settings),
        "splits_final": [split],
        "dataset_fingerprint": {},
    }.items():
        (preprocessed / f"{name}.json").write_text(json.dumps(content, indent=1), "utf-8")
    part.rename(folder)


def _masks(row: SplitRow) -> dict[str, Any]:
    return {name: np.asarray(open_volume(f"{row.labels}/{name}").levels[0].array[...]) for name in row.classes}


def _atoms(rows: tuple[SplitRow, ...]) -> frozenset[int]:
    """Return the atomic classes that the tissue has, by the arrays that hold them all."""
    found = (np.unique(np.asarray(open_volume(f"{row.labels}/all").levels[0].array[...])).tolist() for row in rows)
    return frozenset().union(*found) - {0}


def _write_case(file: Path, raw: str | Path, grid: Grid, labels: Any = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"raw": open_volume(raw).read(grid, order=1), "spacing": np.array(grid.voxel_size)}
    arrays["translation"] = np.array(grid.translation)
    if labels is not None:
        arrays["labels"] = labels
    np.savez(file, **arrays)


def _dataset(regions: RegionMaps, count: int) -> dict[str, Any]:
    labels: dict[str, Any] = {"background": 0, **regions.regions}
    if regions.ignore is not None:
        labels["ignore"] = regions.ignore
    return {
        "channel_names": {"0": "em"},
        "labels": labels,
        "regions_class_order": list(range(1, len(regions.regions) + 1)),  # for label maps, which nobody wants here
        "numTraining": count,
        "file_ending": ".nii.gz",
    }


def _plans(settings: TrainSettings) -> dict[str, Any]:
    """Return nnU-Net's plans with our voxel size, patch, batch and widths; the rest is what its planner writes.

    Its planner takes Dice over the whole batch where a patch is less than a quarter of a crop, as here.
    """
    shape, scale = list(settings.input_array_info.shape), [float(v) for v in settings.input_array_info.scale]
    depth = settings.model_kwargs["depth"]
    width = settings.model_kwargs.get("width", 16)
    resampling = {"order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": f"{PLANS}_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": settings.batch_size,
        "patch_size": shape,
        "median_image_size_in_voxels": shape,
        "spacing": scale,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **resampling},
        "batch_dice": True,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": depth,
                "features_per_stage": [width * 2**level for level in range(depth)],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3]] * depth,
                "strides": [[1, 1, 1], *[[2, 2, 2]] * (depth - 1)],
                "n_conv_per_stage": [2] * depth,
                "n_conv_per_stage_decoder": [1] * (depth - 1),  # as ours has; its planner takes 2
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "dataset_name": DATASET,
        "plans_name": PLANS,
        "original_median_spacing_after_transp": scale,
        "original_median_shape_after_transp": shape,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {CONFIGURATION: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
    }


def run_worker(folder: Path, **job: Any) -> dict[str, Any]:
    """Let nnU-Net do a job, in an environment of its own with our torch and numpy; return what it measured.

    Parameters
    ----------
    folder : Path
        Of `write_inputs`.
    **job : object
        What `nnunet_worker.py` is told, as JSON.
    """
    file = folder / "job.json"
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    job = {**job, "dataset": DATASET, "plans": PLANS, "configuration": CONFIGURATION, "report": str(report.resolve())}
    file.write_text(json.dumps(job, indent=1), "utf-8")
    requirements = (NNUNET, *(f"{name}=={version(name)}" for name in ("torch", "numpy")))
    environment = {
        **os.environ,
        # Augmentation in the training process, so that its seconds are counted there.
        "nnUNet_n_proc_DA": "0",
        **{f"nnUNet_{name}": str(folder.resolve() / name) for name in ("raw", "preprocessed", "results")},
    }
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        done = subprocess.run(
            [
                *("uv", "run", "--isolated", "--no-project", "--python", platform.python_version()),
                *(word for requirement in requirements for word in ("--with", requirement)),
                *("python", str(WORKER), str(file.resolve())),
            ],
            env=environment,
            check=False,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    if done.returncode:
        raise SystemExit(f"nnU-Net's process ended with {done.returncode}; {log.name} says why")
    result: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return result


def take_predictions(data: Config, own: Config, folder: Path) -> None:
    """Write nnU-Net's probabilities of the test crops where our predictions lie, at the voxel size of the crops."""
    for crop in load_test_crops(data).values():
        name, grid = f"crop{crop.id}", crop.grid
        with np.load(folder / "tests" / f"{name}.npz") as case:
            begin = np.rint((np.array(grid.translation) - case["translation"]) / case["spacing"]).astype(int)
        box = tuple(slice(b, b + n) for b, n in zip(begin, grid.shape, strict=True))
        probabilities = np.load(folder / "predictions" / f"{name}.npy", mmap_mode="r")
        for class_name, values in zip(CLASSES, probabilities, strict=True):
            write_multiscale(
                own.path("predictions", dataset=crop.dataset, crop=name, class_name=class_name),
                [np.ascontiguousarray(values[box])],
                [grid],
                attributes=StoredValues(kind="probability").to_attributes(),
                overwrite=True,
            )
