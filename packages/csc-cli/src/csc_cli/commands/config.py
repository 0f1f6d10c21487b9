"""``csc config``: the user's configuration."""

from __future__ import annotations

import click

from csc_cli.completing import choice_names, one_of
from csc_cli.console import answer, say
from csc_cli.near_names import NearGroup
from csc_cli.options import data_option, json_option
from csc_data.wording import table


@click.group(cls=NearGroup)
def config() -> None:
    """Show or change your configuration: data folder, path templates, bucket and endpoint."""


@config.command()
@json_option
@data_option
def show(data: str | None) -> None:
    """Show every choice and where its value comes from."""
    from csc_data.config.user_config import config_origins, config_path

    origins = config_origins(data=data)
    choices = {name: {"value": value, "from": origin} for name, (value, origin) in origins.items()}
    answer({"file": config_path(), "choices": choices})
    rows = [(name, value or "-", origin) for name, (value, origin) in origins.items()]
    say(table(["name", "value", "from"], rows))
    say(f"\nConfig file: {config_path()}{'' if config_path().exists() else ' (not there yet)'}")


@config.command("set")
@click.argument("name", shell_complete=one_of(choice_names))
@click.argument("value")
def set_(name: str, value: str) -> None:
    """Store a choice, for example `csc config set data /big/disk/cellmap`."""
    from csc_data.config.user_config import read_config_file, store_choice

    file = store_choice(name, value)
    say(f"{name} is now {read_config_file(file)[name]} (in {file})")


@config.command()
@click.argument("name", shell_complete=one_of(choice_names))
def unset(name: str) -> None:
    """Forget a choice: its default, or what the environment says, holds again."""
    from csc_data.config.user_config import config_origins, config_path, forget_choice

    forgotten = forget_choice(name)
    value, origin = config_origins()[name]
    was = f"forgotten in {config_path()}" if forgotten else f"{config_path()} does not say it"
    say(f"{name} is now {value or '-'} ({origin}; {was})")


@config.command()
def path() -> None:
    """Print where the configuration file is, or would be."""
    from csc_data.config.user_config import config_path

    say(str(config_path()))
