"""Predicting one test crop: its output arrays, the record of finished blocks, and the run over them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from csc_data.blocks import BlockGrid, Existing, Ledger, prepare_output, run_blocks
from csc_data.challenge import TestCrop
from csc_data.config.user_config import Config
from csc_data.errors import ExistingOutputError, MissingDataError
from csc_data.formats.writing import open_array_for_writing
from csc_data.geometry import Grid
from csc_data.loader import VolumeCache
from csc_data.volumes import Volume, create_multiscale, open_volume
from csc_train.prediction.blocks import BlockPredictor, stored_values
from csc_train.prediction.reading import Ahead, BlockReader
from csc_train.prediction.results import CropPrediction
from csc_train.prediction.source import Predictor
from csc_train.prediction.tiling import Tiling


def predict_crop(
    crop: TestCrop,
    predictor: Predictor,
    tiling: Tiling,
    fabric: Fabric,
    *,
    config: Config,
    existing: Existing,
    progress: Callable[[int, int], None] | None,
) -> CropPrediction:
    """Predict all classes of a crop.

    The output lies on the grid of the targets that covers the crop from its first corner.

    Raises
    ------
    MissingDataError
        If there is no raw data for the crop.
    ExistingOutputError
        If output is there, and it is not to be resumed or overwritten, or is of another prediction.
    MissingBlocksError
        If a block could not be done.
    """
    started = time.perf_counter()
    raw = _open_raw(crop, config)
    grid = Grid.covering(crop.grid.bounds, tiling.patch.target.scale)
    name = f"crop{crop.id}"
    folders = [
        config.path("predictions", dataset=crop.dataset, crop=name, class_name=class_name)
        for class_name in predictor.classes
    ]
    fingerprint = _fingerprint(predictor, tiling, grid, raw)
    ledger = Ledger(folders[0].parent / f".{crop.dataset}-{name}.ledger", fingerprint)
    arrays = _prepare(folders, ledger, existing, grid, tiling, predictor)
    blocks = BlockGrid(shape=grid.shape, block_shape=tiling.block_shape)
    resumed = len(ledger.finished)
    reader = BlockReader(
        raw=raw,
        grid=grid,
        tiling=tiling,
        raw_range=predictor.raw_range,
        batch_size=predictor.options.batch_size,
        cache=VolumeCache(),
    )
    todo = [block for block in blocks if block.index not in ledger.finished]
    with Ahead(reader.batches_or_failures(todo)) as ahead:
        work = BlockPredictor(
            predictor=predictor, tiling=tiling, fabric=fabric, ahead=iter(ahead), reader=reader, arrays=arrays
        )
        run_blocks(work, blocks, ledger=ledger, progress=progress)
    return CropPrediction(
        crop=name,
        dataset=crop.dataset,
        folder=folders[0].parent,
        shape=grid.shape,
        blocks=len(blocks),
        resumed_blocks=resumed,
        seconds=time.perf_counter() - started,
    )


def _open_raw(crop: TestCrop, config: Config) -> Volume:
    path = config.path("raw", dataset=crop.dataset)
    try:
        return open_volume(path)
    except MissingDataError as error:
        raise MissingDataError(f"there is no raw data for it: {error}; fetch it, or give --data") from error


def _prepare(
    folders: list[Path],
    ledger: Ledger,
    existing: Existing,
    grid: Grid,
    tiling: Tiling,
    predictor: Predictor,
) -> list[Any]:
    """Create the output arrays, or open those of a run that is gone on with."""
    anew = prepare_output(ledger, existing)
    there = [folder for folder in folders if (folder / "s0" / ".zarray").exists()]
    if anew and there and existing != "overwrite":
        raise ExistingOutputError(
            f"{there[0]} holds an array that this did not write; overwrite it, or choose another place"
        )
    if not anew and ledger.finished:
        return [open_array_for_writing(folder / "s0") for folder in folders]
    # The record comes first: arrays without one would look like somebody else's after a kill.
    ledger.start()
    return [
        create_multiscale(
            folder,
            grid,
            dtype=predictor.options.stored_dtype,
            chunks=tiling.chunks,
            attributes=stored_values(predictor).to_attributes(),
            overwrite=True,
        )
        for folder in folders
    ]


def _fingerprint(predictor: Predictor, tiling: Tiling, grid: Grid, raw: Volume) -> dict[str, Any]:
    """Return everything that the bytes of the output depend on."""
    return {
        "checkpoint": predictor.identity,
        "classes": list(predictor.classes),
        "output": predictor.options.output,
        "output_dtype": predictor.options.stored_dtype,
        "precision": predictor.options.precision,
        "raw": [list(level.grid.shape) for level in raw.levels],
        "raw_range": list(predictor.raw_range),
        "grid": [list(grid.voxel_size), list(grid.translation), list(grid.shape)],
        "input": tiling.patch.input.to_plain(),
        "target": tiling.patch.target.to_plain(),
        "halo": list(tiling.halo),
        "blocks": list(tiling.block_shape),
        "chunks": list(tiling.chunks),
        "batch_size": predictor.options.batch_size,
    }
