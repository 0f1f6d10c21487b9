"""Predicting test crops: their output arrays, the record of finished blocks, and the run over them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from csc_data.blocks import BlockGrid, Existing, Ledger, prepare_output, run_blocks
from csc_data.challenge import TestCrop
from csc_data.config.user_config import Config
from csc_data.errors import ExistingOutputError, MissingDataError
from csc_data.formats.writing import open_array_for_writing
from csc_data.geometry import Grid
from csc_data.loader import RawSource
from csc_data.volumes import Volume, create_multiscale, open_volume
from csc_train.prediction.blocks import BlockPredictor, stored_values
from csc_train.prediction.predictor import Predictor
from csc_train.prediction.reading import Ahead, BlockReader
from csc_train.prediction.results import CropPrediction
from csc_train.prediction.tiling import Tiling


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPredictor:
    """Predicts one crop after the other.

    Attributes
    ----------
    predictor : Predictor
    tiling : Tiling
    fabric : Fabric
        Whose device computes.
    config : Config
        Where raw lies and predictions go.
    existing : {"resume", "refuse", "overwrite"}
        What to do with output that is there.
    """

    predictor: Predictor
    tiling: Tiling
    fabric: Fabric
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
        raw = _open_raw(crop, self.config)
        grid = Grid.covering(crop.grid.bounds, self.tiling.patch.target.scale)
        name = f"crop{crop.id}"
        folders = [
            self.config.path("predictions", dataset=crop.dataset, crop=name, class_name=class_name)
            for class_name in self.predictor.classes
        ]
        ledger = Ledger(folders[0].parent / f".{crop.dataset}-{name}.ledger", self._fingerprint(grid, raw))
        arrays = self._prepare(folders, ledger, grid)
        blocks = BlockGrid(shape=grid.shape, block_shape=self.tiling.block_shape)
        resumed = len(ledger.finished)
        reader = BlockReader(
            raw=RawSource(raw, crop.grid.bounds, grid.bounds.grow(self.tiling.reach_nm)),
            grid=grid,
            tiling=self.tiling,
            raw_range=self.predictor.raw_range,
            batch_size=self.predictor.settings.batch_size,
        )
        todo = [block for block in blocks if block.index not in ledger.finished]
        with Ahead(reader.batches_or_failures(todo)) as ahead:
            work = BlockPredictor(
                predictor=self.predictor,
                tiling=self.tiling,
                fabric=self.fabric,
                ahead=iter(ahead),
                reader=reader,
                arrays=arrays,
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

    def _prepare(self, folders: list[Path], ledger: Ledger, grid: Grid) -> list[Any]:
        """Create the output arrays, or open those of the run that is continued."""
        anew = prepare_output(ledger, self.existing)
        there = [folder for folder in folders if (folder / "s0" / ".zarray").exists()]
        if anew and there and self.existing != "overwrite":
            raise ExistingOutputError(
                f"{there[0]} holds an array of another program; overwrite it, or choose another place"
            )
        if not anew and ledger.finished:
            return [open_array_for_writing(folder / "s0") for folder in folders]
        # The record comes first: after a kill, arrays without a record would look like those of another program.
        ledger.start()
        return [
            create_multiscale(
                folder,
                grid,
                dtype=self.predictor.settings.stored_dtype,
                chunks=self.tiling.chunks,
                attributes=stored_values(self.predictor).to_attributes(),
                overwrite=True,
            )
            for folder in folders
        ]

    def _fingerprint(self, grid: Grid, raw: Volume) -> dict[str, Any]:
        """Return everything that the bytes of the output depend on."""
        predictor, tiling = self.predictor, self.tiling
        return {
            "checkpoint": predictor.identity,
            "classes": list(predictor.classes),
            "output": predictor.settings.output,
            "output_dtype": predictor.settings.stored_dtype,
            "precision": predictor.settings.precision,
            "raw": [list(level.grid.shape) for level in raw.levels],
            # How it is read: a run that was begun when it was read otherwise must not be gone on with.
            "reading": "RawSource 1",
            "raw_range": list(predictor.raw_range),
            "grid": [list(grid.voxel_size), list(grid.translation), list(grid.shape)],
            "input": tiling.patch.input.to_plain(),
            "target": tiling.patch.target.to_plain(),
            "halo": list(tiling.halo),
            "blocks": list(tiling.block_shape),
            "chunks": list(tiling.chunks),
            "batch_size": predictor.settings.batch_size,
        }


def _open_raw(crop: TestCrop, config: Config) -> Volume:
    path = config.path("raw", dataset=crop.dataset)
    try:
        return open_volume(path)
    except MissingDataError as error:
        raise MissingDataError(f"there is no raw data for it: {error}; fetch it, or give --data") from error
