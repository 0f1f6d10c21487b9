"""Running the work of blocks: here, in threads or processes, or on a cluster; with retries."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass

from csc_data.blocks.grid import Block, BlockGrid
from csc_data.blocks.ledger import Ledger
from csc_data.errors import CscError, InvalidArgumentError, UnreadableDataError

Progress = Callable[[int, int], None]
"""Called with the number of finished blocks and that of all, after each block and once at the start."""

RETRIES = 2

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
        Blocks of a Dask worker that died are done again by Dask.

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


def run_blocks(
    work: Callable[[Block], None],
    grid: BlockGrid,
    *,
    ledger: Ledger | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> None:
    """Do the work for every block that is not finished yet.

    Parameters
    ----------
    work : callable
        Takes a block, writes its result; doing it twice gives the same. With processes it must be picklable.
    grid : BlockGrid
        The blocks.
    ledger : Ledger, optional
        Where finished blocks are recorded; those in it are not done again.
    execution : Execution, optional
        Here, one by one, by default.
    progress : callable, optional
        Called with (finished, all).

    Raises
    ------
    MissingBlocksError
        If a block raised a `CscError` or an `OSError` at each attempt, or if the executor broke. Blocks that were
        already running are finished first, if possible.
    """
    execution = execution or Execution()
    finished = ledger.finished if ledger else set()
    todo = [index for index in range(len(grid)) if index not in finished]
    done = len(grid) - len(todo)
    if progress:
        progress(done, len(grid))
    if execution.executor is None:
        completed = _completed_here(work, grid, todo, execution.retries)
    else:
        completed = _ExecutorRun(work, grid, execution.executor, execution).completed(todo)
    for index in completed:
        if ledger:
            ledger.mark(index)
        done += 1
        if progress:
            progress(done, len(grid))
    if done != len(grid):
        raise MissingBlocksError(len(grid) - done, len(grid), "they were never done")
    if ledger:
        ledger.complete()


def _completed_here(work: Callable[[Block], None], grid: BlockGrid, todo: Sequence[int], retries: int) -> Iterator[int]:
    for count, index in enumerate(todo):
        for attempt in range(retries + 1):
            try:
                work(grid[index])
            except (CscError, OSError) as error:
                if attempt == retries or not isinstance(error, _MAY_PASS):
                    raise MissingBlocksError(len(todo) - count, len(grid), _reason(error)) from error
            else:
                break
        yield index


class _ExecutorRun:
    """Blocks on an executor."""

    def __init__(
        self, work: Callable[[Block], None], grid: BlockGrid, executor: Executor, execution: Execution
    ) -> None:
        self.work, self.grid, self.executor, self.execution = work, grid, executor, execution
        self.pending: dict[Future[None], int] = {}
        self.failures: dict[int, int] = {}

    def completed(self, todo: Sequence[int]) -> Iterator[int]:
        """Yield blocks as they finish; after a failure only those that were already running."""
        waiting = iter(todo)
        failure: Exception | None = None
        left = len(todo)
        try:
            while True:
                while failure is None and len(self.pending) < self.execution.max_pending:
                    following = next(waiting, None)
                    if following is None or (failure := self._submit(following)):
                        break
                if not self.pending:
                    break
                for future in wait(self.pending, return_when=FIRST_COMPLETED).done:
                    index = self.pending.pop(future)
                    error = self._error_of(future)
                    if error is None:
                        left -= 1
                        yield index
                    elif failure is None and self._may_try_again(index, error):
                        failure = self._submit(index)
                    else:
                        failure = failure or error
        finally:
            for future in self.pending:  # after an error that is not ours, or when the caller stops iterating
                future.cancel()
        if failure:
            raise MissingBlocksError(left, len(self.grid), _reason(failure)) from failure

    def _submit(self, index: int) -> Exception | None:
        try:
            self.pending[self.executor.submit(self.work, self.grid[index])] = index
        except _broken() as error:
            return error
        return None

    def _error_of(self, future: Future[None]) -> Exception | None:
        known: tuple[type[Exception], ...] = (CscError, OSError, *_broken())
        try:
            future.result()
        except known as error:
            return error
        return None

    def _may_try_again(self, index: int, error: Exception) -> bool:
        self.failures[index] = self.failures.get(index, 0) + 1
        return isinstance(error, _MAY_PASS) and self.failures[index] <= self.execution.retries


def _broken() -> tuple[type[Exception], ...]:
    """Return what executors raise that lost their workers."""
    distributed = sys.modules.get("distributed")
    return (BrokenExecutor, CancelledError, *((distributed.KilledWorker,) if distributed else ()))


def _reason(error: Exception) -> str:
    if isinstance(error, _broken()):
        return f"workers were lost, perhaps for lack of memory ({type(error).__name__}: {error})"
    return str(error)
