"""Writes volumes with their coarser levels from a source, block by block; a run that was killed goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csc_data.blocks import Block, BlockGrid, Existing, Ledger, discard_record, prepare_output, run_blocks
from csc_data.blocks.runs import Progress
from csc_data.converting.sources.source import Source
from csc_data.converting.values import CHUNK, Encoder, reading_blocks
from csc_data.formats.writing import ensure_groups
from csc_data.geometry import Grid
from csc_data.storage.room import check_room
from csc_data.volumes.output import OutputStorage, create_output, open_output_array
from csc_data.volumes.pyramid import LevelBlock, Merging, level_grids

_CHUNKS = (CHUNK,) * 3
_LEVEL_BLOCK = (2 * CHUNK,) * 3
_COARSEST = 64  # voxels of the longest axis of the last level, at most
_PACKED = {"mean": 1, "most frequent": 10}  # annotations are packed about fifty times, images hardly


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePlan:
    """What is to be written of one source.

    Attributes
    ----------
    source : Source
    grid : Grid
        Of the finest level.
    encode : Encoder
        Gives an array for each folder.
    folders : tuple of Path
        The volumes.
    attributes : tuple of mapping
        Of each volume.
    merging : {"mean", "most frequent"}
        How coarser levels are made.
    groups : mapping of Path to mapping
        Groups above the volumes that get attributes.
    said : tuple of str
        What people should know.
    """

    source: Source
    grid: Grid
    encode: Encoder
    folders: tuple[Path, ...]
    attributes: tuple[Mapping[str, Any], ...]
    merging: Merging
    groups: Mapping[Path, Mapping[str, Any]]
    said: tuple[str, ...]

    @property
    def levels(self) -> list[Grid]:
        """The grids of all levels: halved until no axis has more than 64 voxels."""
        count = 1 + max(0, (max(self.grid.shape) - 1).bit_length() - _COARSEST.bit_length() + 1)
        return level_grids(self.grid, count)

    @property
    def bytes(self) -> int:
        """About how many bytes will be written, at most."""
        voxels = sum(level.size for level in self.levels)
        return len(self.folders) * voxels * self.encode.dtype.itemsize // _PACKED[self.merging]

    @property
    def blocks(self) -> BlockGrid:
        """The blocks of the finest level."""
        return reading_blocks(self.source)

    def ledgers(self) -> list[Ledger]:
        """Return the record of each level."""
        first = self.folders[0]
        name = hashlib.sha256(" ".join(folder.name for folder in self.folders).encode()).hexdigest()[:8]
        work = {
            "source": list(self.source.stamp),
            "values": repr(self.encode),
            "voxel_size": self.grid.voxel_size,
            "translation": self.grid.translation,
            "shape": self.grid.shape,
            "volumes": [folder.name for folder in self.folders],
        }
        return [
            Ledger(
                first.with_name(f".convert-{name}.s{number}.ledger"),
                {**work, "level": number},
                outputs=[folder / f"s{number}" for folder in self.folders],
            )
            for number in range(len(self.levels))
        ]

    def create(self, number: int) -> None:
        """Create a level, empty."""
        storage = OutputStorage(dtype=self.encode.dtype, chunks=_CHUNKS, level=3)
        for folder, attributes in zip(self.folders, self.attributes, strict=True):
            create_output(folder, self.levels[: number + 1], storage, attributes, first=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SourceBlock:
    """Writes a block of the finest level of all volumes of a plan."""

    plan: VolumePlan

    def __call__(self, block: Block) -> None:
        values = self.plan.encode(self.plan.source.read(block.write))
        for folder, stored in zip(self.plan.folders, values, strict=True):
            open_output_array(folder / "s0")[block.write] = stored


def write_volumes(plans: Sequence[VolumePlan], existing: Existing = "resume", progress: Progress | None = None) -> int:
    """Write what was planned: the finest levels from the sources, the others from these.

    Parameters
    ----------
    plans : sequence of VolumePlan
    existing : {"resume", "refuse", "overwrite"}
        What to do with volumes that are there; those of another source are never gone on with.
    progress : callable, optional
        Called with (blocks finished, all) of each plan's finest level.

    Returns
    -------
    int
        How many volumes were not finished before.

    Raises
    ------
    DiskFullError
        If there is no room, before anything is written.
    ExistingOutputError
        If there are volumes that must not be changed.
    MissingBlocksError
        If a block could not be read or written.
    """
    place, written = plans[0].folders[0].parent, 0
    for plan in plans if existing == "resume" else ():
        for ledger in plan.ledgers():
            ledger.read()  # so that nothing is written where one of them is of another source
    unbegun = [plan for plan in plans if existing == "overwrite" or not plan.ledgers()[0].path.exists()]
    check_room("the volumes take about", sum(plan.bytes for plan in unbegun), place, "or choose another place")
    for plan in plans:
        ledgers = plan.ledgers()
        if existing == "resume" and all(ledger.read() and ledger.is_complete for ledger in ledgers):
            continue
        written += len(plan.folders)
        prepare_output(ledgers[0], existing, lambda plan=plan: plan.create(0))  # type: ignore[misc]
        for number, ledger in enumerate(ledgers[1:], start=1):
            if existing == "overwrite":
                discard_record(ledger)
            prepare_output(ledger, "resume", lambda plan=plan, number=number: plan.create(number))  # type: ignore[misc]
        run_blocks(_SourceBlock(plan=plan), plan.blocks, ledger=ledgers[0], progress=progress)
        for number, ledger in enumerate(ledgers[1:], start=1):
            blocks = BlockGrid(shape=plan.levels[number].shape, block_shape=_LEVEL_BLOCK)
            run_blocks(LevelBlock(folders=plan.folders, number=number, merging=plan.merging), blocks, ledger=ledger)
        for folder, attributes in plan.groups.items():
            ensure_groups(folder, attributes)
    return written
