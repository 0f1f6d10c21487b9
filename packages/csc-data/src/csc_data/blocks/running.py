"""Running the work of blocks: here, in threads or processes, or on a cluster; with retries."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass

from csc_data.blocks.grid import Block, BlockGrid
from csc_data.blocks.groups import Groups
from csc_data.blocks.ledger import Ledger
from csc_data.blocks.sharing import LOOK_SECONDS, AllBlocks, SharedBlocks, Supply
from csc_data.errors import CscError, InvalidArgumentError, UnreadableDataError
from csc_data.executors.processes import ProcessWorkers, WorkerDiedError
from csc_data.executors.sending import send_once
from csc_data.geometry import Shape

Progress = Callable[[int, int], None]
"""Called with the number of finished blocks and that of all, after each block and once at the start."""

RETRIES = 2
DEATHS = 2

_MAY_PASS = (UnreadableDataError, OSError)
"""Worth another attempt: a connection that was down, a disk that was full. Other errors would only come again."""


class MissingBlocksError(CscError, RuntimeError):
    """A run ended without all of its blocks; what is finished stays, and running again does the rest."""

    def __init__(self, missing: int, total: int, reason: str) -> None:
        self.missing, self.total, self.reason = missing, total, reason
        super().__init__(f"{missing} of {total} blocks are not finished: {reason}; run again to do the rest")

    def __reduce__(self) -> tuple[type[MissingBlocksError], tuple[int, int, str]]:
        return type(self), (self.missing, self.total, self.reason)


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
    together : tuple of int, optional
        Shape in voxels of the box whose blocks one process takes together, such as that of a shard.

    Raises
    ------
    InvalidArgumentError
        If a number is out of range.
    """

    executor: Executor | None = None
    max_pending: int = 16
    retries: int = RETRIES
    together: Shape | None = None

    def __post_init__(self) -> None:
        if self.max_pending < 1 or self.retries < 0:
            raise InvalidArgumentError(
                f"max_pending must be 1 or more, retries 0 or more; got {self.max_pending} and {self.retries}"
            )


def run_blocks(
    work: Callable[[Block], None],
    grid: BlockGrid,
    *,
    ledger: Ledger | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> None:
    """Do the work for every block that is not finished yet.

    With a ledger, other processes may run the same blocks at the same time: no block is done twice, and blocks of one
    that dies are done by those that live. Who finds that all are in others' hands waits, and ends when all are done.

    Parameters
    ----------
    work : callable
        Takes a block, writes its result; doing it twice gives the same. With processes it must be picklable; each of
        them keeps the one that it was sent.
    grid : BlockGrid
        The blocks.
    ledger : Ledger, optional
        Where finished blocks are recorded, once it was started; those in it are not done again.
    execution : Execution, optional
        Here, one by one, by default.
    progress : callable, optional
        Called with (finished by anybody, all).

    Raises
    ------
    MissingBlocksError
        If a block raised a `CscError` or an `OSError` at each attempt, if its workers died, or if the executor broke.
        Blocks that were already running are finished first, if possible.
    MissingDataError
        If there is no record that the ledger was started.
    """
    execution = execution or Execution()
    groups = Groups(grid=grid, together=execution.together)
    report = progress or _say_nothing
    if ledger is not None and ledger.read() and ledger.is_complete and len(ledger.finished) == len(grid):
        report(len(grid), len(grid))
        return
    with SharedBlocks(ledger, groups) if ledger is not None else nullcontext(AllBlocks(len(grid))) as supply:
        run = _Here(work, grid, execution) if execution.executor is None else _OnExecutor(work, grid, execution)
        report(said := supply.finished, len(grid))
        for index in run.completed(supply):
            if index is not None:
                supply.mark(index)
            if supply.finished != said:
                report(said := supply.finished, len(grid))


def _say_nothing(finished: int, total: int) -> None:
    pass


class _Here:
    """Blocks in this process, one by one."""

    def __init__(self, work: Callable[[Block], None], grid: BlockGrid, execution: Execution) -> None:
        self.work, self.grid, self.retries = work, grid, execution.retries

    def completed(self, supply: Supply) -> Iterator[int | None]:
        """Yield blocks as they are finished, None after a wait for others."""
        while supply.finished < len(self.grid):
            index = supply.take()
            if index is None:
                supply.wait()
            else:
                self._do(index, supply)
            yield index

    def _do(self, index: int, supply: Supply) -> None:
        for attempt in range(self.retries + 1):
            try:
                self.work(self.grid[index])
            except (CscError, OSError) as error:
                if attempt == self.retries or not isinstance(error, _MAY_PASS):
                    raise MissingBlocksError(
                        len(self.grid) - supply.finished, len(self.grid), _reason(error, self.grid[index])
                    ) from error
            else:
                return


class _OnExecutor:
    """Blocks on an executor."""

    def __init__(self, work: Callable[[Block], None], grid: BlockGrid, execution: Execution) -> None:
        assert execution.executor is not None
        self.grid, self.execution, self.executor = grid, execution, execution.executor
        self.work = send_once(work, self.executor)
        self.pending: dict[Future[None], int] = {}
        self.failures: dict[int, int] = {}
        self.deaths: dict[int, int] = {}

    def completed(self, supply: Supply) -> Iterator[int | None]:
        """Yield blocks as they finish, None after a look at others; after a failure only what was already running."""
        failure: tuple[Exception, int] | None = None
        try:
            while supply.finished < len(self.grid):
                while failure is None and len(self.pending) < self.execution.max_pending:
                    index = supply.take()
                    if index is None:
                        break
                    failure = self._submit(index)
                if not self.pending:
                    if failure:
                        break
                    supply.wait()
                for future in wait(self.pending, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED).done:
                    index = self.pending.pop(future)
                    error = self._error_of(future)
                    if error is None:
                        yield index
                    elif failure is None:
                        failure = self._submit(index) if self._may_try_again(index, error) else (error, index)
                yield None
        finally:
            self._abandon()
        if failure:
            error, index = failure
            reason = _reason(error, self.grid[index])
            raise MissingBlocksError(len(self.grid) - supply.finished, len(self.grid), reason) from error

    def _abandon(self) -> None:
        """Leave what is pending: after an error that is not ours, or when the caller stops iterating."""
        running = [future for future in self.pending if not future.cancel()]
        if running and isinstance(self.executor, ProcessWorkers):
            # Others may take these blocks as soon as this process has given them back.
            self.executor.kill()

    def _submit(self, index: int) -> tuple[Exception, int] | None:
        try:
            self.pending[self.executor.submit(self.work, self.grid[index])] = index
        except _broken() as error:
            return error, index
        return None

    def _error_of(self, future: Future[None]) -> Exception | None:
        known: tuple[type[Exception], ...] = (CscError, OSError, *_broken())
        try:
            future.result()
        except known as error:
            return error
        return None

    def _may_try_again(self, index: int, error: Exception) -> bool:
        if isinstance(error, WorkerDiedError):
            self.deaths[index] = self.deaths.get(index, 0) + 1
            return self.deaths[index] <= DEATHS
        self.failures[index] = self.failures.get(index, 0) + 1
        return isinstance(error, _MAY_PASS) and self.failures[index] <= self.execution.retries


def _broken() -> tuple[type[Exception], ...]:
    """Return what executors raise that lost their workers."""
    distributed = sys.modules.get("distributed")
    return (BrokenExecutor, CancelledError, *((distributed.KilledWorker,) if distributed else ()))


def _reason(error: Exception, block: Block) -> str:
    if isinstance(error, _broken()):
        where = f"block {block.index} (from voxel {block.begin}, {block.shape} voxels)"
        return f"workers were lost, perhaps for lack of memory, the last one over {where}: {error}"
    return str(error)
