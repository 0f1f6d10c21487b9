"""What is asked for, and the plan that comes of it: every file, its size, and whether it is there already."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from csc_data.errors import InvalidArgumentError, Problem
from csc_data.fetching.planning.chunk_listing import Box, ChunkLayout
from csc_data.fetching.sources import CropSource, RawReach, check_classes
from csc_data.storage.bucket import RETRIES, Bucket, RemoteFile
from csc_data.storage.remote import Retries

_REPORT_SECONDS = 0.1

AccessMode = Literal["append", "overwrite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """What to fetch, and how.

    Attributes
    ----------
    crops : sequence of str
        ``all``, ``train``, ``test``, ids, or patterns of ids or of ``dataset/crop234``.
    datasets : sequence of str, optional
        Names or patterns; all by default.
    classes : sequence of str, optional
        Label arrays; all by default. Crops without any of them are left out.
    raw_padding : int
        Voxels of raw around each crop, at each level counted in voxels of that level.
    raw_reach : callable, optional
        Instead of voxels: from the extent of a crop in nm to the nm of raw that are needed around it, z, y, x, as
        `csc_data.loader.poses.reach.PatchReach` tells them. A frozen dataclass, as listings are kept by its repr.
    all_resolutions : bool
        Whether to fetch all levels of the raw, also those finer than the annotation.
    access_mode : {"append", "overwrite"}
        Whether to complete what is there, or to fetch all of it anew.
    workers : int
        Most requests at a time.
    batch_size : int
        Most files that a worker takes at a time.
    checksums : bool
        Whether files that are there are compared with the bucket by content (MD5), not by size and date alone.
    relist : bool
        Whether to list the bucket anew, though a listing of the last day is kept; overwriting and checksums do so, too.
    retries : Retries
        How often a request is made before a file counts as failed.
    """

    crops: Sequence[str] = ("all",)
    datasets: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    raw_padding: int = 0
    raw_reach: RawReach | None = None
    all_resolutions: bool = False
    access_mode: AccessMode = "append"
    workers: int = 64
    batch_size: int = 16
    checksums: bool = False
    relist: bool = False
    retries: Retries = RETRIES

    def __post_init__(self) -> None:
        for name, least in (("raw_padding", 0), ("workers", 1), ("batch_size", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise InvalidArgumentError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if self.raw_reach is not None and (self.raw_padding or not dataclasses.is_dataclass(self.raw_reach)):
            raise InvalidArgumentError(
                f"raw_reach must be a dataclass, and go without raw_padding, got {self.raw_reach!r}"
            )
        if self.access_mode not in {"append", "overwrite"}:
            raise InvalidArgumentError(f"access_mode must be append or overwrite, got {self.access_mode!r}")
        if self.classes is not None:
            check_classes(self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchProgress:
    """How far the work is.

    Attributes
    ----------
    phase : {"listing", "fetching", "unpacking", "verifying"}
    done, total : int
        Requests while listing, else files.
    done_bytes, total_bytes : int
        0 while listing.
    plan : FetchPlan or None
        What is to be fetched, once all is listed.
    """

    phase: Literal["listing", "fetching", "unpacking", "verifying"]
    done: int
    total: int
    done_bytes: int = 0
    total_bytes: int = 0
    plan: FetchPlan | None = None


Progress = Callable[[FetchProgress], None]


class ProgressMeter:
    """Counts files, and tells how far they are a few times a second."""

    def __init__(self, state: FetchProgress, progress: Progress | None) -> None:
        self.state, self.progress = state, progress
        self._told = 0.0

    def add(self, n_bytes: int, *, files: int = 1) -> None:
        """Count a file."""
        state = self.state
        self.state = state = replace(state, done=state.done + files, done_bytes=state.done_bytes + n_bytes)
        now = time.monotonic()
        if self.progress and (now - self._told > _REPORT_SECONDS or state.done == state.total):
            self._told = now
            self.progress(state)


@dataclass(slots=True, kw_only=True)
class FileGroup:
    """Files below one prefix of a bucket, and the folder that they go to.

    Attributes
    ----------
    bucket : Bucket
    prefix : str
    folder : Path
    files : list of RemoteFile
        What is needed of it.
    whole : bool
        Whether that is all that there is.
    todo : list of RemoteFile
        Those that are not there yet.
    stale : list of str
        Local files that the bucket does not have, where all is fetched anew.
    checked : list of (str, int, int)
        Local files whose content was found to be the bucket's: path, size and CRC-32.
    """

    bucket: Bucket
    prefix: str
    folder: Path
    files: list[RemoteFile]
    whole: bool = False
    todo: list[RemoteFile] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    checked: list[tuple[str, int, int]] = field(default_factory=list)

    def key(self, file: RemoteFile) -> str:
        """Return where a file lies in the bucket."""
        return f"{self.prefix}/{file.name}"

    def path(self, file: RemoteFile) -> str:
        """Return where a file goes."""
        return os.path.join(self.folder, file.name)  # noqa: PTH118 (called for each of a million files)


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPlan:
    """What one crop needs.

    Attributes
    ----------
    source : CropSource
    boxes : tuple of (ChunkLayout, Box)
        Levels of the raw, and which chunks of them it needs.
    classes : tuple of str
        Label arrays.
    groups : tuple of FileGroup
        Its files, without those that a crop before it needs as well.
    """

    source: CropSource
    boxes: tuple[tuple[ChunkLayout, Box], ...]
    classes: tuple[str, ...]
    groups: tuple[FileGroup, ...]

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels of the raw."""
        return tuple(array.name for array, _ in self.boxes)

    def shows(self, chunk: str) -> bool:
        """Tell whether a chunk of its raw volume, by its name there, is one that it needs."""
        return any(array.holds(box, chunk) for array, box in self.boxes)

    @property
    def n_files(self) -> int:
        """Files in all."""
        return sum(len(group.files) for group in self.groups)

    @property
    def n_bytes(self) -> int:
        """Their size."""
        return sum(file.size for group in self.groups for file in group.files)

    @property
    def todo_files(self) -> int:
        """Files that are not there yet."""
        return sum(len(group.todo) for group in self.groups)

    @property
    def todo_bytes(self) -> int:
        """Their size."""
        return sum(file.size for group in self.groups for file in group.todo)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPlan:
    """All that is to be fetched.

    Attributes
    ----------
    root : Path
        The data folder.
    crops : tuple of CropPlan
    missing : tuple of Problem
        What was asked for and is not in the bucket.
    left_out : tuple of Problem
        Crops that have none of the classes.
    contents : dict of str to bytes
        Metadata that was read to make the plan, by the file that it goes to.
    origin : str
        Where the list of crops is from.
    md5_etags : bool
        Whether ETags of the bucket are MD5 sums, so that what comes can be checked.
    listed : float
        When the bucket was listed, in seconds since 1970.
    """

    root: Path
    crops: tuple[CropPlan, ...]
    missing: tuple[Problem, ...]
    left_out: tuple[Problem, ...]
    contents: dict[str, bytes]
    origin: str
    md5_etags: bool
    listed: float

    @property
    def n_files(self) -> int:
        """Files in all."""
        return sum(crop.n_files for crop in self.crops)

    @property
    def n_bytes(self) -> int:
        """Their size."""
        return sum(crop.n_bytes for crop in self.crops)

    @property
    def todo_files(self) -> int:
        """Files that are not there yet."""
        return sum(crop.todo_files for crop in self.crops)

    @property
    def todo_bytes(self) -> int:
        """Their size."""
        return sum(crop.todo_bytes for crop in self.crops)

    def groups(self) -> Iterator[FileGroup]:
        """Yield the groups of all crops, crop by crop."""
        for crop in self.crops:
            yield from crop.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """What a run did.

    Attributes
    ----------
    plan : FetchPlan
    fetched_files, fetched_bytes : int
        What came in this run.
    removed : int
        Files that were there and not in the bucket, when overwriting.
    failed : tuple of Problem
        Files that could not be had, and why.
    withheld : tuple of str
        Crops with failed files: the metadata of their labels was not written, so that nothing reads what is missing
        as background. The next run completes them.
    stopped : str
        Why the run ended before its end; "" if it did not.
    seconds : float
        Time of the transfer.
    """

    plan: FetchPlan
    fetched_files: int
    fetched_bytes: int
    removed: int
    failed: tuple[Problem, ...]
    withheld: tuple[str, ...]
    stopped: str
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is there."""
        return not (self.failed or self.stopped or self.plan.missing)


class FetchInterrupted(KeyboardInterrupt):
    """The user stopped a run (Ctrl-C); ``result`` tells what stands. Running again goes on from there."""

    def __init__(self, result: FetchResult) -> None:
        self.result = result
        super().__init__("interrupted")
