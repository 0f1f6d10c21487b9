"""What a checkpoint says of the network that an experiment trains."""

from __future__ import annotations

from csc_models.checkpoint import CheckpointDescription
from csc_models.checkpoint.contents import Values
from csc_train.network import target_array_info
from csc_train.objectives.objective import measured_outputs
from csc_train.settings import TrainSettings


def describe_network(settings: TrainSettings) -> CheckpointDescription:
    """Return what a checkpoint says of the network beside its name and arguments.

    What its output means is what validation takes it for, so that a voxel counts as found there where it is predicted.

    Raises
    ------
    ProblemsError
        With everything that is wrong with the criterion.
    """
    outputs = measured_outputs(settings)
    number, main = next((number, each) for number, each in enumerate(outputs) if not each.prefix)
    before = sum(len(each.channels) for each in outputs[:number])
    values: Values = "exclusive" if main.exclusive else "distance" if main.distances else "logit"
    return CheckpointDescription(
        classes=settings.classes,
        input_arrays={
            "raw": settings.input_array_info.to_plain(),
            **{name: info.to_plain() for name, info in settings.further_inputs.items()},
        },
        target_arrays={"labels": target_array_info(settings).to_plain()},
        raw_range=settings.raw_range,
        values=values,
        channels=sum(len(each.channels) for each in outputs),
        first_channel=before if len(main.channels) == len(settings.classes) else None,
    )
