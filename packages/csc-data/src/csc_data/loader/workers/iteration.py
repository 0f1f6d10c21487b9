"""One epoch's batches, as a training loop takes them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator

from csc_data.loader.workers.pool import Batch, Pool, WorkerPools


class Iteration(Iterator[Batch]):
    """The batches of an epoch, loaded by a pool of its own until it ends, fails or is dropped.

    Parameters
    ----------
    pools : WorkerPools
        Where the pool goes back to.
    pool : Pool
    batches : iterator of list of int
        The samples of each batch.
    finish : callable
        What is done to each batch in this process.
    """

    def __init__(
        self,
        pools: WorkerPools,
        pool: Pool,
        batches: Iterator[list[int]],
        finish: Callable[[Batch], Batch],
    ) -> None:
        self._finish = finish
        self._pool = pool
        try:
            self._pool.start(batches)
        except BaseException:  # an interrupt has reached the workers, too
            self._pool.shut_down()
            raise
        self._give_back = weakref.finalize(self, pools.give_back, self._pool)
        self._give_back.atexit = False

    def __next__(self) -> Batch:
        if not self._give_back.alive:
            raise StopIteration
        try:
            batch = next(self._pool)
        except StopIteration:
            self.close()
            raise
        except BaseException:
            self._give_back.detach()
            self._pool.shut_down()
            raise
        return self._finish(batch)

    def close(self) -> None:
        """Leave out the rest; the workers are free for the next iteration."""
        self._give_back()
