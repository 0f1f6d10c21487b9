"""Dask clusters as executors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, Literal

from csc_data.errors import CscError, InvalidArgumentError, import_extra

System = Literal["lsf", "slurm"]

_NEEDED = ("cores", "memory")
_LISTS_JOBS = {"lsf": "bjobs", "slurm": "squeue --me"}
_PATIENCE_S = 60.0

logger = logging.getLogger(__name__)


class ClusterError(CscError, RuntimeError):
    """A cluster cannot be reached or started."""


def _import(name: str) -> Any:
    return import_extra(name, "working on a cluster", "csc-data[dask]")


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
    MissingPackageError
        If Dask is not installed.
    ClusterError
        If nothing answers at the address.
    """
    distributed = _import("distributed")
    try:
        client = distributed.Client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address}: {error}") from error
    try:
        yield client.get_executor(pure=False)
    finally:
        client.close()


@contextmanager
def start_jobs(system: System, *, jobs: int, options: dict[str, Any] | None = None) -> Iterator[Executor]:
    """Start jobs on a batch system, each with one worker that does one task at a time, and yield an executor on them.

    Parameters
    ----------
    system : {"lsf", "slurm"}
        Whose jobs.
    jobs : int
        How many; those that end before the work does are started anew.
    options : mapping, optional
        Of dask-jobqueue's ``LSFCluster`` or ``SLURMCluster``: memory, cores, queue, walltime. What is not given (or
        None) is taken from the user's configuration of Dask, the section ``jobqueue.slurm`` or ``jobqueue.lsf``.

    Raises
    ------
    InvalidArgumentError
        If there is no such system.
    MissingPackageError
        If Dask or dask-jobqueue are not installed.
    ClusterError
        If the system takes no jobs, or the configuration says too little of them.
    """
    distributed, jobqueue = _import("distributed"), _import("dask_jobqueue")
    classes = {"lsf": jobqueue.LSFCluster, "slurm": jobqueue.SLURMCluster}
    if system not in classes:
        raise InvalidArgumentError(f"there is no cluster {system!r}; known are {', '.join(classes)}")
    described = {name: value for name, value in (options or {}).items() if value is not None}
    described |= _one_at_a_time(system)
    missing = [name for name in _NEEDED if name not in described and _configured(system, name) is None]
    if missing:
        raise ClusterError(
            f"it is not said how much jobs of {system} take: {' and '.join(missing)}; write that, and queue, walltime "
            f"and what a GPU needs (job-extra-directives), into the section jobqueue.{system} of "
            "~/.config/dask/jobqueue.yaml"
        )
    try:
        cluster = classes[system](**described)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise ClusterError(f"jobs of {system} cannot be started: {error}") from error
    with cluster:
        # As many at any time, not once: jobs that end, by their walltime for one, are asked for again.
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
        with distributed.Client(cluster, set_as_default=False) as client, _told_while_no_job_runs(client, system):
            yield client.get_executor(pure=False)


@contextmanager
def _told_while_no_job_runs(client: Any, system: System) -> Iterator[None]:
    """Say again and again that nothing goes on, while all jobs wait in their queue or fail as they begin."""
    left = threading.Event()

    def watch() -> None:
        waited = 0.0
        while not left.wait(_PATIENCE_S):
            waited = 0.0 if client.nthreads() else waited + _PATIENCE_S
            if waited:
                logger.warning(
                    "no job of %s has run for %.0f s: `%s` tells what they wait for; output of jobs that fail is where "
                    "log-directory of jobqueue.%s says",
                    system, waited, _LISTS_JOBS[system], system,
                )  # fmt: skip

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        watcher.join()


def _configured(system: System, name: str) -> Any:
    """Return what the user's configuration of Dask says of the jobs of a system."""
    import dask

    return dask.config.get(f"jobqueue.{system}.{name}", None)


def _one_at_a_time(system: System) -> dict[str, Any]:
    """Return options by which a job is one worker with one thread: tasks use the cores, or the GPU, by themselves."""
    own = _configured(system, "worker-extra-args") or []
    return {"processes": 1, "worker_extra_args": [*own, "--nthreads", "1"]}
