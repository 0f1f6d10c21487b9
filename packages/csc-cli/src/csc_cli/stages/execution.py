"""Where there is worked, as several commands are told it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from csc_cli.options import Decorator, parse_names

if TYPE_CHECKING:
    from csc_data.executors.cluster import System
    from csc_train.prediction.running.workers import ExecutionOptions


def parse_devices(ctx: click.Context, param: click.Parameter, value: str | None) -> int | tuple[str, ...] | None:
    """Read how many GPUs, or which.

    Examples
    --------
    >>> parse_devices(None, None, "2"), parse_devices(None, None, "cuda:0,cuda:2")
    (2, ('cuda:0', 'cuda:2'))
    """
    names = parse_names(ctx, param, value)
    if not names:
        return None
    return int(names[0]) if len(names) == 1 and names[0].isdigit() else tuple(names)


def predict_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where blocks are predicted."""
    added: tuple[Decorator, ...] = (
        click.option("--device", help="cuda, mps or cpu [default: the first of them that is there]."),
        click.option("--devices", metavar="N", callback=parse_devices, help="GPUs of this machine, a process each."),
        click.option("-w", "--workers", type=click.IntRange(min=1), help="Processes on the CPU of this machine."),
        *_cluster_options,
    )
    return _with(command, *added)


def work_options(default: str) -> Decorator:
    """Return what adds the options that say where predictions are processed, or results packed.

    Parameters
    ----------
    default : str
        How many processes there are by default, for people.
    """
    text = f"Processes of this machine [default: {default}]."
    processes: Decorator = click.option("-w", "--max-workers", type=click.IntRange(min=1), help=text)

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(*, jobs: int, **values: Any) -> Any:
            return command(jobs=None if values["cluster"] is None else jobs, **values)

        return _with(call, processes, *_cluster_options)

    return add


_cluster_options: tuple[Decorator, ...] = (
    click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, such as tcp://node:8786."),
    click.option("--cluster", type=click.Choice(["slurm", "lsf"]), help="Start Dask workers by this."),
    click.option("--jobs", type=click.IntRange(min=1), default=1, help="Workers to start by --cluster."),
)


def _with(command: Callable[..., Any], *options: Decorator) -> Callable[..., Any]:
    for option in reversed(options):  # click lists the last one first
        command = option(command)
    return command


def make_execution(
    *,
    devices: int | tuple[str, ...] | None,
    scheduler: str | None,
    cluster: System | None,
    jobs: int | None,
    workers: int = 1,
) -> ExecutionOptions | None:
    """Return where blocks are predicted; None where nothing but the settings says it.

    Examples
    --------
    >>> make_execution(devices=2, scheduler=None, cluster=None, jobs=None).devices
    2
    >>> make_execution(devices=None, scheduler=None, cluster=None, jobs=None) is None
    True
    """
    from csc_train.prediction.running.workers import ExecutionOptions

    if devices is None and scheduler is None and cluster is None:
        return None
    return ExecutionOptions(
        workers=workers, devices=devices, scheduler=scheduler, cluster=cluster, jobs=1 if jobs is None else jobs
    )
