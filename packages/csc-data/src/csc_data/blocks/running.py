"""Running the work of blocks: here, in threads or processes, or on a cluster; with retries."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from csc_data.blocks.grid import Block, BlockGrid
from csc_data.blocks.ledger import Ledger
from csc_data.blocks.on_executor import OnExecutor
from csc_data.blocks.runs import BlockRun, Chain, Execution, Progress, may_pass, throw
from csc_data.blocks.sharing import Supply
from csc_data.errors import CscError


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
    work, grid, ledger, progress
        As for `BlockRun`.
    execution : Execution, optional
        Here, one by one, by default.

    Raises
    ------
    MissingBlocksError
        If a block raised a `CscError` or an `OSError` at each attempt, if its workers died, or if the executor broke.
        Blocks that were already running are finished first, if possible.
    MissingDataError
        If there is no record that the ledger was started.

    Examples
    --------
    >>> from csc_data import BlockGrid, run_blocks
    >>> image = np.arange(16).reshape(4, 2, 2)
    >>> doubled = np.zeros_like(image)
    >>> def double(block):
    ...     doubled[block.write] = 2 * image[block.write]
    >>> grid = BlockGrid(shape=image.shape, block_shape=(2, 2, 2))
    >>> run_blocks(double, grid, progress=lambda finished, total: print(f"{finished} of {total}"))
    0 of 2
    1 of 2
    2 of 2
    >>> bool((doubled == 2 * image).all())
    True
    """
    runs = (BlockRun(work=work, grid=grid, ledger=ledger, progress=progress) for _ in range(1))
    run_chains([runs], execution)


def run_chains(chains: Iterable[Chain], execution: Execution | None = None) -> None:
    """Do the blocks of several outputs as `run_blocks` does, on one executor.

    The blocks of a chain go before those of the ones behind it, which are begun only when workers would be idle
    otherwise. The error of one leaves the others alone, if the chain handles it.

    Parameters
    ----------
    chains : iterable of generator
        See `Chain`.
    execution : Execution, optional
        Here, one by one, by default.

    Examples
    --------
    >>> from csc_data.blocks import BlockGrid, BlockRun
    >>> grid = BlockGrid(shape=(4, 4, 4), block_shape=(4, 4, 4))
    >>> done = []
    >>> first = iter([BlockRun(work=lambda block: done.append("first"), grid=grid)])
    >>> second = iter([BlockRun(work=lambda block: done.append("second"), grid=grid)])
    >>> run_chains([first, second])
    >>> done
    ['first', 'second']
    """
    execution = execution or Execution()
    if execution.executor is not None:
        with OnExecutor(execution) as blocks:
            blocks.run(iter(chains))
        return
    for chain in chains:
        run = next(chain, None)
        while run is not None:
            try:
                _run_here(run, execution)
            except CscError as error:
                run = throw(chain, error)
            else:
                run = next(chain, None)


def _run_here(run: BlockRun, execution: Execution) -> None:
    """Do the blocks of a run in this process, one by one."""
    if run.is_complete():
        return
    with run.supply() as supply:
        run.report(said := supply.finished)
        while supply.finished < len(run.grid):
            index = supply.take()
            if index is not None:
                _do(run, index, supply, execution.retries)
                supply.mark(index)
            elif supply.finished < len(run.grid):  # it may have seen that others have finished the rest
                supply.wait()
            if supply.finished != said:
                run.report(said := supply.finished)


def _do(run: BlockRun, index: int, supply: Supply, retries: int) -> None:
    for attempt in range(retries + 1):
        try:
            run.told_work()(run.grid[index])
        except (CscError, OSError) as error:
            if attempt == retries or not may_pass(error):
                raise run.missing(supply.finished, error, index) from error
        else:
            return
