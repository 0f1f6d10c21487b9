"""Where a submission, its truth and its results lie, as options and the user's configuration say."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.storage.stores.places import Store

if TYPE_CHECKING:
    from csc_data.challenge.classes import ClassTable
    from csc_data.config.user_config import Config


def own_classes(folder: Path) -> ClassTable | None:
    """Return what the ``classes.toml`` of a folder says; None where it has none, and nothing need be imported.

    Examples
    --------
    >>> from pathlib import Path
    >>> own_classes(Path("a folder without classes.toml")) is None
    True
    """
    file = folder / "classes.toml"
    if not file.is_file():
        return None
    from csc_data.challenge.classes.own import read_classes

    return read_classes(file)


def configuration(data: str | None, experiment: str | None = None) -> Config:
    """Return the user's configuration, with a data folder and an experiment that were given.

    Raises
    ------
    MissingDataError
        If there is no such experiment.
    """
    from csc_data.config.user_config import load_config

    config = load_config(data=data)
    return config if experiment is None else config.choose_experiment(experiment)


def result_of(config: Config, datasplit: str | None) -> str:
    """Return where the scores of an experiment are kept."""
    folder = config.path("results")
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / ("result.json" if datasplit is None else "validation.json"))


def split_option(text: str | None) -> tuple[str, ...] | None:
    """Return what an option lists, split at commas; None stays None.

    >>> split_option("mito, er"), split_option(None)
    (('mito', 'er'), None)
    """
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


@contextmanager
def truth_paths(
    submission: str | None,
    truth: str | None,
    datasplit: str | None,
    where: Callable[[], Config],
    options: Mapping[str, Any],
) -> Iterator[tuple[Path | Store, Path, dict[str, str]]]:
    """Yield the submission, the truth, and the raw volume of each crop where it is known."""
    if datasplit is None:
        submission_path, truth_path = resolve_paths(submission, truth, where)
        yield submission_path, truth_path, {}
        return
    if truth is not None:
        raise click.UsageError("--truth-path and --datasplit both name a truth; give one of them")
    import tempfile

    from csc_eval.scoring.validation_truth import build_validation_truth, gather_predictions

    with tempfile.TemporaryDirectory(prefix="csc-eval-") as folder:
        config = where()
        table = own_classes(config.root)
        instances = split_option(options["instance_classes"]) or (None if table is None else tuple(table.instances))
        place = Path(folder, "truth.zarr")
        built = build_validation_truth(datasplit, place, instance_classes=instances, data=config.root)
        for problem in built.skipped:
            click.echo(f"left out: {problem}", err=True)
        chosen = Path(submission) if submission is not None else gather_predictions(built, config)
        yield chosen, built.path, dict(built.raw)


def resolve_paths(submission: str | None, truth: str | None, where: Callable[[], Config]) -> tuple[Path, Path]:
    """Fill in the paths that were not given from the user's configuration.

    Raises
    ------
    MissingDataError
        If there is nothing at a path that was not given.

    Examples
    --------
    >>> [path.name for path in resolve_paths("mine.zip", "truth.zarr", lambda: None)]
    ['mine.zip', 'truth.zarr']
    """
    if submission is not None and truth is not None:
        return Path(submission), Path(truth)
    config = where()
    if submission is None:
        folder = config.path("submission")
        archive = folder.with_suffix(".zip")
        submission_path = archive if archive.exists() or not folder.exists() else folder
        if not submission_path.exists():
            raise MissingDataError(f"there is no submission {submission_path}; {_how_to_get_one(config)}")
    else:
        submission_path = Path(submission)
    truth_path = Path(truth) if truth is not None else config.path("ground_truth")
    if truth is None and not truth_path.exists():
        raise MissingDataError(
            f"there is no truth {truth_path}: name one (-t){_or_by_annotations(config)}. The portal alone knows "
            "that of the challenge; `csc validate` tells whether it takes the submission"
        )
    return submission_path, truth_path


def _how_to_get_one(config: Config) -> str:
    """Return what to do without a submission: what there is to go on with decides."""
    if not config.root.is_dir():
        return (
            f"nor a data folder {config.root}: name one (--data), or a submission and its truth (-s, -t); `csc demo` "
            "makes data to try it with, `csc fetch-data` brings the challenge's"
        )
    return f"`csc submit CONFIG` makes it, -s or -e names another{_or_by_annotations(config)}"


def _or_by_annotations(config: Config) -> str:
    split = config.path("datasplit")
    hint = ", or score the predictions of validation crops by their annotations: --datasplit "
    return f"{hint}{split}" if split.is_file() else ""


def raw_of_test_crops(data: str | None) -> dict[str, str]:
    """Return the raw volume of each test crop whose data set lies in the data folder."""
    from csc_data.challenge.current_lists import load_test_crops

    config = configuration(data)
    crops = load_test_crops(config).values()
    places = {f"crop{crop.id}": config.path("raw", dataset=crop.dataset) for crop in crops}
    return {name: str(path) for name, path in places.items() if path.is_dir()}


def check_result_file(path: str | None) -> None:
    """Refuse a place that results cannot be written to before hours of scoring, not after them."""
    if path is None:
        return
    from csc_data.storage.room import check_writable

    place = Path(path)
    try:
        there = place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        there = stat.S_IFREG
    except (OSError, ValueError) as error:  # too long a name, a link to itself
        raise InvalidArgumentError(f"results cannot go to {path!r}: {error}; name a file") from error
    if stat.S_ISDIR(there):
        raise InvalidArgumentError(f"{path} is a folder; name a file for the results, like {place / 'result.json'}")
    if not stat.S_ISREG(there):
        raise InvalidArgumentError(f"{path} is a pipe or a device; name a file for the results, or leave it out")
    check_writable(place.parent)
