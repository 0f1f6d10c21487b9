"""Dask clusters as executors."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, Literal

from csc_data.errors import CscError, InvalidArgumentError


class ClusterError(CscError, RuntimeError):
    """A cluster cannot be reached or started."""


def _import_distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ClusterError("scoring on a cluster needs Dask: pip install 'csc-eval[dask]'") from error
    return distributed


@contextmanager
def connect(address: str, *, timeout: str = "15s") -> Iterator[Executor]:
    """Yield an executor on a running Dask cluster.

    Parameters
    ----------
    address : str
        Of the scheduler, like ``tcp://10.0.0.1:8786``.
    timeout : str
        How long to wait for it to answer.

    Raises
    ------
    ClusterError
        If Dask is not installed, or nothing answers at the address.
    """
    distributed = _import_distributed()
    try:
        client = distributed.Client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address}: {error}") from error
    try:
        yield client.get_executor(pure=False)
    finally:
        client.close()


@contextmanager
def start_jobs(system: Literal["lsf", "slurm"], *, jobs: int, memory: str, queue: str | None) -> Iterator[Executor]:
    """Start jobs on a batch system, and yield an executor on them.

    Raises
    ------
    ClusterError
        If Dask is not installed, or the system takes no jobs.
    """
    distributed = _import_distributed()
    try:
        import dask_jobqueue
    except ImportError as error:
        raise ClusterError("a batch system needs dask-jobqueue: pip install 'csc-eval[dask]'") from error
    classes = {"lsf": dask_jobqueue.LSFCluster, "slurm": dask_jobqueue.SLURMCluster}
    if system not in classes:
        raise InvalidArgumentError(f"there is no cluster {system!r}; known are {', '.join(classes)}")
    with classes[system](cores=1, processes=1, memory=memory, queue=queue) as cluster:
        cluster.scale(jobs=jobs)
        with distributed.Client(cluster, set_as_default=False) as client:
            yield client.get_executor(pure=False)
