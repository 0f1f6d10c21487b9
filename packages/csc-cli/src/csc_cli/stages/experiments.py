"""Which experiment a command works on: by its file CONFIG, by its folder or name (``-e``), or by both."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cli.completing import experiment_names, one_of
from csc_cli.options import Decorator, data_option

if TYPE_CHECKING:
    from csc_data.config.user_config import Config

TRAINING, PROCESSING = "train_config", "process_config"
"""Names of the files of an experiment, without their suffix."""

_SUFFIXES = (".py", ".toml")

name_option: Decorator = click.option(
    "-e",
    "--experiment",
    "chosen",
    metavar="NAME",
    shell_complete=one_of(experiment_names),
    help="An experiment with a folder of its own: its name, or that folder.",
)

config_argument: Decorator = click.argument("experiment", metavar="[CONFIG]", required=False, type=click.Path())


def experiment_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-e`` and ``--data``, and pass the configuration with both as ``config``."""

    @name_option
    @data_option
    @functools.wraps(command)
    def call(*, chosen: str | None, data: str | None, **values: Any) -> Any:
        return command(config=_config(chosen, data), **values)

    return call


def experiment_options(*files: str, may_be_new: bool = False) -> Decorator:
    """Return what adds CONFIG, which may be left out where ``-e`` is given, and what `experiment_option` adds.

    Parameters
    ----------
    *files : str
        Which file of an experiment's folder CONFIG is then: the first of these names that is there.
    may_be_new : bool
        Whether the folder is made where CONFIG is given.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @config_argument
        @name_option
        @data_option
        @functools.wraps(command)
        def call(*, experiment: str | None, chosen: str | None, data: str | None, **values: Any) -> Any:
            if experiment is None and chosen is None:
                raise click.UsageError("name an experiment file (CONFIG), or an experiment with its folder (-e)")
            config = _config(chosen, data, may_be_new=may_be_new and experiment is not None)
            file = experiment or str(find_file(Path(config.experiment), files))
            return command(experiment=file, config=config, **values)

        return call

    return add


def _config(chosen: str | None, data: str | None, *, may_be_new: bool = False) -> Config:
    from csc_data.config.user_config import load_config

    config = load_config(data=data)
    if chosen is None:
        return config
    if may_be_new:
        return config.of_experiment(config.experiment_folder(chosen).absolute())
    return config.choose_experiment(chosen)


def find_file(folder: Path, names: tuple[str, ...] = (TRAINING,)) -> Path:
    """Return the file of an experiment: of one of these names, the only one there, or the one that trained it.

    Raises
    ------
    MissingDataError
        If there is none, or nobody can tell which.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("model.py", "train_config.py"):
    ...         Path(folder, name).touch()
    ...     find_file(Path(folder)).name
    'train_config.py'
    """
    from csc_data.errors import MissingDataError
    from csc_data.formats.writing import read_json

    for name in names:
        for suffix in _SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    found = sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES and file.stem != "__init__")
    trained_by = [Path(str(read_json(file).get("experiment"))) for file in run_records(folder)]
    found = found if len(found) == 1 else [file for file in trained_by if file.is_file()][-1:]
    if not found:
        raise MissingDataError(f"{folder} has no {names[0]}.py; name the experiment file (CONFIG) beside -e")
    return found[0]


def run_records(folder: Path) -> list[Path]:
    """Return the records of the training runs whose logs lie below a folder, the latest last."""
    found = [file for depth in ("*", "*/*") for file in folder.glob(f"{depth}/run.json")]
    return sorted(
        (file for file in found if not file.parent.name.startswith("earlier_")), key=lambda file: file.stat().st_mtime
    )


def config_words() -> tuple[str, ...]:
    """Return CONFIG as it was given to this command, for the next one; nothing where ``-e`` says it."""
    given = click.get_current_context().params.get("experiment")
    return () if given is None else (given,)


def next_command(*words: str, takes_experiment: bool = True) -> str:
    """Return which command comes next, with the data of this one and, where it takes one, the experiment."""
    given = click.get_current_context().params
    more = [("-e", given.get("chosen") if takes_experiment else None), ("--data", given.get("data"))]
    return shlex.join(["csc", *words, *(word for name, value in more if value for word in (name, value))])
