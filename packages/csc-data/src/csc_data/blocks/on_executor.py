"""Blocks of several runs on one executor."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack

from csc_data.blocks.runs import DEATHS, BlockRun, Chain, Execution, may_pass, throw
from csc_data.blocks.sharing import LOOK_SECONDS
from csc_data.errors import CscError
from csc_data.executors.processes import ProcessWorkers, WorkerDiedError, broken
from csc_data.executors.sending import send_once


class _OpenRun:
    """A run that was begun on an executor, and the chain that it belongs to."""

    def __init__(self, run: BlockRun, chain: Chain, executor: Executor) -> None:
        self.run, self.chain = run, chain
        self.work = send_once(run.told_work(), executor)
        self.pending = 0
        self.failures: dict[int, int] = {}
        self.deaths: dict[int, int] = {}
        self.failure: tuple[Exception, int] | None = None
        self._context = ExitStack()
        self.supply = self._context.enter_context(run.supply())
        run.report(self.supply.finished)
        self._said = self.supply.finished

    def take(self) -> int | None:
        """Return a block to do; None where there is none now."""
        return None if self.failure or self.all_finished else self.supply.take()

    def report(self) -> None:
        """Tell how many blocks are finished, if that has changed."""
        if self.supply.finished != self._said:
            self.run.report(self.supply.finished)
            self._said = self.supply.finished

    @property
    def all_finished(self) -> bool:
        """Whether all blocks are finished, by whomever."""
        return self.supply.finished == len(self.run.grid)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be done, and what was begun has come back."""
        return not self.pending and (self.failure is not None or self.all_finished)

    def close(self) -> None:
        """Let others have what is left."""
        self._context.close()

    def may_try_again(self, index: int, error: Exception, retries: int) -> bool:
        """Tell whether another attempt at a block is worth it."""
        if isinstance(error, WorkerDiedError):
            self.deaths[index] = self.deaths.get(index, 0) + 1
            return self.deaths[index] <= DEATHS
        self.failures[index] = self.failures.get(index, 0) + 1
        return may_pass(error) and self.failures[index] <= retries


class OnExecutor:
    """Blocks on an executor, of several runs; a context, on leaving which what goes on is given up."""

    def __init__(self, execution: Execution) -> None:
        assert execution.executor is not None
        self.execution, self.executor = execution, execution.executor
        self.pending: dict[Future[None], tuple[_OpenRun, int]] = {}
        self.open: list[_OpenRun] = []

    def __enter__(self) -> OnExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        running = [future for future in self.pending if not future.cancel()]
        if running and isinstance(self.executor, ProcessWorkers):
            # Others may take these blocks as soon as this process has given them back.
            self.executor.kill()
        with ExitStack() as context:
            for each in self.open:
                context.callback(each.close)

    def run(self, chains: Iterator[Chain]) -> None:
        """Do all blocks of all chains."""
        while True:
            self._fill(chains)
            if not self.open:
                return
            if self.pending:
                for future in wait(self.pending, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED).done:
                    self._take_back(future)
            else:
                self.open[0].supply.wait()

    def _fill(self, chains: Iterator[Chain]) -> None:
        """Hand out blocks until there are enough, those of the first runs first."""
        number = 0
        while True:
            if number == len(self.open):
                if len(self.pending) >= self.execution.max_pending or (chain := next(chains, None)) is None:
                    return
                self._begin(chain, number, next(chain, None))
                continue
            each = self.open[number]
            while len(self.pending) < self.execution.max_pending and (index := each.take()) is not None:
                self._submit(each, index)
            each.report()
            if each.has_ended:
                self._end(each, number)
            else:
                number += 1

    def _begin(self, chain: Chain, number: int, run: BlockRun | None) -> None:
        """Begin the next run of a chain that is not complete, if there is one."""
        while run is not None:
            try:
                if not run.is_complete():
                    self.open.insert(number, _OpenRun(run, chain, self.executor))
                    return
            except CscError as error:
                run = throw(chain, error)
            else:
                run = next(chain, None)

    def _end(self, ended: _OpenRun, number: int) -> None:
        """Close a run, and go on with its chain."""
        self.open.remove(ended)
        ended.close()
        if ended.failure is None:
            self._begin(ended.chain, number, next(ended.chain, None))
            return
        error, index = ended.failure
        missing = ended.run.missing(ended.supply.finished, error, index)
        missing.__cause__ = error
        self._begin(ended.chain, number, throw(ended.chain, missing))

    def _submit(self, each: _OpenRun, index: int) -> None:
        try:
            future = self.executor.submit(each.work, each.run.grid[index])
        except broken() as error:
            each.failure = error, index
        else:
            each.pending += 1
            self.pending[future] = each, index

    def _take_back(self, future: Future[None]) -> None:
        each, index = self.pending.pop(future)
        each.pending -= 1
        error = _error_of(future)
        if error is None:
            each.supply.mark(index)
            each.report()
        elif each.failure is None and each.may_try_again(index, error, self.execution.retries):
            self._submit(each, index)
        else:
            each.failure = each.failure or (error, index)


def _error_of(future: Future[None]) -> Exception | None:
    known: tuple[type[Exception], ...] = (CscError, OSError, *broken())
    try:
        future.result()
    except known as error:
        return error
    return None
