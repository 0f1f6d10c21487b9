"""Unpacking an archive without trusting it.

Taken are files below ``{dataset}/{dataset}.zarr/``, wherever in the archive that is; nothing else. An archive with
paths that go up, links, encrypted or double entries, or more content than it can hold is refused as a whole, before
anything is written. Each file is checked (CRC-32), written under a temporary name and renamed; a second run skips what
is there.
"""

from __future__ import annotations

import itertools
import re
import stat
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from csc_data.errors import CscError, UnreadableDataError
from csc_data.fetching.plan import FetchProgress, Progress, ProgressMeter
from csc_data.fetching.staging import FETCH_LESS, Staging
from csc_data.storage.bucket import FetchStopped
from csc_data.storage.concurrency import Pool, Stream
from csc_data.storage.room import check_room

LARGEST_FILE = 2**30
"""Chunks of the challenge have less than 1 MB, its metadata less than 10 MB."""

_LARGEST_RATIO = 1100  # deflate packs at most 1,032 times
_WANTED = re.compile(r"(?:^|.*/)(?P<path>(?P<dataset>[A-Za-z0-9][A-Za-z0-9._-]*)/(?P=dataset)\.zarr/.+)")

Outcome = Literal["unpacked", "there", "kept"]


class UnsafeArchiveError(CscError, ValueError):
    """An archive holds what must not be unpacked; nothing of it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive and where it goes, relative to the data folder."""

    info: zipfile.ZipInfo
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackResult:
    """What was done with the files of an archive.

    Attributes
    ----------
    unpacked, unpacked_bytes : int
        Files written.
    there : int
        Files that were there with the same content.
    kept : int
        Files that were there, newer and with other content, and were left as they are.
    skipped : int
        Entries that are not part of a data set.
    """

    unpacked: int
    unpacked_bytes: int
    there: int
    kept: int
    skipped: int


def unpack(
    archive: Path,
    root: Path,
    *,
    overwrite: bool = False,
    pool: Pool | None = None,
    progress: Progress | None = None,
) -> UnpackResult:
    """Unpack the data sets of an archive into a folder.

    Parameters
    ----------
    archive, root : Path
    overwrite : bool
        Whether to replace files that are there, newer and with other content.
    pool : Pool, optional
        The threads that do it; four of its own by default.
    progress : callable, optional
        Called with a `FetchProgress`.

    Raises
    ------
    UnsafeArchiveError
        If it is refused.
    UnreadableDataError
        If it is not a zip, or a file in it is damaged.
    DiskFullError
        If its content does not fit.
    """
    try:
        with zipfile.ZipFile(archive) as opened, pool or Pool(4, threading.Event()) as workers:
            members = check_members(opened.infolist(), archive.stat().st_size, str(archive))
            _check_space(members, root)
            done = _Unpacking(opened, members, root, overwrite=overwrite).run(workers, progress)
            skipped = sum(not info.is_dir() for info in opened.infolist()) - len(members)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError) as error:
        raise UnreadableDataError(f"{archive} is damaged: {error}; delete it and fetch it again") from error
    return UnpackResult(
        unpacked=len(done["unpacked"]),
        unpacked_bytes=sum(member.info.file_size for member in done["unpacked"]),
        there=len(done["there"]),
        kept=len(done["kept"]),
        skipped=skipped,
    )


class _Unpacking:
    """Writing the members of an open archive."""

    def __init__(self, opened: zipfile.ZipFile, members: Sequence[Member], root: Path, *, overwrite: bool) -> None:
        self.opened, self.members, self.root, self.overwrite = opened, members, root, overwrite
        self.stagings: dict[str, Staging] = {}

    def run(self, pool: Pool, progress: Progress | None) -> dict[Outcome, list[Member]]:
        """Write them, and return them by what was done with them."""
        found: dict[Outcome, list[Member]] = {"unpacked": [], "there": [], "kept": []}
        total_bytes = sum(member.info.file_size for member in self.members)
        start = FetchProgress(phase="unpacking", done=0, total=len(self.members), total_bytes=total_bytes)
        meter = ProgressMeter(start, progress)
        with ExitStack() as stack:
            for name in sorted({member.path.partition("/")[0] for member in self.members}):
                self.stagings[name] = stack.enter_context(Staging(self.root / name))
            results: Stream[Member, Outcome] = Stream(pool, self._write, batch_size=64)
            results.put(self.members)
            for member, outcome in results:
                found[outcome].append(member)
                meter.add(member.info.file_size)
        if sum(map(len, found.values())) < len(self.members):
            raise FetchStopped("stopped")
        return found

    def _write(self, member: Member) -> Outcome:
        path = self.root / member.path
        if not self.overwrite:
            found = _compare(path, member.info)
            if found is not None:
                return found
        with self.opened.open(member.info) as stream:
            body = stream.read(member.info.file_size + 1)
        if len(body) != member.info.file_size:
            raise zipfile.BadZipFile(f"{member.info.filename} does not have the size that it declares")
        self.stagings[member.path.partition("/")[0]].place(path, body)
        return "unpacked"


def check_members(infos: Sequence[zipfile.ZipInfo], archive_bytes: int, name: str) -> list[Member]:
    """Return the files to unpack.

    Parameters
    ----------
    infos : sequence of zipfile.ZipInfo
        All entries.
    archive_bytes : int
        Size of the archive.
    name : str
        Of the archive, for messages.

    Raises
    ------
    UnsafeArchiveError
        If an entry is dangerous, wherever it would go.
    """
    members: dict[str, Member] = {}
    for info in infos:
        danger = _danger(info)
        if danger:
            raise UnsafeArchiveError(f"{name} is not unpacked: {info.filename!r} {danger}")
        match = _WANTED.fullmatch(info.filename)
        if info.is_dir() or match is None:
            continue
        path = match["path"]
        if path in members:
            raise UnsafeArchiveError(f"{name} is not unpacked: it holds {path} twice")
        members[path] = Member(info=info, path=path)
    folders = {"/".join(parts[:n]) for path in members for parts in [path.split("/")] for n in range(1, len(parts))}
    both = folders & members.keys()
    if both:
        raise UnsafeArchiveError(f"{name} is not unpacked: {min(both)} is a file and a folder")
    packed = sum(info.compress_size for info in infos)
    if packed > archive_bytes or _overlap(infos):
        raise UnsafeArchiveError(f"{name} is not unpacked: entries share bytes, as in a zip bomb")
    if not members:
        raise UnsafeArchiveError(f"{name} holds no data set (nothing like jrc_hela-2/jrc_hela-2.zarr/...)")
    return list(members.values())


def _danger(info: zipfile.ZipInfo) -> str:
    """Say what is dangerous about an entry; "" if nothing is."""
    parts = info.filename.removesuffix("/").split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    # ZipInfo cuts a name at NUL; the original tells.
    if "\0" in info.orig_filename or any(ord(letter) < 32 for letter in info.filename):
        return "has characters that no file name has"
    if "\\" in info.orig_filename or ":" in info.filename or {"", ".", ".."} & set(parts):
        return "leads out of the folder"
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is a link or a device"
    if info.flag_bits & 1:
        return "is encrypted"
    if info.file_size > LARGEST_FILE or info.file_size > _LARGEST_RATIO * max(info.compress_size, 1):
        return f"declares {info.file_size:,} bytes from {info.compress_size:,}, as in a zip bomb"
    return ""


def _overlap(infos: Sequence[zipfile.ZipInfo]) -> bool:
    spans = sorted((info.header_offset, info.header_offset + info.compress_size) for info in infos)
    return any(end > begin for (_, end), (begin, _) in itertools.pairwise(spans))


def _check_space(members: Sequence[Member], root: Path) -> None:
    needed = sum(member.info.file_size for member in members if not (root / member.path).exists())
    check_room("what is to be unpacked takes", needed, root, FETCH_LESS)


def _compare(path: Path, info: zipfile.ZipInfo) -> Outcome | None:
    """Say what a file that is there is; None if there is none, or an older one."""
    try:
        state = path.stat()
        if state.st_size == info.file_size and zlib.crc32(path.read_bytes()) == info.CRC:
            return "there"
    except (FileNotFoundError, NotADirectoryError):
        return None
    packed_at = time.mktime((*info.date_time, 0, 0, -1))
    return "kept" if state.st_mtime > packed_at + 2 else None
