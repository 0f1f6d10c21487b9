"""Predicting test crops: their output arrays, the record of finished blocks, and the run over them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from csc_data.blocks import BlockGrid, Existing, Ledger, prepare_output, run_blocks
from csc_data.challenge import TestCrop
from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError
from csc_data.geometry import Grid, Shape, as_shape
from csc_data.volumes import Volume, open_volume
from csc_data.volumes.output import OutputStorage, create_output
from csc_data.volumes.stored_values import StoredValues
from csc_train.prediction.blocks import BlockJob, plan_block_shape, region_grid
from csc_train.prediction.results import CropPrediction
from csc_train.prediction.source import NetworkSource
from csc_train.prediction.window.tiling import Windows, windows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPredictor:
    """Predicts one crop after the other.

    Attributes
    ----------
    source : NetworkSource
    config : Config
        Where raw lies and predictions go.
    existing : {"resume", "refuse", "overwrite"}
        What to do with output that is there.
    """

    source: NetworkSource
    config: Config
    existing: Existing

    def predict(self, crop: TestCrop, progress: Callable[[int, int], None] | None = None) -> CropPrediction:
        """Predict all classes of a crop.

        The output lies on the grid of the targets that covers the crop from its first corner.

        Raises
        ------
        MissingDataError
            If there is no raw data for the crop.
        ExistingOutputError
            If there is output, and it must not be changed, or is that of another prediction.
        MissingBlocksError
            If a block could not be done.
        """
        started = time.perf_counter()
        predictor = self.source.load().predictor
        settings = predictor.settings
        windows = windows_of(predictor.patch, settings)
        raw = _open_raw(crop, self.config)
        grid = region_grid(crop.grid.bounds, windows.patch, raw)
        name = f"crop{crop.id}"
        folders = [
            self.config.path("predictions", dataset=crop.dataset, crop=name, class_name=class_name)
            for class_name in predictor.classes
        ]
        chunks = settings.output_chunks or as_shape([max(windows.step)] * 3 if windows.kept[0] == 1 else windows.step)
        blocks = BlockGrid(
            shape=grid.shape,
            block_shape=plan_block_shape(
                windows, classes=len(folders), itemsize=np.dtype(settings.stored_dtype).itemsize, chunks=chunks
            ),
        )
        ledger = Ledger(
            folders[0].parent / f".{crop.dataset}-{name}.ledger",
            self._fingerprint(grid, raw, windows, (blocks.block_shape, chunks)),
            outputs=folders,
        )
        self._prepare(folders, ledger, grid, chunks)
        resumed = len(ledger.finished)
        job = BlockJob(
            source=self.source,
            name=name,
            raw=raw,
            stored=crop.grid.bounds,
            windows=windows,
            grid=grid,
            output=grid,
            classes=predictor.classes,
            arrays=tuple(folder / "s0" for folder in folders),
        )
        run_blocks(job, blocks, ledger=ledger, progress=progress)
        return CropPrediction(
            crop=name,
            dataset=crop.dataset,
            folder=folders[0].parent,
            shape=grid.shape,
            blocks=len(blocks),
            resumed_blocks=resumed,
            seconds=time.perf_counter() - started,
        )

    def _prepare(self, folders: list[Path], ledger: Ledger, grid: Grid, chunks: Shape) -> None:
        """Create the output arrays, unless those of a run are continued."""
        settings = self.source.load().predictor.settings
        kind = "label" if settings.output == "mask" else settings.output
        meaning = StoredValues(kind=kind, one=255.0 if settings.stored_dtype == "uint8" and kind != "label" else 1.0)
        storage = OutputStorage(dtype=settings.stored_dtype, chunks=chunks)

        def create() -> None:
            for folder in folders:
                create_output(folder, [grid], storage, meaning.to_attributes())

        prepare_output(ledger, self.existing, create)

    def _fingerprint(self, grid: Grid, raw: Volume, windows: Windows, sizes: tuple[Shape, Shape]) -> dict[str, Any]:
        """Return everything that the bytes of the output depend on."""
        predictor = self.source.load().predictor
        settings = predictor.settings
        return {
            "checkpoint": predictor.identity,
            "classes": list(predictor.classes),
            "output": settings.output,
            "output_dtype": settings.stored_dtype,
            "precision": settings.precision,
            "raw": [list(level.grid.shape) for level in raw.levels],
            # How it is read: a run that was begun when it was read otherwise must not be gone on with.
            "reading": "RawSource 1",
            "raw_range": list(predictor.raw_range),
            "grid": [list(grid.voxel_size), list(grid.translation), list(grid.shape)],
            "input": windows.patch.input.to_plain(),
            "target": windows.patch.target.to_plain(),
            "halo": list(windows.halo),
            "overlap": windows.overlap,
            "blending": windows.blending,
            "orthoplanes": windows.orthoplanes,
            "tta": settings.tta,
            "blocks": list(sizes[0]),
            "chunks": list(sizes[1]),
            "batch_size": settings.batch_size,
        }


def _open_raw(crop: TestCrop, config: Config) -> Volume:
    path = config.path("raw", dataset=crop.dataset)
    try:
        return open_volume(path)
    except MissingDataError as error:
        raise MissingDataError(f"there is no raw data for it: {error}; fetch it, or give --data") from error
