"""Early stopping."""

from __future__ import annotations

import math

from csc_data.wording import plural
from csc_train.training.results import EpochRecord
from csc_train.training.run import Hook, Run
from csc_train.training.run_state import score_of


class EarlyStopping(Hook):
    """Ends a run when so many epochs in a row brought no better score; see `best_metric` for the score.

    An epoch without a score, as of instance classes that are scored every tenth epoch, ends nothing. It keeps nothing
    of its own: the state of a run knows the best epoch, and so does a resumed one.

    Parameters
    ----------
    patience : int
        Epochs without a better score.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_start(self, run: Run) -> None:
        """End a run that was ended before: going on needs more patience."""
        if run.state.history:
            self._check(run, run.state.history[-1][5])

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        """End the run if nothing has become better for long enough."""
        self._check(run, score_of(run.settings, record))

    def _check(self, run: Run, score: float) -> None:
        if not math.isnan(score) and run.state.epoch - (run.state.best_epoch or 0) >= self.patience:
            run.stop(f"no better epoch for {plural(self.patience, 'epoch')}")
