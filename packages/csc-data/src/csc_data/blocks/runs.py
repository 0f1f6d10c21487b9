"""Runs of blocks: what is to be done, where, and how one ends that cannot be finished."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from csc_data.blocks.grid import Block, BlockGrid
from csc_data.blocks.groups import Groups
from csc_data.blocks.ledger import Ledger
from csc_data.blocks.sharing import AllBlocks, SharedBlocks, Supply
from csc_data.errors import CscError, InvalidArgumentError, UnreadableDataError
from csc_data.executors.processes import broken
from csc_data.geometry import Shape
from csc_data.storage.room import DiskFullError, full_disk_told

Progress = Callable[[int, int], None]
"""Called with the number of finished blocks and that of all, after each block and once at the start."""

RETRIES = 2
DEATHS = 2

_RUN_AGAIN = "run again to do the rest"


class MissingBlocksError(CscError, RuntimeError):
    """A run ended without all of its blocks; what is finished stays.

    Parameters
    ----------
    missing, total : int
        Blocks that are not finished, and all.
    reason : str
    remedy : str
        What to do; running again does the rest.
    """

    def __init__(self, missing: int, total: int, reason: str, remedy: str = _RUN_AGAIN) -> None:
        self.missing, self.total, self.reason, self.remedy = missing, total, reason, remedy
        super().__init__(f"{missing} of {total} blocks are not finished: {reason}; {remedy}")

    def __reduce__(self) -> tuple[type[MissingBlocksError], tuple[int, int, str, str]]:
        return type(self), (self.missing, self.total, self.reason, self.remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Where blocks are worked on, and how.

    Attributes
    ----------
    executor : concurrent.futures.Executor, optional
        Threads, processes, or ``dask.distributed.Client.get_executor()``. Here, one by one, by default.
    max_pending : int
        Most blocks that are handed to the executor and not finished.
    retries : int
        How often a block is done again whose data could not be read or written (`UnreadableDataError`, `OSError`).
        Blocks of a worker that died are done again by another, by those of Dask as often as its settings say.

    Raises
    ------
    InvalidArgumentError
        If a number is out of range.
    """

    executor: Executor | None = None
    max_pending: int = 16
    retries: int = RETRIES

    def __post_init__(self) -> None:
        if self.max_pending < 1 or self.retries < 0:
            raise InvalidArgumentError(
                f"max_pending must be 1 or more, retries 0 or more; got {self.max_pending} and {self.retries}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRun:
    """The blocks of one output, and the work on each.

    Attributes
    ----------
    work : callable
        Takes a block, writes its result; doing it twice gives the same. With processes it must be picklable; each of
        them keeps the one that it was sent.
    grid : BlockGrid
        The blocks.
    ledger : Ledger, optional
        Where finished blocks are recorded, once it was started; those in it are not done again.
    together : tuple of int, optional
        Shape in voxels of the box whose blocks one process takes together, such as that of a shard.
    progress : callable, optional
        Called with (finished by anybody, all).

    Examples
    --------
    >>> grid = BlockGrid(shape=(8, 4, 4), block_shape=(4, 4, 4))
    >>> run = BlockRun(work=print, grid=grid, progress=lambda finished, total: print(f"{finished} of {total}"))
    >>> run.is_complete()
    False
    >>> run.report(1)
    1 of 2
    >>> with run.supply() as blocks:
    ...     print(blocks.take(), blocks.take(), blocks.take())
    0 1 None
    >>> str(run.missing(1, OSError("no connection"), 1))
    '1 of 2 blocks are not finished: no connection; run again to do the rest'
    """

    work: Callable[[Block], None]
    grid: BlockGrid
    ledger: Ledger | None = None
    together: Shape | None = None
    progress: Progress | None = None

    def is_complete(self) -> bool:
        """Return whether an earlier run has finished all; say so."""
        ledger, count = self.ledger, len(self.grid)
        if ledger is None or not (ledger.read() and ledger.is_complete and len(ledger.finished) == count):
            return False
        self.report(count)
        return True

    def supply(self) -> AbstractContextManager[Supply]:
        """Return where the blocks to do come from, a context."""
        groups = Groups(grid=self.grid, together=self.together)
        return nullcontext(AllBlocks(len(self.grid))) if self.ledger is None else SharedBlocks(self.ledger, groups)

    def report(self, finished: int) -> None:
        """Tell how many blocks are finished."""
        if self.progress is not None:
            self.progress(finished, len(self.grid))

    def told_work(self) -> Callable[[Block], None]:
        """Return the work as executors are given it: it says itself where it ends as a disk is full."""
        return _ToldWork(work=self.work, place=None if self.ledger is None else self.ledger.path.parent)

    def missing(self, finished: int, error: Exception, index: int) -> MissingBlocksError:
        """Return the error of a run that ends because of a block."""
        count, reason = len(self.grid), _reason(error, self.grid[index])
        return MissingBlocksError(count - finished, count, reason, _remedy(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class _ToldWork:
    """Work on blocks, of which no error leaves the process without what the system said of the disk."""

    work: Callable[[Block], None]
    place: Path | None

    def __call__(self, block: Block) -> None:
        with full_disk_told(self.place):
            self.work(block)


Chain = Generator[BlockRun, None, None]
"""Runs of which each begins when the one before has ended; the error of a run is raised where it was yielded."""


def throw(chain: Chain, error: CscError) -> BlockRun | None:
    """Raise an error where a chain stands; return what it wants to be done next."""
    try:
        return chain.throw(error)
    except StopIteration:
        return None


def may_pass(error: Exception) -> bool:
    """Return whether another attempt is worth it, as for a connection that was down.

    A full disk does not empty itself meanwhile, and other errors would only come again.

    Examples
    --------
    >>> from csc_data.errors import InvalidArgumentError
    >>> may_pass(ConnectionResetError()), may_pass(InvalidArgumentError("the shape is empty"))
    (True, False)
    """
    return isinstance(error, UnreadableDataError | OSError) and not isinstance(error, DiskFullError)


def _remedy(error: Exception) -> str:
    if isinstance(error, DiskFullError | UnreadableDataError):
        return f"when that is mended, {_RUN_AGAIN}"
    if may_pass(error) or isinstance(error, broken()):
        return _RUN_AGAIN
    return "it would fail again, so mend that first"


def _reason(error: Exception, block: Block) -> str:
    if isinstance(error, broken()):
        where = f"block {block.index} (from voxel {block.begin}, {block.shape} voxels)"
        return f"workers were lost, perhaps for lack of memory, the last one over {where}: {error}"
    return str(error)
