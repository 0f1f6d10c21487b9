"""``csc new-experiment``: a folder with all that an experiment is, ready to run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_cli.commands.new_experiment.templates import NAMES, TEMPLATES
from csc_cli.console import say
from csc_cli.options import class_names_option, config_option
from csc_cli.stages.experiments import next_command

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.splits.split_file import SplitRow


@click.command()
@click.argument("name")
@click.option("-t", "--template", type=click.Choice(NAMES), default="3d", show_default=True, help="What to begin with.")
@class_names_option("-c", "--classes", text="Classes [default: all of the datasplit].")
@config_option
def new_experiment(name: str, template: str, classes: Sequence[str] | None, config: Config) -> None:
    """Make the folder of an experiment, experiments/NAME (or NAME, where it is a path), ready to run.

    Its files are there to be changed. What training, prediction and all that follows make lies in it, beside nobody
    else's; other commands find it by -e NAME. The template plan is chosen for the data and this machine.
    """
    from csc_data.splits.split_file import write_datasplit

    folder = config.experiment_folder(name)
    _check(folder)
    rows = _split(config, classes)
    if template != "plan":
        files = _template_files(folder, template, config, classes or _annotated(rows))
    elif rows:
        files = _plan_files(folder, config, rows, classes)
    else:
        raise click.ClickException(f"{config.root} has no annotated crops to plan for; choose another template")
    for part in ("checkpoints", "logs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    if rows:
        write_datasplit(folder / "datasplit.csv", rows)
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    say(f"made {folder}: {', '.join(sorted(entry.name for entry in folder.iterdir()))}")
    if not rows:
        say(f"  there is no datasplit yet, as {config.root} has no annotated crops; training makes one when it has")
    say(f"next: {next_command('train', '-e', name, '--dry-run')} tells what it takes; then without --dry-run")


def _check(folder: Path) -> None:
    from csc_data.errors import ExistingOutputError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExistingOutputError(f"{folder} is there and not empty; choose another name")


def _split(config: Config, classes: Sequence[str] | None) -> Sequence[SplitRow]:
    """Return the rows of the data folder's datasplit, which is made where there are crops; none without crops."""
    from csc_data.challenge import load_classes
    from csc_data.errors import MissingDataError
    from csc_data.splits.split_file import read_datasplit
    from csc_data.splits.splitting import SplitOptions, make_datasplit

    there = config.path("datasplit")
    if there.is_file():
        return read_datasplit(there, config.root)
    try:
        return make_datasplit(config, SplitOptions(classes=classes), table=load_classes(config)).rows
    except MissingDataError:
        return ()


def _annotated(rows: Sequence[SplitRow]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for row in rows if row.usage == "train" for name in row.classes))


def _template_files(folder: Path, template: str, config: Config, classes: Sequence[str]) -> dict[str, str]:
    from csc_cli.commands.new_experiment.files import experiment_files
    from csc_data.challenge import load_classes

    chosen = TEMPLATES[template].choose(tuple(classes), load_classes(config))
    if not chosen:
        raise click.ClickException(f"there are no objects of {', '.join(classes)} to divide; name others by --classes")
    return experiment_files(folder.name, folder.as_posix(), TEMPLATES[template], chosen)


def _plan_files(
    folder: Path, config: Config, rows: Sequence[SplitRow], classes: Sequence[str] | None
) -> dict[str, str]:
    """Write plan.toml, and return what lies beside it; steps are not tried, which `csc plan` does."""
    from csc_cli.commands.new_experiment.files import planned_files
    from csc_cli.commands.plan import write_plans

    folder.mkdir(parents=True, exist_ok=True)
    options = {"classes": classes, "datasplit": None, "minutes": 60.0, "device": None, "measure": False}
    first, *others = write_plans(folder / "plan.toml", rows, config, options)
    first.replace(folder / "plan.toml")
    for file in others:
        say(f"  {file} is for the other voxel sizes: an experiment of its own")
    return planned_files(folder.name, folder.as_posix())
