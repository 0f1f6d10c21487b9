"""``csc models pretrained`` and ``csc models fetch``: weights that others published."""

from __future__ import annotations

import click

from csc_cli.completing import one_of, weights_names
from csc_cli.console import answer, say
from csc_cli.options import json_option
from csc_data.wording import table


@click.command()
@click.argument("pattern", required=False, shell_complete=one_of(weights_names))
@json_option
def pretrained(pattern: str | None) -> None:
    """List published weights, or those whose name holds PATTERN.

    `csc models show NAME` tells more of one.
    """
    from csc_models import list_pretrained
    from csc_models.pretrained import pretrained_card, pretrained_path

    rows, cards = [], []
    for name in list_pretrained(pattern):
        card = pretrained_card(name)
        cards.append({"card": card, "path": pretrained_path(name), "fetched": pretrained_path(name).is_file()})
        sizes = f"{card.input_voxel_size[0]:g} -> {card.output_voxel_size[0]:g}"
        rows.append((name, sizes, "yes" if pretrained_path(name).is_file() else "no", ", ".join(card.classes)))
    answer(cards)
    say(table(["name", "nm", "fetched", "classes"], rows))


@click.command()
@click.argument("name", shell_complete=one_of(weights_names))
@click.option("--mirror", metavar="URL", help="Address of a copy of the published folder.")
@click.option(
    "-o", "--output", type=click.Path(), help="Also write a checkpoint that knows its classes and voxel sizes."
)
def fetch(name: str, mirror: str | None, output: str | None) -> None:
    """Fetch published weights into the user's cache.

    NAME is one that `csc models pretrained` lists. A download that was cut goes on where it stopped when this is run
    again.
    """
    from csc_cli.stages.weights import fetch_weights
    from csc_models.pretrained import pretrained_card

    card = pretrained_card(name)
    fetch_weights(card.name, mirror=mirror)
    if output is not None:
        from csc_models.checkpoint import save_checkpoint
        from csc_models.pretrained import load_pretrained, pretrained_description

        save_checkpoint(output, load_pretrained(card.name), description=pretrained_description(card.name))
        say(f"wrote {output}")
    say(f"next: csc predict {output or card.name}, or pretrained = {card.name!r} in an experiment")
