"""What a submission is asked for beside its experiment and its crops."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csc_data.blocks import Existing
from csc_data.errors import InvalidArgumentError
from csc_submit import ProcessSettings
from csc_train.prediction.running.workers import ExecutionOptions
from csc_train.settings import PredictSettings

_OWN = ("crops", "classes", "classes_to_write", "existing", "workers")


@dataclass(frozen=True, kw_only=True)
class SubmitOptions:
    """What a submission is asked for.

    Attributes
    ----------
    classes : sequence of str, optional
        Of those that are scored in the crops; all that the network knows by default. What the submission holds of
        others stays, so classes can be added, also by another network.
    destination : Path, optional
        The zarr folder to write; the zip lies beside it. ``submission`` of the configuration by default.
    disk : int, optional
        Bytes that predictions, processed volumes, the submission and its zip may take together.
    keep : bool
        Whether predictions and processed volumes stay where the configuration says, where the ones that are there are
        gone on with. Otherwise they lie beside the submission, and go with each crop that is packed.
    existing : {"resume", "refuse", "overwrite"}
        What to do with crops of the submission that are there.
    workers : int, optional
        Processes of this machine, in all stages; with an ``execution`` in those after predicting.
    execution : ExecutionOptions, optional
        Where blocks are predicted; Dask's workers process and pack, too.
    given : mapping
        Settings of prediction and processing that go before those of the experiment.

    Raises
    ------
    InvalidArgumentError
        If a number is below 1, a setting is an option of its own, or the destination is not a ``.zarr``.
    """

    classes: Sequence[str] | None = None
    destination: Path | None = None
    disk: int | None = None
    keep: bool = False
    existing: Existing = "resume"
    workers: int | None = None
    execution: ExecutionOptions | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("disk", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidArgumentError(f"{name} must be 1 or more, got {value}")
        own = next((name for name in _OWN if name in self.given), None)
        if own is not None:
            raise InvalidArgumentError(f"{own} is not set here: say crops, classes, existing and workers as such")
        if self.destination is not None and self.destination.suffix != ".zarr":
            raise InvalidArgumentError(f"{self.destination} must end in .zarr; the zip beside it is named after it")

    @property
    def of_prediction(self) -> dict[str, Any]:
        """The keywords for `csc_train.predict`; a name that nobody knows is among them, which tells the nearest one."""
        only_processing = _names(ProcessSettings) - _names(PredictSettings)
        found = {name: value for name, value in self.given.items() if name not in only_processing}
        if self.execution is not None:
            return {**found, "execution": self.execution}
        return found if self.workers is None else {**found, "workers": self.workers}

    @property
    def of_processing(self) -> dict[str, Any]:
        """The settings that go before the experiment's."""
        return {name: value for name, value in self.given.items() if name in _names(ProcessSettings)}

    @property
    def on_dask(self) -> bool:
        """Whether Dask's workers do it all."""
        return self.execution is not None and (self.execution.scheduler or self.execution.cluster) is not None

    @property
    def existing_stages(self) -> Existing:
        """What to do with predictions and processed volumes; those to overwrite have gone where none is kept."""
        return "overwrite" if self.existing == "overwrite" and self.keep else "resume"


def _names(settings: type[Any]) -> set[str]:
    return {each.name for each in dataclasses.fields(settings)}
