"""``csc models``: what networks and published weights there are, and what a checkpoint is."""

from __future__ import annotations

import click

from csc_cli.commands.models.export import export
from csc_cli.commands.models.weights import fetch, pretrained
from csc_cli.console import say
from csc_data.wording import table


@click.group()
def models() -> None:
    """Look at the networks that training can use."""


models.add_command(export)
models.add_command(fetch)
models.add_command(pretrained)


@models.command("list")
@click.argument("pattern", required=False)
def list_(pattern: str | None) -> None:
    """List the networks, or those whose name holds PATTERN."""
    from csc_models import list_models, model_spec
    from csc_models.optional import is_installed

    specs = [model_spec(name) for name in list_models(pattern)]
    # Counting those of a library would import it.
    rows = [(spec.name, "" if spec.extra else f"{spec.card().parameters:,}", spec.source) for spec in specs]
    say(table(["name", "parameters", "source"], rows))
    for extra in sorted({spec.extra for spec in specs if spec.extra and not is_installed(spec.extra)}):
        names = ", ".join(spec.name for spec in specs if spec.extra == extra)
        say(f'{names} need the extra csc-models[{extra}]: in a clone, pip install "./packages/csc-models[{extra}]"')


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """Show what a network takes, or what published weights are for."""
    from csc_models import list_pretrained, model_card
    from csc_models.pretrained import pretrained_card

    if "/" in name:
        say(str(pretrained_card(name)))
        return
    card = model_card(name)
    say(str(card))
    weights = list_pretrained(f"{card.name}/*")
    if weights:
        say(f"  weights          {', '.join(weights)}")


@models.command()
@click.argument("file", type=click.Path())
def check(file: str) -> None:
    """Tell what FILE is (a checkpoint of ours, weights of the official toolbox, or neither) and whether it loads."""
    from csc_models.checkpoint import identify

    found = identify(file)
    say(str(found))
    if found.problem:
        raise click.ClickException(f"{file} does not load: {found.problem}")
