"""Checkpoints of nnU-Net v2: its plans and labels say the network, the patch, the voxel size, the classes.

Source: https://github.com/MIC-DKFZ/nnUNet, ``plans_handler.py``, ``label_handling.py``,
``default_normalization_schemes.py``
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from csc_models.checkpoint.contents import Values
from csc_models.errors import CheckpointError, ModelError
from csc_models.foreign.facts import Facts, ForeignHints
from csc_models.foreign.torch_files import State
from csc_models.nets.plans import network_of_plan

_WRONG_FORM = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
_MOST_LAYERS = 1000
_SMALLEST_NM = 0.5


def nnunet_facts(contents: Any, path: Path, hints: ForeignHints) -> Facts | None:
    """Return what a checkpoint of nnU-Net v2 and its plans say.

    Returns
    -------
    Facts or None
        None for other files.

    Raises
    ------
    CheckpointError
        There are no plans or labels, they have another form, or are of a network that cannot work by itself.
    """
    if not isinstance(contents, Mapping) or not isinstance(contents.get("network_weights"), Mapping):
        return None
    told = contents.get("init_args")
    inside = told if isinstance(told, Mapping) else {}
    plans = _json("plans", hints.plans, inside.get("plans"), path)
    dataset = _json("dataset", hints.dataset, inside.get("dataset_json"), path)
    try:
        name, configuration = _configuration(plans, hints.configuration or inside.get("configuration"))
        if configuration.get("previous_stage") is not None:
            raise CheckpointError(
                f"{path} is the second network of a cascade ({name}), which also takes what the first one gives; "
                "import a 3d_fullres or 2d network"
            )
        return _facts(_Plans(plans=plans, name=name, configuration=configuration, dataset=dataset))
    except _WRONG_FORM as error:
        if isinstance(error, ModelError):
            raise
        raise CheckpointError(
            f"{path}: its plans.json and dataset.json are not as nnU-Net v2 writes them: {type(error).__name__} {error}"
        ) from error


def nnunet_names(state: State) -> State:
    """Leave the second names of weights out: nnU-Net's decoder holds the encoder again, and each block its layers.

    Examples
    --------
    >>> list(nnunet_names({"encoder.a": 1, "decoder.encoder.a": 1, "encoder.all_modules.0": 1}))
    ['encoder.a']
    """
    return {
        key: value
        for key, value in state.items()
        if not key.startswith("decoder.encoder.") and ".all_modules." not in key
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plans:
    """What nnU-Net knows of a network: all plans, one configuration of them by its name, the data set's labels."""

    plans: Mapping[str, Any]
    name: str
    configuration: Mapping[str, Any]
    dataset: Mapping[str, Any]


def _json(what: str, given: str | PathLike[str] | None, inside: Any, path: Path) -> Mapping[str, Any]:
    """Return plans or labels: those that were given, those in the file, those beside it or above."""
    if given is None and isinstance(inside, Mapping):
        return inside
    places = (
        [Path(given)]
        if given is not None
        else [folder / f"{what}.json" for folder in (path.parent, path.parent.parent)]
    )
    for place in places:
        if place.is_file():
            try:
                read = json.loads(place.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise CheckpointError(f"{place} is not JSON: {error}") from error
            if isinstance(read, Mapping):
                return read
            raise CheckpointError(f"{place} is not nnU-Net's {what}.json: it holds a {type(read).__name__}")
    raise CheckpointError(
        f"{path} has no {what}, and there is no {' or '.join(map(str, places))}; give it (--{what} FILE)"
    )


def _configuration(plans: Mapping[str, Any], name: Any) -> tuple[str, dict[str, Any]]:
    known = plans["configurations"]
    if name is None and len(known) == 1:
        (name,) = known
    if name not in known:
        what = f"no configuration {name!r}" if name else "several configurations"
        raise CheckpointError(f"the plans have {what}: {', '.join(known)}; give one (--configuration NAME)")
    chain = [name]
    while (parent := known[chain[-1]].get("inherits_from")) is not None:
        if parent in chain:
            raise CheckpointError(f"the plans' configuration {name!r} inherits from itself")
        chain.append(parent)
    resolved: dict[str, Any] = {}
    for each in reversed(chain):
        resolved.update(known[each])
    return name, resolved


def _facts(plans: _Plans) -> Facts:
    classes, values, background = _labels(plans.dataset)
    patch, voxel_size, axes, notes = _place(plans)
    raw_range, more = _normalisation(plans)
    configuration = _turned(plans.configuration, axes) if axes else plans.configuration
    _check_size(configuration)
    name, arguments = network_of_plan(configuration)
    channels = plans.dataset["channel_names" if "channel_names" in plans.dataset else "modality"]
    if len(channels) > 1:
        notes = (*notes, f"it takes {len(channels)} channels; `csc predict` gives a network one, so use it in Python")
    return Facts(
        kind=f"nnU-Net v2, {plans.name}",
        model=name,
        arguments={
            **arguments,
            "n_channels": len(channels),
            "n_classes": len(classes) + (background is not None),
        },
        classes=classes,
        background=background,
        values=values,
        patch=patch,
        voxel_size=voxel_size,
        raw_range=raw_range,
        axes=axes,
        notes=(*notes, *more),
    )


def _labels(dataset: Mapping[str, Any]) -> tuple[tuple[str, ...], Values, int | None]:
    """Return classes, what the output means, and the channel of the background.

    Labels that are single numbers are a softmax with the background as its first channel. Where one is a list, channels
    are regions, each with a sigmoid. What is to be ignored has no channel.
    """
    labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    several = any(isinstance(value, list | tuple) and len(value) > 1 for value in labels.values())
    numbers = {name: _numbers(value) for name, value in labels.items()}
    if several:
        return tuple(name for name, found in numbers.items() if set(found) != {0}), "logit", None
    names = {found[0]: name for name, found in numbers.items()}
    if names.get(0) != "background" or len(names) != len(numbers):
        raise CheckpointError("dataset.json does not have the label 0 for background, and one for each other class")
    return tuple(names[number] for number in sorted(names) if number), "exclusive", 0


def _numbers(value: Any) -> list[int]:
    return [int(each) for each in (value if isinstance(value, list | tuple) else (value,))]


def _place(plans: _Plans) -> tuple[tuple[int, ...], tuple[float, ...] | None, tuple[int, ...], tuple[str, ...]]:
    """Return patch and voxel size along z, y, x, the order of the network's axes, and notes."""
    configuration = plans.configuration
    patch = tuple(int(size) for size in configuration["patch_size"])
    spacing = tuple(float(size) for size in configuration["spacing"])
    forward = [int(axis) for axis in plans.plans.get("transpose_forward", (0, 1, 2))]
    axes = tuple(forward.index(axis) for axis in range(3)) if forward != [0, 1, 2] else ()
    notes: list[str] = []
    if len(patch) == 2:
        median = plans.plans.get("original_median_spacing_after_transp") or (spacing[0],)
        patch, spacing = (1, *patch), (float(median[0]), *spacing[-2:])
        if axes:
            notes.append(f"nnU-Net cut the planes across axis {forward[0]}; csc predict cuts them across z, and others")
        axes = ()
    if axes:
        patch, spacing = tuple(patch[axis] for axis in axes), tuple(spacing[axis] for axis in axes)
    if min(spacing) < _SMALLEST_NM or set(spacing) == {1.0}:
        said = " x ".join(f"{size:g}" for size in spacing)
        notes.append(f"the plans' spacing {said} is not in nm, or says nothing: give the voxel size (--voxel-size)")
        return patch, None, axes, tuple(notes)
    notes.append(f"the plans' spacing {' x '.join(f'{size:g}' for size in spacing)} is taken for nm")
    return patch, spacing, axes, tuple(notes)


def _turned(configuration: Mapping[str, Any], axes: tuple[int, ...]) -> dict[str, Any]:
    """Let kernels and strides of plans follow their axes."""

    def turn(value: Any) -> Any:
        if isinstance(value, list | tuple):
            if len(value) == 3 and all(isinstance(each, int) for each in value):
                return [value[axis] for axis in axes]
            return [turn(each) for each in value]
        return value

    turned = dict(configuration)
    architecture = turned.get("architecture")
    if isinstance(architecture, Mapping):
        arguments = architecture["arch_kwargs"]
        along = {name: turn(arguments[name]) for name in ("kernel_sizes", "strides") if name in arguments}
        return {**turned, "architecture": {**architecture, "arch_kwargs": {**arguments, **along}}}
    return {
        **turned,
        **{name: turn(turned[name]) for name in ("conv_kernel_sizes", "pool_op_kernel_sizes") if name in turned},
    }


def _check_size(configuration: Mapping[str, Any]) -> None:
    """Refuse plans for which networks would be built without end."""
    architecture = configuration.get("architecture")
    told = architecture["arch_kwargs"] if isinstance(architecture, Mapping) else configuration
    for name, value in told.items():
        if name.startswith(("n_conv", "n_blocks", "n_stages")):
            layers = sum(_numbers(value))
            if not 0 < layers <= _MOST_LAYERS:
                raise CheckpointError(f"the plans ask for {name} = {layers:,}, which no network has")


def _normalisation(plans: _Plans) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Return what the ends of raw data's range became, and notes on what that leaves out."""
    scheme = str(plans.configuration["normalization_schemes"][0])
    found = plans.plans.get("foreground_intensity_properties_per_channel") or {}
    statistics = found.get("0") or found.get(0) or {}
    if scheme in ("ZScoreNormalization", "CTNormalization"):
        mean, deviation = float(statistics["mean"]), max(float(statistics["std"]), 1e-8)
        largest, smallest = float(statistics["max"]), float(statistics["min"])
        end = 255 if largest <= 255 else 65535
        if smallest < 0 or largest > end:
            return None, ("nnU-Net's images were not uint8 or uint16: give what raw becomes (--raw-range)",)
        ends = ((0 - mean) / deviation, (end - mean) / deviation)
        words = f"raw of {end + 1} grey values less {mean:g}, divided by {deviation:g}"
        if scheme == "CTNormalization":
            lower, upper = (statistics[f"percentile_{name}"] for name in ("00_5", "99_5"))
            return ends, (f"{words}; nnU-Net cuts it off below {lower:g} and above {upper:g}, which is not done here",)
        return ends, (
            f"{words}: that is of the training images' labelled voxels. nnU-Net subtracts the mean of each image, and "
            f"divides by its deviation: for one volume --raw-range is -mean/deviation and ({end} - mean)/deviation",
        )
    if scheme in ("RescaleTo01Normalization", "RGBTo01Normalization"):
        by_image = " (nnU-Net takes the smallest and the largest of each image)" if scheme.startswith("Rescale") else ""
        return (0.0, 1.0), (f"raw is scaled to 0..1{by_image}",)
    if scheme == "NoNormalization":
        return (0.0, 255.0), ("raw is taken as uint8, and not scaled",)
    return None, (f"nnU-Net normalised by {scheme}, which is not known here: give what raw becomes (--raw-range)",)
