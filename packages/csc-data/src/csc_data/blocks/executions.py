"""Starting what is to work on blocks, and ending it afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from csc_data.blocks.runs import Execution
from csc_data.executors.cluster import System, connect, start_jobs
from csc_data.executors.processes import ProcessWorkers

_ON_SCHEDULER = 128  # blocks that a cluster of unknown size is given at a time


@contextmanager
def on_processes(
    count: int, *, threads: int = 1, environments: Sequence[Mapping[str, str]] | None = None
) -> Iterator[Execution]:
    """Work on blocks in processes of this machine.

    Parameters
    ----------
    count : int
    threads : int
        That libraries start in each.
    environments : sequence of mapping, optional
        Variables of each process.

    Examples
    --------
    >>> with on_processes(2) as execution:
    ...     execution.max_pending
    3
    """
    with ProcessWorkers(count, threads=threads, environments=environments) as executor:
        # One block more than processes, so that none waits while this one marks what is finished.
        yield Execution(executor=executor, max_pending=count + 1)


@contextmanager
def on_scheduler(address: str) -> Iterator[Execution]:
    """Work on blocks on the cluster of a running Dask scheduler.

    Raises
    ------
    MissingPackageError
        If Dask is not installed.
    ClusterError
        If the scheduler does not answer.
    """
    with connect(address) as executor:
        yield Execution(executor=executor, max_pending=_ON_SCHEDULER)


@contextmanager
def on_cluster(system: System, jobs: int) -> Iterator[Execution]:
    """Work on blocks in jobs of a batch system, which are started and ended.

    Raises
    ------
    MissingPackageError
        If Dask or dask-jobqueue are not installed.
    ClusterError
        If the system takes no jobs.
    """
    with start_jobs(system, jobs=jobs) as executor:
        yield Execution(executor=executor, max_pending=2 * jobs)
