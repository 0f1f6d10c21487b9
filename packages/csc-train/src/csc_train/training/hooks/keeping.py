"""Which checkpoints a run keeps: the state from which it goes on, and the weights of few epochs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

from csc_models.checkpoint import save_checkpoint
from csc_train.checkpoints import TRAINING, checkpoint_path, list_checkpoints, resume_path
from csc_train.description import describe_network
from csc_train.training.results import EpochRecord, StepRecord
from csc_train.training.resume import SETTINGS, settings_as_text
from csc_train.training.run import End, Hook, Run

logger = logging.getLogger(__name__)


class Keeping(Hook):
    """Saves what a run needs to go on, and the weights of the latest, the best, and the next best epochs.

    The state is saved after each epoch, when a run ends early, and when the last time is long ago. It is written before
    the weights of its epoch, so that a process killed in between lacks only these, and writes them when it goes on.

    Attributes
    ----------
    written : list of Path
        Weights of epochs, the removed ones left out.
    """

    def __init__(self) -> None:
        self.written: list[Path] = []
        self._saved_at = (0, 0)  # epoch and iteration
        self._saved_time = 0.0

    def on_start(self, run: Run) -> None:
        """Remove what killed writers left, and write the weights that the last run could not."""
        self._saved_at, self._saved_time = (run.state.epoch, run.state.iteration), time.monotonic()
        if not run.speaks:
            return
        settings = run.settings
        resume = resume_path(settings.model_save_path, settings.model_name)
        resume.parent.mkdir(parents=True, exist_ok=True)
        for left in resume.parent.glob(f".{settings.model_name}_*.tmp{resume.suffix}"):
            logger.warning("%s was left by a process that was killed: removed", left)
            left.unlink(missing_ok=True)
        state = run.state
        path = checkpoint_path(settings.model_save_path, settings.model_name, state.epoch)
        if run.resumed_from == resume and state.epoch and not state.iteration and not path.exists():
            self._save_epoch(run)

    def on_step(self, run: Run, step: StepRecord) -> None:
        """Save the state, if the last time is long ago."""
        due = time.monotonic() - self._saved_time > run.settings.checkpoint_minutes * 60
        if run.state.whole is not None:  # processes save together, and their clocks differ
            due = run.fabric.broadcast(due)
        if due:
            self._save_state(run)

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        """Save the state, and the weights of the epoch; remove those that are not kept."""
        self._save_state(run)
        self._save_epoch(run)

    def on_end(self, run: Run, end: End) -> None:
        """Save the state of a run that ends early."""
        if end in ("stopped", "signal"):
            self._save_state(run)

    def _save_state(self, run: Run) -> None:
        state, settings = run.state, run.settings
        at = (state.epoch, state.iteration)
        self._saved_time = time.monotonic()
        if at == self._saved_at or not (run.speaks or state.whole is not None):
            return
        state.gather()
        extra = {TRAINING: {**state.state_dict(run.fabric), SETTINGS: settings_as_text(settings)}}
        self._saved_at = at
        if not run.speaks:
            return
        path = resume_path(settings.model_save_path, settings.model_name)
        save_checkpoint(path, state.evaluated, description=describe_network(settings), extra=extra)
        self._saved_time = time.monotonic()

    def _save_epoch(self, run: Run) -> None:
        if not run.speaks:
            return
        settings, state = run.settings, run.state
        path = checkpoint_path(settings.model_save_path, settings.model_name, state.epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        extra = {TRAINING: {**state.summary(), SETTINGS: settings_as_text(settings)}}
        save_checkpoint(path, state.evaluated, description=describe_network(settings), extra=extra)
        self.written.append(path)
        if settings.save_top_k < 0:
            return
        keep = epochs_to_keep(state.history, state.best_epoch, settings.save_top_k)
        for epoch, other in list_checkpoints(settings.model_save_path, settings.model_name).items():
            if epoch < state.epoch and epoch not in keep:
                other.unlink(missing_ok=True)
                self.written = [each for each in self.written if each != other]


def epochs_to_keep(history: Sequence[Sequence[float]], best: int | None, count: int) -> set[int]:
    """Return the epochs whose weights are kept: the latest, the best, and as many as asked with the best scores.

    Parameters
    ----------
    history : sequence
        Rows that begin with the epoch and end with its score; larger is better.
    best : int or None
    count : int

    >>> sorted(epochs_to_keep([[1, 0.9], [2, 0.5], [3, 0.7], [4, 0.2]], 1, 2))
    [1, 3, 4]
    """
    scored = [(row[-1], row[0]) for row in history if not math.isnan(row[-1])]
    kept = {int(epoch) for _, epoch in sorted(scored, reverse=True)[:count]}
    if best is not None:
        kept.add(best)
    if history:
        kept.add(int(history[-1][0]))
    return kept
