"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

data_option: Decorator = click.option(
    "--data", metavar="DIR", help="Data folder [default: CSC_DATA, else the setting `data`, else ./data]."
)

crops_option: Decorator = click.option(
    "-c", "--crops", metavar="IDS", help="Test crops, separated by commas (557 or crop557) [default: all]."
)

existing_option: Decorator = click.option(
    "--existing",
    type=click.Choice(["resume", "refuse", "overwrite"]),
    default="resume",
    show_default=True,
    help="What to do with output that is there: go on with it, stop, or start anew.",
)

overwrite_option: Decorator = click.option("-O", "--overwrite", is_flag=True, help="The same as --existing overwrite.")


def split_names(text: str | None) -> list[str] | None:
    """Split names at commas; None stays None.

    >>> split_names("nuc, er")
    ['nuc', 'er']
    """
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_scale(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, float, float] | None:
    """Read a voxel size in nm: one number for all axes, or three separated by commas."""
    if value is None:
        return None
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not all(0 < number < float("inf") for number in numbers):
        raise click.BadParameter(f"{value!r} is no voxel size in nm; give 8, or 4,8,8 for z,y,x", ctx, param)
    return numbers[0], numbers[1], numbers[2]


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where annotated crops are looked for."""
    options = (
        click.option(
            "-sp",
            "--search-path",
            metavar="PATH",
            help="Where data sets lie, with {dataset} and {name} [default: the path templates of `csc config`].",
        ),
        click.option("-rn", "--raw-name", metavar="NAME", help="What {name} is for raw [default: em/fibsem-uint8]."),
        click.option(
            "-cn",
            "--crop-name",
            metavar="NAME",
            help="What {name} is for annotations [default: labels/groundtruth/{crop}/{label}].",
        ),
        click.option(
            "-s3", "--use-s3", is_flag=True, help="Use the bucket of the challenge instead of the data folder."
        ),
        click.option(
            "-ds", "--datasets", metavar="NAMES", default="*", help="Data sets: names or patterns [default: all]."
        ),
        click.option(
            "-cr", "--crops", metavar="IDS", default="*", help="Crops: ids or patterns like 23* [default: all]."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
