"""Processes that predict blocks: on the CPU, one for each GPU, or on a cluster."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType

from csc_data.blocks import Execution, on_cluster, on_processes, on_scheduler
from csc_data.errors import InvalidArgumentError
from csc_data.executors.cluster import System
from csc_train.settings import PredictSettings

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOptions:
    """Where blocks are predicted; by default in this process, on the device of the settings.

    Attributes
    ----------
    workers : int
        Processes that predict on the CPU of this machine, if more than one; torch's threads are divided among them.
    devices : int or tuple of str, optional
        So many GPUs of this machine, or these (as in ``CUDA_VISIBLE_DEVICES``), a process for each.
    scheduler : str, optional
        Address of a running Dask scheduler, whose workers predict.
    cluster : {"lsf", "slurm"}, optional
        Jobs of this system predict, each on the GPU that it is given; what they ask for stands in the user's
        configuration of Dask.
    jobs : int
        How many jobs.

    Raises
    ------
    InvalidArgumentError
        If numbers are out of range, or more than one place is named.
    """

    workers: int = 1
    devices: int | tuple[str, ...] | None = None
    scheduler: str | None = None
    cluster: System | None = None
    jobs: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1 or self.jobs < 1 or self.devices in (0, ()):
            raise InvalidArgumentError(
                f"{self.workers} workers, {self.jobs} jobs, devices {self.devices!r}; expected at least one of each"
            )
        named = {
            "workers": self.workers > 1,
            "devices": self.devices is not None,
            "scheduler": self.scheduler is not None,
            "cluster": self.cluster is not None,
        }
        chosen = [name for name, is_named in named.items() if is_named]
        if len(chosen) > 1:
            raise InvalidArgumentError(f"{' and '.join(chosen)} exclude each other: give one of them")

    @property
    def processes(self) -> int:
        """How many predict at the same time, as far as that is known."""
        if self.devices is not None:
            return self.devices if isinstance(self.devices, int) else len(self.devices)
        return self.jobs if self.cluster is not None else self.workers

    @property
    def is_here(self) -> bool:
        """Whether this process predicts by itself."""
        return self.workers == 1 and self.devices is None and self.scheduler is None and self.cluster is None


def execution_options(settings: PredictSettings) -> ExecutionOptions:
    """Return where settings let blocks be predicted.

    Raises
    ------
    InvalidArgumentError
        If processes on the CPU are to use another device.

    Examples
    --------
    >>> from csc_train import PredictSettings
    >>> execution_options(PredictSettings(workers=4)).workers
    4
    """
    if settings.workers > 1:
        if settings.device not in (None, "cpu"):
            raise InvalidArgumentError(
                f"workers are processes on the CPU, and the device is {settings.device!r}; give devices for "
                "several GPUs"
            )
        return ExecutionOptions(workers=settings.workers)
    return ExecutionOptions(devices=settings.devices if settings.devices > 1 else None)


@contextmanager
def open_execution(options: ExecutionOptions) -> Iterator[Execution]:
    """Start what is to predict, and end it afterwards, also after Ctrl-C and SIGTERM.

    Raises
    ------
    InvalidArgumentError
        If there are not so many GPUs.
    MissingPackageError
        If a cluster is named and Dask is not installed.
    ClusterError
        If the cluster does not answer, or takes no jobs.
    """
    with ExitStack() as stack:
        stack.enter_context(_ended_in_order())
        if options.scheduler is not None:
            yield stack.enter_context(on_scheduler(options.scheduler))
        elif options.cluster is not None:
            yield stack.enter_context(on_cluster(options.cluster, options.jobs))
        elif options.devices is not None or options.workers > 1:
            environments = _environments(options)
            count = len(environments)
            threads = max(1, _cores() // count)
            yield stack.enter_context(on_processes(count, threads=threads, environments=environments))
        else:
            yield Execution()


def _environments(options: ExecutionOptions) -> list[Mapping[str, str]]:
    """Return what makes each process see what it is to compute on, and nothing else."""
    if options.devices is None:
        return [{_VISIBLE: ""}] * options.workers
    if isinstance(options.devices, tuple):
        return [{_VISIBLE: device} for device in options.devices]
    visible = _visible_gpus()
    if options.devices > len(visible):
        raise InvalidArgumentError(
            f"there are {len(visible)} GPUs, and {options.devices} were asked for; `workers` are processes on the CPU"
        )
    return [{_VISIBLE: device} for device in visible[: options.devices]]


def _visible_gpus() -> list[str]:
    """Return the GPUs of this process, as a batch system or the user has limited them."""
    import torch

    limited = os.environ.get(_VISIBLE)
    known = [str(number) for number in range(torch.cuda.device_count())]
    return known if limited is None else limited.split(",")[: len(known)]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM, which batch systems send before they kill, unwind as Ctrl-C does: blocks are given back at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
