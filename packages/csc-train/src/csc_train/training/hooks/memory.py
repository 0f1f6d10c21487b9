"""What grows in memory, for those who look for a leak."""

from __future__ import annotations

import gc
from collections import Counter

from csc_train.training.hooks.logbook import memory_in_use
from csc_train.training.hooks.logs_folder import batches_done
from csc_train.training.hooks.progress import say
from csc_train.training.results import StepRecord
from csc_train.training.run import Hook, Run

_SHOWN = 5


class MemoryReport(Hook):
    """Prints now and then how much memory there is in use, and of which types there are more objects than before.

    Parameters
    ----------
    steps : int
        Batches from one line to the next.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._next = 0
        self._counts: Counter[str] = Counter()

    def on_start(self, run: Run) -> None:
        """Count what there is."""
        if run.speaks:
            self._next = batches_done(run) // self.steps * self.steps + self.steps
            self._counts = _objects()

    def on_step(self, run: Run, step: StepRecord) -> None:
        """Print a line, if it is time."""
        if not run.speaks or step.step < self._next:
            return
        self._next += self.steps
        counts = _objects()
        grown = [f"{name} +{count}" for name, count in (counts - self._counts).most_common(_SHOWN)]
        self._counts = counts
        found = memory_in_use(run.fabric.device)
        sizes = ", ".join(f"{name.removesuffix('_gb')} {value:.2f} GB" for name, value in found.items())
        say(f"memory at step {step.step}: {sizes}; more objects: {', '.join(grown) or 'none'}")


def _objects() -> Counter[str]:
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects())
