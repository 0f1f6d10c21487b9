"""``csc models``: what networks and published weights there are, and what a checkpoint is."""

from __future__ import annotations

import click

from csc_cli.commands.models.export import export
from csc_cli.commands.models.import_ import import_
from csc_cli.commands.models.weights import fetch, pretrained
from csc_cli.completing import model_names, network_names, one_of
from csc_cli.console import answer, say
from csc_cli.near_names import NearGroup
from csc_cli.options import json_option
from csc_data.wording import folded, table


@click.group(cls=NearGroup)
def models() -> None:
    """Look at the networks that training can use."""


models.add_command(export)
models.add_command(fetch)
models.add_command(import_)
models.add_command(pretrained)


@models.command("list")
@click.argument("pattern", required=False, shell_complete=one_of(network_names))
@json_option
def list_(pattern: str | None) -> None:
    """List the networks, or those whose name holds PATTERN."""
    from csc_models import list_models, model_spec
    from csc_models.catalog import model_package
    from csc_models.optional import is_installed
    from csc_models.plug_ins import offers

    specs, rows, notes, found = [], [], [], []
    for name in list_models(pattern):
        package = model_package(name)
        try:
            spec = model_spec(name)
            # Counting those of a library would import it.
            parameters = None if spec.extra else spec.card().parameters
        except Exception as error:
            if package is None:
                raise
            notes.append(f"{name} of {package} cannot be used: {error}")
            continue
        specs.append(spec)
        rows.append(
            (name, f"{parameters:,}" if parameters else "", f"{package}: {spec.source}" if package else spec.source)
        )
        found.append(
            {"name": name, "parameters": parameters, "source": spec.source, "package": package, "extra": spec.extra}
        )
    answer(found)
    say(table(["name", "parameters", "source"], rows))
    shadowed = [offer for offer in offers() if model_package(offer.name) is None]
    notes += [f"{offer.value} is not used: {offer.name} is a network of csc-models" for offer in shadowed]
    for note in notes:
        say(note)
    for extra in sorted({spec.extra for spec in specs if spec.extra and not is_installed(spec.extra)}):
        names = ", ".join(spec.name for spec in specs if spec.extra == extra)
        say(f'{names} need the extra csc-models[{extra}]: in a clone, pip install "./packages/csc-models[{extra}]"')


@models.command()
@click.argument("name", shell_complete=one_of(model_names))
@json_option
def show(name: str) -> None:
    """Show what a network takes, or what published weights are for."""
    from csc_models import list_pretrained, model_card
    from csc_models.catalog import model_package
    from csc_models.pretrained import pretrained_card

    if "/" in name:
        answer(pretrained_card(name))
        say(folded(str(pretrained_card(name))))
        return
    card = model_card(name)
    answer(card)
    say(folded(str(card)))
    package = model_package(card.name)
    if package:
        say(f"  package          {package}")
    weights = list_pretrained(f"{card.name}/*")
    if weights:
        say(f"  weights          {', '.join(weights)}")


models.add_command(show, "card")


@models.command()
@click.argument("file", type=click.Path())
@json_option
def check(file: str) -> None:
    """Tell what FILE is (a checkpoint of ours, weights of the official toolbox, or neither) and whether it loads."""
    from csc_models.checkpoint import identify

    found = identify(file)
    answer(found)
    say(folded(str(found)))
    if found.problem:
        raise click.ClickException(f"{file} does not load: {found.problem}")
