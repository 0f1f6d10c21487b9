"""Compiling all loops ahead, so that no training waits for it: when an image is built, or on a cluster's login node."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from csc_data.geometry import Grid
from csc_data.loader.code_cache import code_folders
from csc_data.loader.dataloader import get_dataloader
from csc_data.loader.intensity.transforms import ORDER
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.volumes import write_multiscale

_LENGTH = 32
_CLASSES = ["mito", "er"]
_TURNED = {"rotate": {"axes": {"z": [-180, 180], "x": 20}}}
_POSES: tuple[Mapping[str, Any], ...] = (
    {},
    _TURNED,
    {**_TURNED, "scale": {"axes": {"x": [0.8, 1.25]}}, "elastic": {"spacing_nm": 64, "amplitude_nm": 8}},
)
_TARGETS: tuple[Mapping[str, Any], ...] = (
    {"output": "binary"},
    {"output": "signed_distance", "borders": "boundaries", "affinities": "affinities"},
)


def compile_all() -> Path | None:
    """Compile every loop that training usually needs, and keep the code for later processes.

    It reads small volumes with all transforms and targets, so it takes as long as the first batches would, about half
    a minute. What is compiled holds for processors like the one that does it, unless NUMBA_CPU_NAME and
    NUMBA_CPU_FEATURES, which may be empty, say for which.

    Returns
    -------
    Path or None
        The folder in which the code is kept; None if none can be written to.

    Examples
    --------
    In a Dockerfile, as the user who may write to the package::

        RUN python -c "import csc_data.loader as loader; loader.compile_all()"
    """
    with tempfile.TemporaryDirectory() as folder:
        for raw, labels in (("uint8", "uint8"), ("uint8", "uint16"), ("uint16", "uint64")):
            datasplit = _write_crops(Path(folder) / f"{raw}-{labels}", raw, labels)
            for targets in _TARGETS:
                for pose in _POSES:
                    _read_batches(datasplit, pose, targets)
    _, kept = code_folders()
    return None if kept is None else kept.path


def _read_batches(datasplit: Path, pose: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
    loaders = get_dataloader(
        datasplit,
        _CLASSES,
        input_array_info={"shape": (_LENGTH // 2,) * 3, "scale": (8, 8, 8)},
        spatial_transforms=pose,
        intensity_transforms={kind.name: {"probability": 1} for kind in ORDER},
        targets=targets,
        iterations_per_epoch=2,
        validation_batch_limit=1,
        batch_size=1,
    )
    for loader in (loaders.train, loaders.validation):
        for _ in loader or ():
            pass


def _write_crops(folder: Path, raw: str, labels: str) -> Path:
    """Write a crop for training and one for validation, and the datasplit."""
    grid = Grid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=(_LENGTH,) * 3)
    random = np.random.default_rng(0)
    volume = folder / "x.zarr"
    write_multiscale(volume / "raw", [random.integers(0, 255, grid.shape).astype(raw)], [grid])
    rows = []
    for usage in ("train", "validate"):
        for name in _CLASSES:
            write_multiscale(volume / usage / name, [random.integers(0, 2, grid.shape).astype(labels)], [grid])
        place = str(volume / usage)
        rows.append(SplitRow(usage=usage, raw=str(volume / "raw"), labels=place, classes=tuple(_CLASSES)))
    write_datasplit(folder / "datasplit.csv", rows)
    return folder / "datasplit.csv"
