"""Where the blocks of processing, and the arrays of a submission, are worked on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict

from csc_data.blocks import Execution, on_cluster, on_processes, on_scheduler
from csc_data.errors import InvalidArgumentError
from csc_data.executors.cluster import System


class WorkOptions(TypedDict, total=False):
    """Keywords that say where there is worked: here, one after the other, by default.

    Attributes
    ----------
    executor : concurrent.futures.Executor or csc_data.blocks.Execution
        One that is there; it stays open.
    max_workers : int
        Processes of this machine.
    scheduler : str
        Address of a Dask scheduler whose workers do it.
    cluster : {"lsf", "slurm"}
        Jobs of this system do it; what they ask for stands in the user's configuration of Dask.
    jobs : int
        How many jobs, 1 by default.
    """

    executor: Executor | Execution | None
    max_workers: int | None
    scheduler: str | None
    cluster: System | None
    jobs: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Where there is worked; the attributes are those of `WorkOptions`.

    Raises
    ------
    InvalidArgumentError
        If a number is below 1, or more than one place is named.

    Examples
    --------
    >>> with Workers().open() as execution:
    ...     execution.executor is None
    True
    """

    executor: Executor | Execution | None = None
    max_workers: int | None = None
    scheduler: str | None = None
    cluster: System | None = None
    jobs: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_workers", "jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidArgumentError(f"{name} must be 1 or more, got {value}")
        named = [
            name for name in ("executor", "max_workers", "scheduler", "cluster") if getattr(self, name) is not None
        ]
        if len(named) > 1:
            raise InvalidArgumentError(f"{' and '.join(named)} exclude each other: give one of them")
        if self.jobs is not None and self.cluster is None:
            raise InvalidArgumentError("jobs are those of a cluster: name lsf or slurm, too")

    @contextmanager
    def open(self, most: int | None = None) -> Iterator[Execution]:
        """Start what is to work, and end it afterwards.

        Parameters
        ----------
        most : int, optional
            Processes of this machine that are worth their start.

        Raises
        ------
        MissingPackageError
            If a scheduler or cluster is named, and Dask is not installed.
        ClusterError
            If it does not answer, or takes no jobs.
        """
        count = min(self.max_workers or 1, most or self.max_workers or 1)
        if isinstance(self.executor, Execution):
            yield self.executor
        elif self.executor is not None:
            yield Execution(executor=self.executor)
        elif self.scheduler is not None:
            with on_scheduler(self.scheduler) as execution:
                yield execution
        elif self.cluster is not None:
            with on_cluster(self.cluster, self.jobs or 1) as execution:
                yield execution
        elif count > 1:
            with on_processes(count) as execution:
                yield execution
        else:
            yield Execution()


def take_workers(given: dict[str, object]) -> Workers:
    """Take what says where there is worked out of keywords.

    Examples
    --------
    >>> options = {"max_workers": 4, "threshold": 0.5}
    >>> take_workers(options).max_workers, options
    (4, {'threshold': 0.5})
    """
    known = {name: given.pop(name) for name in WorkOptions.__annotations__ if name in given}
    return Workers(**known)  # type: ignore[arg-type]  # which is checked there
