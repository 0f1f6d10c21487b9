"""What a checkpoint says of the network that an experiment trains."""

from __future__ import annotations

from collections.abc import Sequence

from csc_data.volumes.affinities import class_of_affinities
from csc_data.volumes.channels import name_of_output
from csc_models.checkpoint import CheckpointDescription, OutputDescription
from csc_models.checkpoint.contents import Values
from csc_train.network import target_array_info
from csc_train.objectives.metrics import Measured
from csc_train.objectives.objective import measured_outputs
from csc_train.settings import TrainSettings


def describe_network(settings: TrainSettings) -> CheckpointDescription:
    """Return what a checkpoint says of the network beside its name and arguments.

    What its output means is what validation takes it for, so that a voxel counts as found there where it is predicted.

    Raises
    ------
    ProblemsError
        With everything that is wrong with the criterion.

    Examples
    --------
    >>> from csc_train import TrainSettings
    >>> settings = TrainSettings(classes=["nuc"], input_array_info={"shape": (1, 64, 64), "scale": (8, 8, 8)})
    >>> description = describe_network(settings)
    >>> description.classes, description.values, description.input_arrays["raw"]["scale"]
    (('nuc',), 'logit', [8.0, 8.0, 8.0])
    """
    measured = measured_outputs(settings)
    main = next(each for each in measured if not each.prefix)
    outputs = name_channels(measured, settings.classes)
    plain = [each.channels for each in outputs] == [settings.classes]
    return CheckpointDescription(
        classes=settings.classes,
        input_arrays={
            "raw": settings.input_array_info.to_plain(),
            **{name: info.to_plain() for name, info in settings.further_inputs.items()},
        },
        target_arrays={
            "labels": target_array_info(settings).to_plain(),
            **{name: info.to_plain() for name, info in settings.further_targets.items()},
        },
        raw_range=settings.raw_range,
        values=_values(main),
        outputs=() if plain else outputs,
    )


def name_channels(measured: Sequence[Measured], classes: Sequence[str]) -> tuple[OutputDescription, ...]:
    """Return outputs with a name for each channel, which no other has: the name of the array that prediction writes.

    The output whose scores have plain names has those of the classes, unless it holds affinities. Others have what
    their targets are called (``mito_distance``), and their own behind it where that is taken (``mito_of_rough``).
    """
    main = next(each for each in measured if not each.prefix)
    of_classes = len(main.channels) == len(classes) and class_of_affinities(main.channels[0]) is None
    own = tuple(classes) if of_classes else main.channels
    taken, found = set(own), []
    for each in measured:
        names = own
        if each is not main:
            names = tuple(name_of_output(name, each.output) if name in taken else name for name in each.channels)
            taken.update(names)
        found.append(OutputDescription(name=each.output, channels=names, values=_values(each)))
    return tuple(found)


def _values(output: Measured) -> Values:
    return "exclusive" if output.exclusive else "distance" if output.distances else "logit"
