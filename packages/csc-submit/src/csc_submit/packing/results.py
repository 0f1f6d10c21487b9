"""What packing did, array by array."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PackStatus = Literal["packed", "there", "empty", "missing", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedArray:
    """What became of one class of one test crop.

    Attributes
    ----------
    crop : str
        For example ``crop557``.
    status : {"packed", "there", "empty", "missing", "failed"}
        ``there``: an earlier run had packed it. ``empty``: it is in the submission, and all of it is 0. ``missing``:
        the test crop wants it, and it does not exist.
    source : str
        Where it came from.
    voxels : int
        How many voxels are not 0.
    instances : int or None
        How many ids; None for semantic classes.
    covered : float
        Share of the test crop that the source covers, from 0 to 1; the rest is 0.
    reason : str
        Why it failed or is missing.
    """

    dataset: str
    crop: str
    class_name: str
    status: PackStatus
    source: str = ""
    voxels: int = 0
    instances: int | None = None
    covered: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackResult:
    """What a run of `pack_results` did.

    Attributes
    ----------
    rows : tuple of PackedArray
        One a class and test crop.
    destination : Path
        The zarr folder.
    archive : Path or None
        The zip.
    """

    rows: tuple[PackedArray, ...]
    destination: Path
    archive: Path | None

    def _of(self, *statuses: PackStatus) -> tuple[PackedArray, ...]:
        return tuple(row for row in self.rows if row.status in statuses)

    @property
    def failed(self) -> tuple[PackedArray, ...]:
        """The rows that ended with an error."""
        return self._of("failed")

    @property
    def missing(self) -> tuple[PackedArray, ...]:
        """The rows for which there was nothing to pack."""
        return self._of("missing")

    @property
    def empty(self) -> tuple[PackedArray, ...]:
        """The rows that are in the submission without a single voxel."""
        return self._of("empty")

    @property
    def packed(self) -> tuple[PackedArray, ...]:
        """The rows that are in the submission."""
        return self._of("packed", "there", "empty")
