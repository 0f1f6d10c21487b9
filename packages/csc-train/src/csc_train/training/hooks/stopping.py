"""Early stopping."""

from __future__ import annotations

from csc_data.wording import plural
from csc_train.training.results import EpochRecord
from csc_train.training.run import Hook, Run


class EarlyStopping(Hook):
    """Ends a run when so many epochs in a row brought no better score; see `best_metric` for the score.

    It keeps nothing of its own: the state of a run knows the best epoch, and so does a resumed one.

    Parameters
    ----------
    patience : int
        Epochs without a better score.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_start(self, run: Run) -> None:
        """End a run that was ended before: going on needs more patience."""
        self._check(run)

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        """End the run if nothing has become better for long enough."""
        self._check(run)

    def _check(self, run: Run) -> None:
        if run.state.epoch - (run.state.best_epoch or 0) >= self.patience:
            run.stop(f"no better epoch for {plural(self.patience, 'epoch')}")
