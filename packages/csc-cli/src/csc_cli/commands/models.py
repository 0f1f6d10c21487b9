"""``csc models``: what networks there are."""

from __future__ import annotations

import click

from csc_cli.commands.model_export import export


@click.group()
def models() -> None:
    """Look at the networks that training can use."""


models.add_command(export)


@models.command("list")
@click.argument("pattern", required=False)
def list_(pattern: str | None) -> None:
    """List the networks, or those whose name holds PATTERN."""
    from csc_cli.console import say, table
    from csc_models import list_models, model_card

    cards = [model_card(name) for name in list_models(pattern)]
    say(table(["name", "parameters", "source"], [(c.name, f"{c.parameters:,}", c.source) for c in cards], indent=""))


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """Show what one network takes and where it comes from."""
    from csc_cli.console import say
    from csc_models import model_card

    say(str(model_card(name)))


@models.command()
@click.argument("file", type=click.Path())
def check(file: str) -> None:
    """Tell what FILE is (a checkpoint of ours, weights of the official toolbox, or neither) and whether it loads."""
    from csc_cli.console import say
    from csc_models.checkpoint import identify

    found = identify(file)
    say(str(found))
    if found.problem:
        raise click.ClickException(f"{file} does not load: {found.problem}")
