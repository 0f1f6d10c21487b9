"""``csc models``: what networks and published weights there are, and what a checkpoint is."""

from __future__ import annotations

import click

from csc_cli.commands.model_export import export
from csc_cli.commands.model_weights import fetch, pretrained


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
    from csc_cli.console import say, table
    from csc_models import list_models, model_spec
    from csc_models.errors import MissingExtraError

    rows, missing = [], []
    for name in list_models(pattern):
        spec = model_spec(name)
        try:
            parameters = f"{spec.card().parameters:,}"
        except MissingExtraError:
            parameters = "-"
            missing.append(f"csc-models[{spec.extra}]")
        rows.append((name, parameters, spec.source))
    say(table(["name", "parameters", "source"], rows, indent=""))
    for extra in sorted(set(missing)):
        say(f'networks with "-" need: pip install "{extra}"')


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """Show what one network takes and where it comes from; or of published weights, what they are for."""
    from csc_cli.console import say
    from csc_models import list_pretrained, model_card
    from csc_models.pretrained import pretrained_card

    say(str(pretrained_card(name) if "/" in name else model_card(name)))
    found = [] if "/" in name else [other for other in list_pretrained() if other.split("/")[0] == name]
    if found:
        say(f"  weights          {', '.join(found)}")


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
