"""A run: all that its loop and hooks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from csc_train.challenge_score.plan import ScorePlan
from csc_train.network import joined_inputs
from csc_train.objectives.objective import Objective
from csc_train.settings import TrainSettings
from csc_train.training.loaders import Batch, Loaders
from csc_train.training.results import EpochRecord, StepRecord, TrainProgress
from csc_train.training.run_state import RunState

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The order in memory for arrays of so many axes."""
End = Literal["done", "stopped", "signal", "error"]


class Hook:
    """What is called while a run trains; each method does nothing here.

    Hooks are called in their order, in every process; what is written or printed is the business of the first one.
    """

    def on_start(self, run: Run) -> None:
        """Before the first step."""

    def on_step(self, run: Run, step: StepRecord) -> None:
        """After each step of the optimizer."""

    def on_validation_batch(self, run: Run, batch: Batch, outputs: Any) -> None:
        """After each batch of validation, with what the network gave."""

    def on_validated(self, run: Run) -> Mapping[str, float]:
        """After all batches of validation; returns further scores by name, the same in all processes."""
        return {}

    def on_training_batch(self, run: Run, batch: Batch, outputs: Any) -> None:
        """At the end of an epoch without validation, with a batch of it and what the network gives of that."""

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        """After training and validation of an epoch."""

    def on_progress(self, run: Run, progress: TrainProgress) -> None:
        """After each batch and epoch."""

    def on_end(self, run: Run, end: End) -> None:
        """When the run ends, also by an error."""


@dataclass(kw_only=True)
class Run:
    """What trains, and how far it is.

    Attributes
    ----------
    settings : TrainSettings
    fabric : Fabric
    state : RunState
        All that changes, and that a resumed run needs.
    network, stepper
        Network and optimizer as Fabric wrapped them.
    loaders : Loaders
    objective : Objective
    score_plan : ScorePlan
        Of which validation crops there is the challenge's own score.
    hooks : sequence of Hook
    resumed_from : Path or None
        The checkpoint that the run goes on from.
    stopping : str or None
        Why the run ends after this step; None as long as it goes on.
    ending : bool
        Whether all processes have agreed to end here.
    waited, waited_before : float
        Seconds that batches of this epoch were waited for: until now, and until the last step.
    """

    settings: TrainSettings
    fabric: Fabric
    state: RunState
    network: Any
    stepper: Any
    loaders: Loaders
    objective: Objective
    score_plan: ScorePlan = field(default_factory=ScorePlan)
    hooks: Sequence[Hook] = ()
    resumed_from: Path | None = None
    stopping: str | None = None
    ending: bool = field(default=False, init=False)
    waited: float = field(default=0.0, init=False)
    waited_before: float = field(default=0.0, init=False)

    def stop(self, reason: str) -> None:
        """Ask for an end after this step, in all processes; the first reason counts."""
        self.stopping = self.stopping or reason

    @property
    def speaks(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return bool(self.fabric.is_global_zero)

    def how_to_go_on(self) -> str:
        """Return what to say to somebody whose run ended early."""
        where = f"epoch {self.state.epoch + 1}, batch {self.state.iteration} of {len(self.loaders.train)}"
        return f"stopped in {where} ({self.stopping}); the same command goes on from there"

    def network_input(self, batch: Batch) -> Tensor | Batch:
        """Return what the network takes: the input array, or a mapping of several.

        A network of the catalogue takes several arrays as the channels of one.
        """
        given = {name: batch[name] for name in self.loaders.inputs}
        if self.settings.model is None and len(given) > 1:
            given = {"input": joined_inputs(given)}
        if self.settings.channels_last:
            given = {name: tensor.to(memory_format=CHANNELS_LAST[tensor.ndim]) for name, tensor in given.items()}
        return next(iter(given.values())) if len(given) == 1 else given
