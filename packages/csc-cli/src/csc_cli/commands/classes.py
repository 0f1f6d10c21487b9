"""``csc classes``: the label classes of the challenge."""

from __future__ import annotations

import click

from csc_cli.console import say
from csc_data.wording import plural, table


@click.command()
@click.option("--tested", is_flag=True, help="Only the classes that are scored.")
@click.option("--instance", is_flag=True, help="Only the classes that are scored as instances.")
@click.option(
    "--refresh", is_flag=True, help="First read the organisers' lists of crops again, and say what changed in them."
)
def classes(tested: bool, instance: bool, refresh: bool) -> None:
    """List the label classes: id, how they are scored, and what group classes are made of."""
    from csc_data.challenge import label_classes

    if refresh:
        from csc_cli.stages.refreshing import refresh_lists

        refresh_lists()
    by_id = {entry.id: name for name, entry in label_classes().items()}
    rows = [
        (
            entry.id,
            name,
            "instance" if entry.instance else "semantic",
            "yes" if entry.tested else "no",
            " ".join(by_id[part] for part in sorted(entry.parts))
            if len(entry.parts) <= 12
            else plural(len(entry.parts), "class"),
        )
        for name, entry in label_classes().items()
        if (entry.tested or not tested) and (entry.instance or not instance)
    ]
    say(table(["id", "class", "kind", "tested", "made of"], rows))
