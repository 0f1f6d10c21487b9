"""``csc speedtest``: how fast this machine, its disk and its network are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from csc_cli.console import answer, say
from csc_cli.options import config_option, json_option, parse_names
from csc_data.wording import table

if TYPE_CHECKING:
    from csc_cli.commands.speedtest.limits import Limits, Speed
    from csc_data.config.user_config import Config

PARTS = ("device", "disk", "loader", "network")


def _parse_parts(ctx: click.Context, param: click.Parameter, value: str | None) -> Sequence[str]:
    names = parse_names(ctx, param, value) or PARTS
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(PARTS)}", ctx, param)
    return names


@click.command()
@click.option(
    "--only",
    "parts",
    metavar="PARTS",
    callback=_parse_parts,
    shell_complete=lambda ctx, param, incomplete: [part for part in PARTS if part.startswith(incomplete)],
    help=f"Of {', '.join(PARTS)} [default: all].",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=10.0,
    show_default=True,
    help="About how long each part may take.",
)
@click.option(
    "--megabytes",
    type=click.IntRange(8, 100_000),
    default=256,
    show_default=True,
    help="How much may be written, read or fetched.",
)
@click.option("--device", help="cuda, mps or cpu [default: the first of them that is there].")
@json_option
@config_option
def speedtest(parts: Sequence[str], seconds: float, megabytes: int, device: str | None, config: Config) -> None:
    """Measure a training step on the device, the disk of the data folder, the loader, and the bucket.

    The loader reads what the datasplit names, or a small volume that is made up. The disk is tried with a temporary
    file in the data folder. Nothing is kept. Other work on the machine makes all of it slower.
    """
    from csc_cli.commands.speedtest.limits import Limits

    limits = Limits(seconds=seconds, bytes=megabytes * 10**6)
    found = [_measure(part, limits, device, config) for part in parts]
    answer({speed.part: {"measured": speed.measured, "said": speed.said, **speed.details} for speed in found})
    say(table(("part", "found"), [(speed.part, speed.said) for speed in found]))


def _measure(part: str, limits: Limits, device: str | None, config: Config) -> Speed:
    """Measure a part; what is in its way is what is said of it, so that the others are measured all the same."""
    from csc_cli.commands.speedtest.device import measure_device
    from csc_cli.commands.speedtest.disk import measure_disk
    from csc_cli.commands.speedtest.limits import Speed
    from csc_cli.commands.speedtest.loader import measure_loader
    from csc_cli.commands.speedtest.network import measure_network
    from csc_data.errors import CscError

    try:
        if part == "device":
            return measure_device(limits, device)
        if part == "disk":
            return measure_disk(limits, config.root)
        if part == "loader":
            return measure_loader(limits, config)
        return measure_network(limits, config)
    except (CscError, OSError) as error:
        return Speed(part=part, measured=False, said=f"not measured: {error}")
