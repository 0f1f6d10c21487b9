"""Where blocks are predicted, as several commands are told it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from csc_cli.options import parse_names

if TYPE_CHECKING:
    from csc_data.executors.cluster import System
    from csc_train.prediction.running.workers import ExecutionOptions


def parse_devices(ctx: click.Context, param: click.Parameter, value: str | None) -> int | tuple[str, ...] | None:
    """Read how many GPUs, or which."""
    names = parse_names(ctx, param, value)
    if not names:
        return None
    return int(names[0]) if len(names) == 1 and names[0].isdigit() else tuple(names)


def make_execution(
    *,
    devices: int | tuple[str, ...] | None,
    scheduler: str | None,
    cluster: System | None,
    jobs: int | None,
    workers: int = 1,
) -> ExecutionOptions | None:
    """Return where blocks are predicted; None where nothing but the settings says it."""
    from csc_train.prediction.running.workers import ExecutionOptions

    if devices is None and scheduler is None and cluster is None:
        return None
    return ExecutionOptions(
        workers=workers, devices=devices, scheduler=scheduler, cluster=cluster, jobs=1 if jobs is None else jobs
    )
