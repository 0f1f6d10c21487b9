"""Where predictions go: folders, grids and levels, and the records by which runs go on.

Each crop's folder holds a record for every set of classes that were begun together. So classes can be added later, also
those of another network, and what is finished stays.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from csc_data.blocks import (
    BlockGrid,
    BlockRun,
    Existing,
    Ledger,
    Progress,
    align_block_shape,
    discard_record,
    prepare_output,
)
from csc_data.config.user_config import Config
from csc_data.errors import ExistingOutputError, InvalidArgumentError, UnreadableDataError
from csc_data.geometry import Grid, Shape, as_shape
from csc_data.storage.atomic import replace_text
from csc_data.volumes.output import OutputStorage, create_output
from csc_data.volumes.pyramid import LevelBlock, Merging, level_grids
from csc_data.volumes.stored_values import StoredValues
from csc_train.prediction.blocks import BlockJob
from csc_train.prediction.planning.regions import PredictRegion

_OF_CLASSES = ("classes", "blocks")
"""What differs between the records of one crop."""

_BY = " (-o), or an experiment with a folder of its own (-e)"
_LEVEL_BLOCK = 128
_LEVEL = re.compile(r"\.s\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How the output of a region is stored, whichever classes it holds.

    Attributes
    ----------
    grid : Grid
        Of the finest level.
    scales : int
        Levels that are asked for.
    storage : OutputStorage
    attributes : mapping
        Of each array: what it was made with.
    meanings : mapping of str to StoredValues
        What the values of each array mean.
    fingerprint : mapping
        All that the bytes depend on, but for classes and blocks.
    is_mask : bool
        Whether values are 0 and 1.
    """

    grid: Grid
    scales: int
    storage: OutputStorage
    attributes: Mapping[str, Any]
    meanings: Mapping[str, StoredValues]
    fingerprint: Mapping[str, Any]
    is_mask: bool

    @property
    def levels(self) -> list[Grid]:
        """The grids of all levels, finest first."""
        return level_grids(self.grid, self.scales)

    def bytes(self, classes: int) -> int:
        """Return the bytes of so many classes, not compressed."""
        return classes * np.dtype(self.storage.dtype).itemsize * sum(level.size for level in self.levels)

    def files(self, classes: int) -> int:
        """Return how many files so many classes have at most."""
        return classes * sum(self.storage.count_files(level.shape) for level in self.levels)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassGroup:
    """Classes of a region that are predicted together, and the record of their blocks.

    Attributes
    ----------
    classes : tuple of str
    folders : tuple of Path
        One for each class.
    ledger : Ledger
    output : Output
    block_shape : tuple of int
        Voxels that are predicted at a time.
    """

    classes: tuple[str, ...]
    folders: tuple[Path, ...]
    ledger: Ledger
    output: Output
    block_shape: Shape

    @property
    def blocks(self) -> BlockGrid:
        """The blocks of the finest level."""
        return BlockGrid(shape=self.output.grid.shape, block_shape=self.block_shape)

    @property
    def arrays(self) -> tuple[Path, ...]:
        """The arrays of the finest level."""
        return tuple(folder / "s0" for folder in self.folders)

    def prepare(self, existing: Existing) -> None:
        """Create what is not there yet, and begin or read its records.

        Raises
        ------
        ExistingOutputError
            If there is output, and it must not be changed, or is that of another prediction.
        """
        prepare_output(self.ledger, existing, lambda: self._create(0))
        for number, ledger in enumerate(self._level_ledgers(), start=1):
            if existing == "overwrite":
                discard_record(ledger)
            prepare_output(ledger, "resume", lambda number=number: self._create(number))  # type: ignore[misc]

    def runs(self, work: BlockJob, progress: Progress | None = None) -> Iterator[BlockRun]:
        """Yield what is to be done: the blocks, then the coarser levels, each made from the one before."""
        together = self.output.storage.together(self.output.grid.shape)
        yield BlockRun(work=work, grid=self.blocks, ledger=self.ledger, together=together, progress=progress)
        merging: Merging = "majority" if self.output.is_mask else "mean"
        for number, ledger in enumerate(self._level_ledgers(), start=1):
            blocks = self._level_blocks(number)
            together = self.output.storage.together(blocks.shape)
            level = LevelBlock(folders=self.folders, number=number, merging=merging)
            yield BlockRun(work=level, grid=blocks, ledger=ledger, together=together)

    def _create(self, number: int) -> None:
        output = self.output
        grids = output.levels[: number + 1]
        for name, folder in zip(self.classes, self.folders, strict=True):
            attributes = {**output.meanings[name].to_attributes(), **output.attributes}
            create_output(folder, grids, output.storage, attributes, first=number)

    def _level_ledgers(self) -> list[Ledger]:
        return [
            Ledger(
                self.ledger.path.with_name(f"{self.ledger.path.stem}.s{number}.ledger"),
                {
                    "classes": list(self.classes),
                    "level": number,
                    "blocks": list(self._level_blocks(number).block_shape),
                },
                outputs=[folder / f"s{number}" for folder in self.folders],
            )
            for number in range(1, len(self.output.levels))
        ]

    def _level_blocks(self, number: int) -> BlockGrid:
        shape = self.output.levels[number].shape
        block_shape = align_block_shape([_LEVEL_BLOCK] * 3, self.output.storage.chunks)
        return BlockGrid(shape=shape, block_shape=self.output.storage.fit_block(block_shape, shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFolders:
    """The folders and records of one region.

    Attributes
    ----------
    region : PredictRegion
    config : Config
        Its template says where predictions go.
    """

    region: PredictRegion
    config: Config

    def of(self, class_name: str) -> Path:
        """Return the folder of a class.

        Raises
        ------
        InvalidArgumentError
            If the template does not keep the classes of a crop together.
        """
        region = self.region
        path = self.config.path("predictions", dataset=region.dataset, crop=region.name, class_name=class_name)
        if path.name != class_name:
            raise InvalidArgumentError(
                f"the template of predictions, {self.config.predictions!r}, must end in /{{class_name}}: the record of "
                "a run lies beside the classes of a crop"
            )
        return path

    def records(self) -> list[tuple[Path, tuple[str, ...]]]:
        """Return the records that are there, that of an earlier version too, and the classes of each.

        Raises
        ------
        UnreadableDataError
            If one is damaged.
        """
        paths = sorted(self.of("x").parent.glob(f"{self._stem}-*.ledger"))
        earlier = [self.earlier_record] if self.earlier_record.exists() else []
        wanted = [*earlier, *(path for path in paths if not _LEVEL.search(path.stem))]
        return [(path, tuple(_recorded(path, "classes"))) for path in wanted]

    @property
    def earlier_record(self) -> Path:
        """Where earlier versions kept the one record of all classes."""
        return self.of("x").with_name(f"{self._stem}.ledger")

    def begun_blocks(self, classes: Sequence[str]) -> Shape | None:
        """Return the shape of the blocks with which some classes were begun; None where they were not.

        Raises
        ------
        UnreadableDataError
            If their record is damaged.
        """
        path = self.path_of_record(classes)
        return as_shape(_recorded(path, "blocks")) if path.exists() else None

    def path_of_record(self, classes: Sequence[str]) -> Path:
        """Return where the record of some classes lies, or would lie."""
        digest = hashlib.sha256(" ".join(classes).encode()).hexdigest()[:8]
        return self.of("x").with_name(f"{self._stem}-{digest}.ledger")

    @property
    def _stem(self) -> str:
        return f".{self.region.dataset}-{self.region.name}"

    def free(self, classes: Sequence[str]) -> None:
        """Take classes that are to be overwritten out of the records of others.

        Raises
        ------
        ExistingOutputError
            If they were begun together with others, and these are not finished.
        """
        for path, recorded in self.records():
            kept = tuple(name for name in recorded if name not in classes)
            if kept == recorded or path == self.path_of_record(classes):
                continue
            for file in [*path.parent.glob(f"{path.stem}.s*.ledger"), path]:
                if kept:
                    self._rename(file, path, kept)
                else:
                    discard_record(Ledger(file, {}))
                file.unlink(missing_ok=True)

    def _rename(self, file: Path, record: Path, kept: tuple[str, ...]) -> None:
        """Write the record of some classes as that of those that are kept."""
        first, *lines = file.read_text(encoding="utf-8").split("\n")
        if lines[-2:] != ["complete", ""]:
            raise ExistingOutputError(
                f"{record.parent}: {', '.join(kept)} were begun together with what is to be overwritten, and are not "
                "finished; run that again first, or overwrite these, too"
            )
        other = self.path_of_record(kept)
        name = file.name.replace(record.stem, other.stem)
        replace_text(other.with_name(name), "\n".join([json.dumps({**json.loads(first), "classes": kept}), *lines]))


def _recorded(path: Path, name: str) -> list[Any]:
    """Return a list that stands in the first line of a record."""
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline()
    try:
        return list(json.loads(line)[name])
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableDataError(f"{path} is damaged: {error}; overwrite the output to start anew") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Sorts classes into those that earlier runs began, and those that are new.

    Attributes
    ----------
    folders : OutputFolders
    output : Output
    block_shape : callable
        From the number of classes to the voxels that are predicted at a time.
    existing : {"resume", "refuse", "overwrite"}
        What to do with output that is there.
    """

    folders: OutputFolders
    output: Output
    block_shape: Any
    existing: Existing

    def groups(self, classes: tuple[str, ...]) -> list[ClassGroup]:
        """Return the groups that have these classes; those of earlier runs as they were begun, maybe with others.

        Raises
        ------
        ExistingOutputError
            If there is output, and it must not be changed, or is that of another prediction.
        """
        began: list[tuple[str, ...]] = []
        if self.existing == "refuse":
            there = next((name for name in classes if self.folders.of(name).exists()), None)
            if there is not None:
                raise ExistingOutputError(
                    f"{self.folders.of(there)} holds output; resume or overwrite it, or choose another place{_BY}"
                )
        elif self.existing == "resume":
            records = [(path, recorded) for path, recorded in self.folders.records() if set(recorded) & set(classes)]
            if any(path == self.folders.earlier_record for path, _ in records):
                raise ExistingOutputError(
                    f"{self.folders.earlier_record.parent} holds output of an earlier version, which this one cannot "
                    "go on with; overwrite it, or choose another place"
                )
            began = [recorded for _, recorded in records]
        known = {name for recorded in began for name in recorded}
        new = tuple(name for name in classes if name not in known)
        groups = [self._group(each) for each in (*began, *((new,) if new else ()))]
        if self.existing == "resume":
            for group in groups:
                try:
                    group.ledger.read()
                except ExistingOutputError as error:
                    raise ExistingOutputError(f"{error}{_BY}") from error
        return groups

    def _group(self, classes: tuple[str, ...]) -> ClassGroup:
        # A run goes on with its blocks, also with other workers and less memory.
        began = self.folders.begun_blocks(classes) if self.existing == "resume" else None
        block_shape = began or self.block_shape(len(classes))
        folders = tuple(self.folders.of(name) for name in classes)
        fingerprint = {**self.output.fingerprint, "classes": list(classes), "blocks": list(block_shape)}
        return ClassGroup(
            classes=classes,
            folders=folders,
            ledger=Ledger(self.folders.path_of_record(classes), fingerprint, outputs=folders),
            output=self.output,
            block_shape=block_shape,
        )
