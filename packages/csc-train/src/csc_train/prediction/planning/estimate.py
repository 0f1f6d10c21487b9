"""What a prediction will take: passes through the network, voxels, disk, and, once some blocks are done, time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csc_data.geometry import Shape
from csc_data.storage.room import check_room, free_bytes
from csc_data.wording import format_bytes, plural, table

_MEASURED_BLOCKS = 3
_MEASURED_SECONDS = 2.0  # the first blocks also warm up


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionEstimate:
    """What one region takes.

    Attributes
    ----------
    label : str
        Its data set and name.
    classes : tuple of str
        The arrays that are written: of classes, and of what lies beside them.
    shape : tuple of int
        Voxels of each array.
    passes, passes_left : int
        Patches that go through the network, those of all orientations and checkpoints; and those that still are to.
    blocks, done_blocks : int
        Blocks in all, and those that an earlier run finished.
    bytes, bytes_left : int
        Of all arrays and levels, not compressed; and those that still are to be written.
    files : int
        Of all arrays and levels, at most.
    inside : float
        Share of the region that lies within the raw data; the rest is predicted from its mirror image.

    Examples
    --------
    >>> region = RegionEstimate(
    ...     label="mine/crop1", classes=("er",), shape=(64, 64, 64), passes=8, passes_left=4, blocks=2, done_blocks=1,
    ...     bytes=262144, bytes_left=131072, files=1,
    ... )
    >>> region.row()
    ('mine/crop1', '64x64x64', '1', '8', '2', '1', '262.1 kB', '1', '')
    """

    label: str
    classes: tuple[str, ...]
    shape: Shape
    passes: int
    passes_left: int
    blocks: int
    done_blocks: int = 0
    bytes: int
    bytes_left: int
    files: int
    inside: float = 1.0

    @property
    def share_left(self) -> float:
        """Share of the blocks that are still to be done."""
        return 1 - self.done_blocks / self.blocks if self.blocks else 0.0

    def row(self) -> Sequence[object]:
        """Return its row of the table."""
        done = f"{self.done_blocks:,}" if self.done_blocks else "-"
        size = "x".join(map(str, self.shape))
        inside = "" if self.inside > 0.9995 else f"{self.inside:.1%} of it within raw, the rest mirrored"
        counts = (f"{len(self.classes):,}", f"{self.passes:,}", f"{self.blocks:,}", done)
        return self.label, size, *counts, format_bytes(self.bytes), f"{self.files:,}", inside


HEADERS = ("crop", "voxels", "arrays", "passes", "blocks", "done", "disk at most", "files", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictEstimate:
    """What all regions take.

    Attributes
    ----------
    regions : tuple of RegionEstimate
    place : Path
        Where the output goes.

    Examples
    --------
    >>> from pathlib import Path
    >>> region = RegionEstimate(
    ...     label="mine/crop1", classes=("er",), shape=(64, 64, 64), passes=8, passes_left=8, blocks=2, bytes=262144,
    ...     bytes_left=262144, files=1,
    ... )
    >>> estimate = PredictEstimate(regions=(region,), place=Path.cwd())
    >>> estimate.check_room()
    >>> estimate.lines()[-1].partition(";")[0]
    'to do: 8 passes through the network'
    """

    regions: tuple[RegionEstimate, ...]
    place: Path

    @property
    def bytes(self) -> int:
        """What is still to be written, not compressed."""
        return sum(region.bytes_left for region in self.regions)

    @property
    def passes(self) -> int:
        """Patches that are still to go through the network."""
        return sum(region.passes_left for region in self.regions)

    def lines(self) -> list[str]:
        """Return a table for people, and what all of it comes to; nothing where there is no region."""
        if not self.regions:
            return []
        return [
            *table(HEADERS, [region.row() for region in self.regions], indent="  ").splitlines(),
            f"to do: {plural(self.passes, 'pass')} through the network; {format_bytes(self.bytes)} on the disk before "
            f"compression, {format_bytes(free_bytes(self.place))} free at {self.place}",
        ]

    def check_room(self) -> None:
        """Check that all of it fits on the disk, even if nothing could be compressed.

        Raises
        ------
        DiskFullError
            With both sizes.
        """
        remedy = "predict fewer crops or classes at a time, or use output_grid = 'crop'"
        check_room("what is to be predicted takes up to", self.bytes, self.place, remedy)


class TimeLeft:
    """Tells how far a run is, and how long it still takes, from the blocks that it has done.

    Parameters
    ----------
    estimate : PredictEstimate

    Examples
    --------
    >>> from pathlib import Path
    >>> region = RegionEstimate(
    ...     label="mine/crop1", classes=("er",), shape=(64, 64, 64), passes=8, passes_left=8, blocks=2, bytes=262144,
    ...     bytes_left=262144, files=1,
    ... )
    >>> left = TimeLeft(PredictEstimate(regions=(region,), place=Path.cwd()))
    >>> left.take(0, 1)
    >>> left.done, left.blocks, left.seconds()  # it is too early to tell
    (1, 2, None)
    """

    def __init__(self, estimate: PredictEstimate) -> None:
        self._regions = estimate.regions
        self._began = [region.done_blocks for region in estimate.regions]
        self._now = list(self._began)
        self._started: float | None = None

    def take(self, number: int, done: int) -> None:
        """Take up how many blocks of a region are done; asked about before the first block is done."""
        self._started = time.monotonic() if self._started is None else self._started
        self._now[number] = done

    @property
    def done(self) -> int:
        """Blocks of all regions that are done."""
        return sum(self._now)

    @property
    def blocks(self) -> int:
        """Blocks of all regions."""
        return sum(region.blocks for region in self._regions)

    def seconds(self) -> float | None:
        """Return the seconds that are left; None if it is too early."""
        if self._started is None:
            return None
        seconds = time.monotonic() - self._started
        of_block = [region.passes / max(region.blocks, 1) for region in self._regions]
        passes = sum(each * (now - began) for each, now, began in zip(of_block, self._now, self._began, strict=True))
        blocks = self.done - sum(self._began)
        if blocks < _MEASURED_BLOCKS or seconds < _MEASURED_SECONDS or not passes:
            return None
        still = sum(region.passes for region in self._regions) - passes
        still -= sum(each * began for each, began in zip(of_block, self._began, strict=True))
        return still * seconds / passes
