"""``csc classes``: the label classes of the challenge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from csc_cli.console import answer, say
from csc_cli.options import config_option, json_option
from csc_data.wording import plural, table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config


@click.command()
@click.option("--tested", is_flag=True, help="Only the classes that are scored.")
@click.option("--instance", is_flag=True, help="Only the classes that are scored as instances.")
@click.option(
    "--refresh", is_flag=True, help="First read the organisers' lists of crops again, and say what changed in them."
)
@json_option
@config_option
def classes(tested: bool, instance: bool, refresh: bool, config: Config) -> None:
    """List the label classes: id, how they are scored, and what group classes are made of.

    Those of a classes.toml in the data folder come last.
    """
    from csc_data.challenge import load_classes

    if refresh:
        from csc_cli.stages.refreshing import refresh_lists

        refresh_lists()
    known = load_classes(config)
    shown = {
        name: entry
        for name, entry in known.items()
        if (entry.tested or not tested) and (entry.instance or not instance)
    }
    rows = [
        (
            entry.id,
            name,
            "instance" if entry.instance else "semantic",
            "yes" if entry.tested else "own" if name in known.own else "no",
            " ".join(known.parts_of(name)) if len(entry.parts) <= 12 else plural(len(entry.parts), "class"),
        )
        for name, entry in shown.items()
    ]
    answer(
        [
            {
                "id": entry.id,
                "name": name,
                "instance": entry.instance,
                "tested": entry.tested,
                "own": name in known.own,
                "parts": known.parts_of(name),
            }
            for name, entry in shown.items()
        ]
    )
    say(table(["id", "class", "kind", "tested", "made of"], rows))
