"""``csc config``: the user's settings."""

from __future__ import annotations

import click

from csc_cli.options import data_option


@click.group()
def config() -> None:
    """Show or change your settings: data folder, path templates, bucket and endpoint."""


@config.command()
@data_option
def show(data: str | None) -> None:
    """Show every setting and where its value comes from."""
    from csc_cli.console import say, table
    from csc_data.settings import setting_origins, settings_path

    rows = [(name, value or "-", origin) for name, (value, origin) in setting_origins(data=data).items()]
    say(table(["setting", "value", "from"], rows, indent=""))
    say(f"\nSettings file: {settings_path()}{'' if settings_path().exists() else ' (not there yet)'}")


@config.command("set")
@click.argument("name")
@click.argument("value")
def set_(name: str, value: str) -> None:
    """Store a setting, for example `csc config set data /big/disk/cellmap`."""
    from csc_cli.console import say
    from csc_data.settings import read_settings_file, store_setting

    file = store_setting(name, value)
    say(f"{name} is now {read_settings_file(file)[name]} (in {file})")


@config.command()
def path() -> None:
    """Print where the settings file is, or would be."""
    from csc_cli.console import say
    from csc_data.settings import settings_path

    say(str(settings_path()))
