"""How far experiments are, by what lies in their folders."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csc_cli.stages.experiments import TRAINING, run_records
from csc_data.config.user_config import Config
from csc_data.errors import CscError
from csc_data.formats.writing import read_json
from csc_data.wording import plural
from csc_submit.predictions import find_stored
from csc_train.logs.run_files import METRICS, RUN_RECORD, as_numbers, best_row, deciding_column, read_rows

_ARCHIVE = ".zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentState:
    """How far an experiment is.

    Attributes
    ----------
    folder : Path
    epoch, epochs : int or None
        How many epochs are done, and how many there are to be; None where training has not begun.
    metric : str
        What decides which epoch is best.
    best : float or None
        Its value in the best epoch.
    best_epoch : int or None
    crops : mapping of str to int
        How many crops are ``predicted``, and ``processed``.
    submitted : bool
        Whether there is a file to upload.
    scores : mapping of str to float
        The best overall score of ``validation`` crops and of ``test`` crops.
    """

    folder: Path
    epoch: int | None = None
    epochs: int | None = None
    metric: str = ""
    best: float | None = None
    best_epoch: int | None = None
    crops: Mapping[str, int] = field(default_factory=dict)
    submitted: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """How far it is, for people."""
        if self.submitted:
            return "submitted"
        if self.epoch is not None and (self.epochs is None or self.epoch < self.epochs):
            return f"epoch {self.epoch} of {self.epochs or '?'}"
        if self.crops:
            stage, count = list(self.crops.items())[-1]
            return f"{stage} {plural(count, 'crop')}"
        return "not begun" if self.epoch is None else "trained"


def find_experiments(config: Config) -> Iterator[Path]:
    """Yield the folders of the experiments that lie where the configuration says.

    Examples
    --------
    >>> import tempfile
    >>> from dataclasses import replace
    >>> from pathlib import Path
    >>> from csc_data import load_config
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("mine", "notes"):
    ...         Path(folder, name).mkdir()
    ...     Path(folder, "mine", "train_config.py").touch()
    ...     config = replace(load_config(environ={}), experiments=folder)
    ...     [place.name for place in find_experiments(config)]
    ['mine']
    """
    for name in config.experiment_names():
        folder = Path(config.experiments).expanduser() / name
        if any(folder.glob(f"{TRAINING}.*")) or (folder / "checkpoints").is_dir() or run_records(folder):
            yield folder


def read_state(folder: Path, config: Config) -> ExperimentState:
    """Return how far the experiment in a folder is; of several runs the latest counts."""
    own = config.of_experiment(folder)
    crops: dict[str, int] = {}
    for kind, word in (("predictions", "predicted"), ("processed", "processed")):
        found = {(one.dataset, one.crop) for one in find_stored(own, kind)}  # type: ignore[arg-type]  # one of both
        crops |= {word: len(found)} if found else {}
    runs = run_records(folder)
    return ExperimentState(
        folder=folder,
        crops=crops,
        submitted=own.path("submission").with_suffix(_ARCHIVE).is_file(),
        scores=_scores(own.path("results")),
        **(_of_run(runs[-1].parent) if runs else {}),
    )


def _of_run(logs: Path) -> dict[str, Any]:
    try:
        settings: Mapping[str, Any] = read_json(logs / RUN_RECORD).get("settings") or {}
    except CscError:  # of a disk that was full, or a copy that was broken off
        settings = {}
    rows = read_rows(logs / METRICS)
    best = best_row(settings, [as_numbers(row) for row in rows.values()])
    column, _ = deciding_column(settings)
    return {
        "epoch": max(rows, default=0),
        "epochs": settings.get("epochs"),
        "metric": column.removeprefix("validation_"),
        "best": None if best is None else best[column],
        "best_epoch": None if best is None else int(best["epoch"]),
    }


def _scores(folder: Path) -> dict[str, float]:
    """Return the best overall scores of the result files in a folder; those of another program are left out."""
    found: dict[str, float] = {}
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            score = read_json(file).get("overall_score")
        except CscError:
            continue
        if isinstance(score, int | float) and not file.stem.endswith("_extended"):
            kind = "validation" if file.stem.startswith("validation") else "test"
            found[kind] = max(found.get(kind, -math.inf), float(score))
    return found
