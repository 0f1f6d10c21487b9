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
