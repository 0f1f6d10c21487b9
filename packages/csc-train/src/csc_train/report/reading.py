"""A run as it lies on the disk: its record, its metrics, its points for TensorBoard, its results."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

from csc_data.errors import CscError, InvalidArgumentError, MissingDataError
from csc_data.formats.writing import read_json
from csc_eval import SubmissionScore
from csc_eval.running.result_files import read_result
from csc_train.logs.event_files import PREFIX, event_files, read_events
from csc_train.logs.run_files import METRICS, RUN_RECORD, as_numbers, best_row, read_rows

_DEPTH = 4
_EXPERIMENTS = (".py", ".toml")
Points = list[tuple[float, float]]


class NoRunError(MissingDataError):
    """A run was asked for, and there is nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """What there is of a run.

    Attributes
    ----------
    folder : Path
        Of its logs.
    record : mapping
        Its ``run.json``, see `csc_train.training.hooks.run_record.RunRecord`; empty where there is none.
    epochs : sequence of mapping of str to float
        The rows of its ``metrics.csv``; what an epoch lacks is NaN.
    points : mapping of str to list of (float, float)
        Step and value of what was logged for TensorBoard, by tag.
    results : mapping of Path to SubmissionScore
        Its extended result files.
    missing : sequence of str
        What there is not, in words.

    Examples
    --------
    >>> from pathlib import Path
    >>> epochs = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": float("nan")}]
    >>> run = RunFiles(folder=Path("mine"), record={}, epochs=epochs, points={}, results={}, missing=[])
    >>> run.column("loss")
    [(1, 0.5)]
    """

    folder: Path
    record: Mapping[str, Any]
    epochs: Sequence[Mapping[str, float]]
    points: Mapping[str, Points]
    results: Mapping[Path, SubmissionScore]
    missing: Sequence[str]

    @property
    def name(self) -> str:
        """How it is called."""
        return str(self.record.get("model_name") or self.folder.name)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it was trained with, as far as it is known."""
        found: Mapping[str, Any] = self.record.get("settings") or {}
        return found

    @property
    def best(self) -> Mapping[str, float] | None:
        """The row of the best epoch, by the metric that decides; None without any."""
        return best_row(self.settings, self.epochs)

    def column(self, name: str) -> Points:
        """Return epoch and value of a column of the metrics, without those that lack it."""
        found = [(row["epoch"], row.get(name, math.nan)) for row in self.epochs]
        return [(epoch, value) for epoch, value in found if math.isfinite(value)]


def find_run(place: str | PathLike[str]) -> Path:
    r"""Return the folder of the logs of a run.

    Parameters
    ----------
    place : path-like
        The folder itself; a folder with one run further down; an experiment file; or a checkpoint.

    Raises
    ------
    NoRunError
        If there is none.
    InvalidArgumentError
        If there are several.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "tensorboard", "mine").mkdir(parents=True)
    ...     _ = Path(folder, "tensorboard", "mine", "metrics.csv").write_text("epoch,loss\n1,0.5\n")
    ...     find_run(folder).name
    'mine'
    """
    path = Path(place)
    if path.is_dir():
        if _is_logs(path):
            return path
        found = list(_logs_below(path, _DEPTH))
    elif path.is_file():
        around = path.absolute().parent
        near = [*_logs_below(around, _DEPTH)]
        if path.suffix not in _EXPERIMENTS:  # checkpoints lie beside the folder of the logs, or in one beside it
            near += [folder for folder in _logs_below(around.parent, 3) if folder not in near]
        found = [folder for folder in near if _is_of(folder, path)]
    else:
        raise NoRunError(
            f"there is nothing at {path}; give the folder of a run's logs, a checkpoint, or its experiment"
        )
    if not found:
        raise NoRunError(
            f"there is no run at {path}: no {RUN_RECORD}, no {METRICS} and no {PREFIX}* of it; training writes them "
            "into tensorboard/{model_name}"
        )
    if len(found) > 1:
        raise InvalidArgumentError(f"{path} holds several runs: name one of {', '.join(map(str, found[:8]))}")
    return found[0]


def read_run(place: str | PathLike[str], results: Iterable[str | PathLike[str]] = ()) -> RunFiles:
    r"""Read what there is of a run; what is not there is said.

    Parameters
    ----------
    place : path-like
        See `find_run`.
    results : iterable of path-like
        Its ``result_extended.json`` files, beside those that lie in the folder of its logs or of its experiment.

    Raises
    ------
    NoRunError, InvalidArgumentError
        See `find_run`.
    UnreadableDataError
        If a result that was named cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "metrics.csv").write_text("epoch,loss\n1,0.5\n2,0.4\n")
    ...     run = read_run(folder)
    >>> run.column("loss"), len(run.missing)
    ([(1.0, 0.5), (2.0, 0.4)], 3)
    """
    folder = find_run(place)
    missing = []
    try:
        record: Mapping[str, Any] = read_json(folder / RUN_RECORD)
        lacks = "" if record else "is not there"
    except CscError as error:
        record, lacks = {}, f"cannot be read: {error}"
    if lacks:
        missing.append(f"{RUN_RECORD} {lacks}: settings, versions and the split are not known")
    epochs = [as_numbers(row) for _, row in sorted(read_rows(folder / METRICS).items())]
    if not epochs:
        missing.append(f"{METRICS} has no epoch: no validation, no times")
    points = _read_points(folder)
    if not points:
        missing.append("there are no points for TensorBoard: no curve of single steps, no memory")
    named = {Path(path): read_result(path) for path in results}
    found = named or _results_near(folder, record, Path(place))
    for file, result in found.items():
        newer = _written_since(result)
        if newer is not None:
            missing.append(
                f"{file.name} is an old score: {newer} was written after it was scored; `csc evaluate` scores it anew"
            )
    if not found:
        missing.append(
            "there is no result file: `csc evaluate --datasplit ... --result-file` in the folder of its logs writes "
            "one, or name one with --result"
        )
    return RunFiles(folder=folder, record=record, epochs=epochs, points=points, results=found, missing=missing)


def _written_since(result: SubmissionScore) -> Path | None:
    """Return what was scored and has been written since, if anything."""
    scored = result.scored
    if scored is None or not scored.time:
        return None
    at = datetime.fromisoformat(scored.time).timestamp() + 1  # of whole seconds
    places = [scored.submission] if isinstance(scored.submission, str) else scored.submission.values()
    for place in map(Path, places):
        # Volumes are written beside and put in place, which changes the folder that holds them.
        inside = place.iterdir() if place.is_dir() else ()
        if any(path.exists() and path.stat().st_mtime > at for path in (place, *inside)):
            return place
    return None


def _is_logs(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (RUN_RECORD, METRICS)) or bool(event_files(folder))


def _logs_below(folder: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir() or entry.name.startswith((".", "earlier_")) or entry.suffix in (".zarr", ".n5"):
            continue
        if _is_logs(entry):
            yield entry
        elif depth > 1:
            yield from _logs_below(entry, depth - 1)


def _is_of(folder: Path, file: Path) -> bool:
    """Tell whether the logs in a folder are of an experiment, or of the run that wrote a checkpoint."""
    try:
        record = read_json(folder / RUN_RECORD)
    except CscError:
        return False
    name = str(record.get("model_name") or folder.name)
    if file.suffix in _EXPERIMENTS:
        experiment = record.get("experiment")
        return file.stem == name if experiment is None else Path(experiment).name == file.name
    return re.fullmatch(rf"{re.escape(name)}_(\d+|resume|best|latest)", file.stem) is not None


def _read_points(folder: Path) -> dict[str, Points]:
    points: dict[str, dict[float, float]] = {}
    for file in event_files(folder):
        for event in read_events(file):
            for value in event.summary.value:
                if value.HasField("simple_value") and math.isfinite(value.simple_value):
                    points.setdefault(value.tag, {})[float(event.step)] = value.simple_value
    return {tag: sorted(found.items()) for tag, found in points.items()}


def _results_near(folder: Path, record: Mapping[str, Any], place: Path) -> dict[Path, SubmissionScore]:
    experiment = record.get("experiment")
    around = [*([place] if place.is_dir() else []), *([Path(experiment).parent] if experiment else [])]
    folders = [folder, *around, *(each / "results" for each in around)]
    found: dict[Path, SubmissionScore] = {}
    for near in dict.fromkeys(each.absolute() for each in folders):
        for file in sorted(near.glob("*_extended.json")):
            try:
                found[file] = read_result(file)
            except CscError:  # another program's
                continue
    return found
