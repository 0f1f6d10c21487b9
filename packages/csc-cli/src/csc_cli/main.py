"""The entry point, and how errors reach the user."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from csc_cli.near_names import NearGroup
from csc_data.errors import CscError
from csc_data.storage.room import full_disk_told

COMMANDS: Mapping[str, str] = {
    "demo": "csc_cli.commands.demo.command:demo",
    "fetch-data": "csc_cli.commands.fetch_data.command:fetch_data",
    "verify-data": "csc_cli.commands.verify_data:verify_data",
    "make-synthetic": "csc_cli.commands.make_synthetic:make_synthetic",
    "convert": "csc_cli.commands.convert:convert",
    "make-datasplit": "csc_cli.commands.make_datasplit:make_datasplit",
    "get-counts": "csc_cli.commands.get_counts:get_counts",
    "data-preview": "csc_cli.commands.data_preview.command:data_preview",
    "new-experiment": "csc_cli.commands.new_experiment.command:new_experiment",
    "plan": "csc_cli.commands.plan:plan",
    "pretrain": "csc_cli.commands.pretrain:pretrain",
    "list": "csc_cli.commands.list_experiments:list_experiments",
    "train": "csc_cli.commands.train:train",
    "unite-tensorboards": "csc_cli.commands.unite_tensorboards:unite_tensorboards",
    "predict": "csc_cli.commands.predict:predict",
    "tune": "csc_cli.commands.tune:tune",
    "process": "csc_cli.commands.process:process",
    "pack-results": "csc_cli.commands.pack_results:pack_results",
    "validate": "csc_cli.commands.validate:validate",
    "submit": "csc_cli.commands.submit:submit",
    "visualize": "csc_cli.commands.visualize.command:visualize",
    "evaluate": "csc_eval.command.options:evaluate",
    "batch-eval": "csc_eval.command.options:batch_eval",
    "compare": "csc_eval.command.group:compare",
    "report": "csc_cli.commands.report:report",
    "settings": "csc_cli.commands.settings:settings",
    "classes": "csc_cli.commands.classes:classes",
    "models": "csc_cli.commands.models.command:models",
    "config": "csc_cli.commands.config:config",
    "doctor": "csc_cli.commands.doctor.command:doctor",
    "speedtest": "csc_cli.commands.speedtest.command:speedtest",
    "completion": "csc_cli.commands.completion:completion",
}
"""Commands in the order in which people need them, and where each is defined."""


PACKAGES = ("csc-cli", "csc-data", "csc-models", "csc-eval", "csc-train", "csc-submit")
"""The packages of the toolbox, each with a version of its own."""


class CommandGroup(NearGroup):
    """A group whose commands are imported when they are asked for, and whose errors are one line and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the path from data to score."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what users can cause becomes a message, and so do errors in their own code."""
        try:
            with full_disk_told():
                return super().invoke(ctx)
        except toolbox_errors() as error:
            raise click.ClickException(str(error)) from error
        except Exception as error:
            from csc_cli.own_code import told_by_their_lines

            told = told_by_their_lines(error)
            if told is None:
                raise
            raise click.ClickException(told) from error


def toolbox_errors() -> tuple[type[Exception], ...]:
    """Return the roots of the errors that the toolbox raises on purpose, as far as its packages are loaded.

    csc-models stands alone and has a root of its own; importing it here for that would import torch.

    Examples
    --------
    >>> CscError in toolbox_errors()
    True
    """
    models = sys.modules.get("csc_models")
    return (CscError,) if models is None else (CscError, models.ModelError)


def _say_versions(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    for name in PACKAGES:
        click.echo(f"{name} {version(name)}")
    ctx.exit()


@click.group(
    cls=CommandGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        # --csv_path is what the official tool calls --csv-path.
        "token_normalize_func": lambda token: token.replace("_", "-"),
    },
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_versions,
    help="Show the versions of all packages and exit.",
)
def csc() -> None:
    """CellMap Segmentation Challenge: from data to score.

    Start with `csc demo`: it makes a small challenge and runs the whole path on it.
    Each command says what it did and what comes next. Data lies in ./data unless
    --data, CSC_DATA or `csc config set data DIR` says otherwise.
    """


def main() -> None:
    """Run the command line."""
    # Threads that spin while they wait take the cores from what they wait for; a third of the CPU time of training on
    # a machine that does something else as well.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "_CSC_COMPLETE" in os.environ:
        import csc_cli.shells  # noqa: F401  (tells click how)
    csc(prog_name="csc")
