"""Work block by block: a grid of blocks that covers an array exactly once, and a runner that survives being killed.

A block has a box to write, which belongs to it alone, and a box to read, which is larger by the halo and may reach
beyond the array. Blocks whose shape is a multiple of the chunk shape never share a chunk, so different processes can
write them. A `Ledger` on disk records finished blocks; running again does only the others, and since the result of a
block does not depend on the order, the bytes are the same as of one run.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from csc_data.errors import CscError, ExistingOutputError, InvalidArgumentError, UnreadableDataError
from csc_data.files import replace_text
from csc_data.geometry import Shape, as_shape

Existing = Literal["resume", "refuse", "overwrite"]
"""What to do with output that is there: go on with it, leave it and stop, or start anew."""

Progress = Callable[[int, int], None]
"""Called with the number of finished blocks and that of all, after each block and once at the start."""


_COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of an array.

    Attributes
    ----------
    index : int
        Its number in the grid.
    begin, shape : tuple of int
        The box to write, in voxels; it lies within the array.
    read_begin, read_shape : tuple of int
        The box with its halo; it may begin before 0 and end beyond the array.
    """

    index: int
    begin: Shape
    shape: Shape
    read_begin: tuple[int, int, int]
    read_shape: Shape

    @property
    def write(self) -> tuple[slice, slice, slice]:
        """The box to write, as slices into the array."""
        z, y, x = (slice(b, b + n) for b, n in zip(self.begin, self.shape, strict=True))
        return z, y, x

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """The box to write, as slices into what was read."""
        z, y, x = (slice(b - r, b - r + n) for b, r, n in zip(self.begin, self.read_begin, self.shape, strict=True))
        return z, y, x


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockGrid:
    """All blocks of an array, x fastest.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    block_shape : tuple of int
        Shape of the box that a block writes; the last one of an axis is smaller where it does not divide the array.
    halo : tuple of int
        Voxels read beyond that box on both sides of each axis.

    Examples
    --------
    >>> grid = BlockGrid(shape=(10, 4, 4), block_shape=(4, 4, 4), halo=(1, 0, 0))
    >>> [block.shape[0] for block in grid]
    [4, 4, 2]
    """

    shape: Shape
    block_shape: Shape
    halo: Shape = (0, 0, 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))
        object.__setattr__(self, "block_shape", as_shape(self.block_shape, "block_shape"))
        object.__setattr__(self, "halo", as_shape(self.halo, "halo"))
        if min(self.block_shape) < 1:
            raise InvalidArgumentError(f"block_shape must be at least 1 on every axis, got {self.block_shape}")

    @property
    def counts(self) -> Shape:
        """Blocks per axis."""
        z, y, x = (math.ceil(n / b) for n, b in zip(self.shape, self.block_shape, strict=True))
        return z, y, x

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __getitem__(self, index: int) -> Block:
        if not 0 <= index < len(self):
            raise IndexError(f"block {index} of {len(self)}")
        _, ny, nx = self.counts
        position = (index // (ny * nx), index // nx % ny, index % nx)
        begin = as_shape([p * b for p, b in zip(position, self.block_shape, strict=True)])
        shape = as_shape([min(b, n - o) for b, n, o in zip(self.block_shape, self.shape, begin, strict=True)])
        z, y, x = (b - h for b, h in zip(begin, self.halo, strict=True))
        return Block(
            index=index,
            begin=begin,
            shape=shape,
            read_begin=(z, y, x),
            read_shape=as_shape([n + 2 * h for n, h in zip(shape, self.halo, strict=True)]),
        )

    def __iter__(self) -> Iterator[Block]:
        return (self[index] for index in range(len(self)))


def align_block_shape(wanted: Sequence[int], chunks: Sequence[int]) -> Shape:
    """Round a block shape up to whole chunks, so that no two blocks write to one chunk.

    >>> align_block_shape((100, 64, 1), (64, 64, 64))
    (128, 64, 64)
    """
    return as_shape([math.ceil(w / c) * c for w, c in zip(wanted, chunks, strict=True)])


class MissingBlocksError(CscError, RuntimeError):
    """A run ended without all of its blocks; what is finished stays, and running again does the rest."""

    def __init__(self, missing: int, total: int, reason: str) -> None:
        self.missing, self.total, self.reason = missing, total, reason
        super().__init__(f"{missing} of {total} blocks are not finished: {reason}; run again to do the rest")

    def __reduce__(self) -> tuple[type[MissingBlocksError], tuple[int, int, str]]:
        return type(self), (self.missing, self.total, self.reason)


class Ledger:
    """A record on disk of the blocks that are finished.

    The first line says what the work is (a fingerprint: whatever the result depends on); each further line is the
    number of a finished block, and the last one says that none is left. Lines are appended and flushed to the disk one
    by one; a last line that was cut off by a kill is ignored.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    fingerprint : mapping
        JSON values. A record with another fingerprint is of other work and cannot be resumed.
    """

    def __init__(self, path: Path, fingerprint: dict[str, Any]) -> None:
        self.path = path
        self.fingerprint = json.loads(json.dumps(fingerprint))
        self.finished: set[int] = set()

    def read(self) -> bool:
        """Load what was recorded; return whether there was a record.

        Raises
        ------
        ExistingOutputError
            If the record is of other work; the text names what differs.
        UnreadableDataError
            If its first line is damaged.
        """
        try:
            lines = self.path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return False
        try:
            recorded = json.loads(lines[0])
        except json.JSONDecodeError as error:
            raise UnreadableDataError(f"{self.path} is damaged: {error}; overwrite the output to start anew") from error
        if not isinstance(recorded, dict):
            raise UnreadableDataError(f"{self.path} is damaged: {lines[0]!r}; overwrite the output to start anew")
        if recorded != self.fingerprint:
            names = sorted(
                name for name in {*recorded, *self.fingerprint} if recorded.get(name) != self.fingerprint.get(name)
            )
            raise ExistingOutputError(
                f"{self.path.parent}: the output there was made with another {', '.join(names)}; "
                "overwrite it, or choose another place"
            )
        # What follows the last line break was cut off.
        self.finished = {int(line) for line in lines[1:-1] if line.isdigit()}
        return True

    def start(self) -> None:
        """Begin an empty record."""
        self.finished = set()
        replace_text(self.path, json.dumps(self.fingerprint) + "\n")

    def mark(self, index: int) -> None:
        """Record a finished block."""
        self._append(str(index))
        self.finished.add(index)

    def complete(self) -> None:
        """Record that all blocks are finished, for `unfinished_work`."""
        self._append(_COMPLETE)

    def _append(self, line: str) -> None:
        with self.path.open("r+b") as file:
            _drop_cut_off_line(file)
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def unfinished_work(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], ...]:
    """Return the fingerprints of the work whose records in a folder, ``*.ledger``, are not complete.

    Who reads what others write block by block asks here first: an array that is half written looks like any other.
    """
    fingerprints = []
    for path in sorted(Path(folder).glob("*.ledger")):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        if lines[-2:] != [_COMPLETE, ""]:
            try:
                fingerprint = json.loads(lines[0])
            except json.JSONDecodeError:
                fingerprint = {}
            fingerprints.append(fingerprint if isinstance(fingerprint, dict) else {})
    return tuple(fingerprints)


def _drop_cut_off_line(file: BinaryIO) -> None:
    """Leave the file at its end, less a last line without a break: what a kill left of 12 would read as block 1."""
    end = file.seek(0, os.SEEK_END)
    while end:
        file.seek(end - 1)
        if file.read(1) == b"\n":
            break
        end -= 1
    file.truncate(end)
    file.seek(end)


def prepare_output(ledger: Ledger, existing: Existing) -> bool:
    """Decide what happens to output that is there; return whether the output must be created anew.

    Raises
    ------
    ExistingOutputError
        If output is there and ``existing`` is ``"refuse"``, or it is of other work and ``existing`` is ``"resume"``.
    """
    if existing == "refuse" and ledger.path.exists():
        raise ExistingOutputError(f"{ledger.path.parent} holds output; resume or overwrite it, or choose another place")
    if existing == "overwrite":
        # The record goes first: a kill between here and the new arrays must not leave old blocks marked as finished.
        ledger.path.unlink(missing_ok=True)
        return True
    return not ledger.read()


def run_blocks(
    work: Callable[[Block], None],
    grid: BlockGrid,
    *,
    ledger: Ledger | None = None,
    executor: Executor | None = None,
    max_pending: int = 16,
    progress: Progress | None = None,
) -> None:
    """Do the work for every block that is not finished yet.

    Parameters
    ----------
    work : callable
        Takes a block, writes its result. With processes it must be picklable.
    grid : BlockGrid
        The blocks.
    ledger : Ledger, optional
        Where finished blocks are recorded; those in it are not done again.
    executor : concurrent.futures.Executor, optional
        Where to work: threads, processes, or ``dask.distributed.Client.get_executor()``. Here, one by one, by default.
    max_pending : int
        Most blocks that are handed to the executor and not finished.
    progress : callable, optional
        Called with (finished, all).

    Raises
    ------
    MissingBlocksError
        If the work of a block raised a `CscError`; the blocks that were under way are finished first.
    """
    finished = ledger.finished if ledger else set()
    todo = [index for index in range(len(grid)) if index not in finished]
    done = len(grid) - len(todo)
    if progress:
        progress(done, len(grid))
    for index in _completed(work, grid, todo, executor, max_pending):
        if ledger:
            ledger.mark(index)
        done += 1
        if progress:
            progress(done, len(grid))
    if done != len(grid):
        raise MissingBlocksError(len(grid) - done, len(grid), "they were never done")
    if ledger:
        ledger.complete()


def _completed(
    work: Callable[[Block], None], grid: BlockGrid, todo: list[int], executor: Executor | None, max_pending: int
) -> Iterator[int]:
    if executor is None:
        for count, index in enumerate(todo):
            try:
                work(grid[index])
            except CscError as error:
                raise MissingBlocksError(len(todo) - count, len(grid), str(error)) from error
            yield index
        return
    waiting = iter(todo)
    pending: dict[Future[None], int] = {}
    failure: CscError | None = None
    left = len(todo)
    while True:
        while failure is None and len(pending) < max_pending and (following := next(waiting, None)) is not None:
            pending[executor.submit(work, grid[following])] = following
        if not pending:
            break
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            finished = pending.pop(future)
            try:
                future.result()
            except CscError as error:
                failure = failure or error
                continue
            left -= 1
            yield finished
    if failure:
        raise MissingBlocksError(left, len(grid), str(failure)) from failure
