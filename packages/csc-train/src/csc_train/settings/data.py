"""The settings of what is learnt from: classes, crops, and what the network takes and gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from csc_data.challenge.classes.settings import CLASS_NAMES
from csc_data.config.settings import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    Earlier,
    Given,
    Limits,
    Names,
    ReadBy,
    not_empty,
    setting,
    settings,
)
from csc_data.errors import Problem, ProblemsError, did_you_mean
from csc_data.geometry import Triple, as_triple
from csc_data.loader.official_call import TorchOptions
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.settings import SampleSettings, different
from csc_data.loader.targets import BinaryTarget, TargetKind, parse_targets
from csc_train.overrides import Place

# The official toolbox's: planes, which a network trains on in the memory of any device.
DEFAULT_INPUT = ArrayInfo(shape=(1, 128, 128), scale=(8, 8, 8))
VALIDATION_SHARE = 0.15
LOADER_NAMES = frozenset(field.name for field in fields(SampleSettings))
LOADERS = ("train_loader", "validation_loader")


def _as_flat_as_input(target: ArrayInfo | None, earlier: Earlier) -> Iterator[Problem]:
    given = earlier.get("input_array_info")
    if given and target and given.flat != target.flat:
        yield Problem(where="", what="one of input and target is flat (1, y, x), the other is not")


def _own_names(arrays: Mapping[str, ArrayInfo], earlier: Earlier) -> Iterator[Problem]:
    for name in arrays:
        if name in ("input", "output", *earlier.get("further_inputs", ())):
            yield Problem(where=name, what="is the name of another array", remedy="the first ones are input and output")


def _both_sides(forced: Any) -> Any:
    return True if forced == "both" else forced


def _agreeing(resolution: float | Triple | None, earlier: Earlier) -> Iterator[Problem]:
    given = earlier.get("input_array_info", DEFAULT_INPUT)
    if resolution is None or given == DEFAULT_INPUT:
        return
    wanted = as_cube(resolution)
    if given.scale != wanted:
        what = f"is {wanted} nm where input_array_info has {given.scale}"
        yield Problem(where="", what=what, remedy="leave resolution out: a scale says more")


def _understood(options: Mapping[str, Any], _: Earlier) -> Iterator[Problem]:
    """Check what is meant for the loader: settings of ours, and options of torch's loader."""
    own = {name: value for name, value in options.items() if name in LOADER_NAMES}
    try:
        SampleSettings(**{"classes": ["x"], **own})
    except ProblemsError as error:
        yield from error.problems
    known = [*LOADER_NAMES, *TorchOptions.__annotations__]
    for name in options:
        if name not in known:
            yield Problem(where=name, what="there is no such option of the loader", remedy=did_you_mean(name, known))


def as_cube(size: float | Sequence[float]) -> Triple:
    """Return a voxel size that was given as one number or as three.

    >>> as_cube(8)
    (8.0, 8.0, 8.0)
    """
    return as_triple([size] * 3 if isinstance(size, int | float) else size, "resolution")


@settings
class DataSettings(SampleSettings):
    """What a network learns from."""

    classes: Names = setting(
        "classes to learn, in the order of the output channels",
        not_empty,
        different,
        CLASS_NAMES,
    )
    random_seed: int = setting("decides weights, samples and their order", NOT_NEGATIVE, default=42)
    base_experiment_path: Given[Path | None, Place | None] = setting(
        "folder that relative paths of the experiment are taken from, and that predictions and what is made of them "
        "lie in; the working folder by default, and the data folder for these",
        default=None,
    )
    datasplit_path: Given[Path | None, Place | None] = setting(
        "the datasplit, made if it is not there; that of the data folder by default (datasplit.csv)", default=None
    )
    validation_prob: float = setting(
        "share of the crops of each class that validate, where a datasplit is made",
        Limits(ge=0, lt=1),
        default=VALIDATION_SHARE,
    )
    use_s3: bool = setting("where a datasplit is made: crops of the challenge's bucket, which stream", default=False)
    filter_by_scale: Given[bool | float | Triple, bool | float | Sequence[float]] = setting(
        "leave out annotations coarser than this voxel size in nm; true stands for that of the input",
        POSITIVE,
        default=False,
    )
    force_all_classes: Given[bool | Literal["train", "validate"], bool | Literal["train", "validate", "both"]] = (
        setting(
            "leave out crops that lack a class; train lets them validate, validate lets them train",
            ReadBy(_both_sides, bool | Literal["train", "validate", "both"]),
            default=False,
        )
    )
    datasets: Names = setting("data sets to learn from: names, or patterns like jrc_mus*", not_empty, default=("*",))
    input_array_info: Given[ArrayInfo, ArrayInfo | Mapping[str, Any]] = setting(
        "voxels (z, y, x) and voxel size in nm of what the network takes; (1, y, x) for networks with two axes",
        default=DEFAULT_INPUT,
    )
    target_array_info: Given[ArrayInfo | None, ArrayInfo | Mapping[str, Any] | None] = setting(
        "the same of what it gives; by default what the network makes of the input", _as_flat_as_input, default=None
    )
    further_inputs: Given[Mapping[str, ArrayInfo], Mapping[str, ArrayInfo | Mapping[str, Any]]] = setting(
        "more arrays around the same centre that the network takes, by name; such as coarser ones of the surroundings",
        _own_names,
        factory=dict,
    )
    further_targets: Given[Mapping[str, ArrayInfo], Mapping[str, ArrayInfo | Mapping[str, Any]]] = setting(
        "more arrays that it gives, by name", _own_names, factory=dict
    )
    targets: Given[Mapping[str, TargetKind], TargetKind | Mapping[str, Any] | str | None] = setting(
        "what targets say: binary, signed_distance, ..., or a kind for each name; binary by default",
        ReadBy(parse_targets, str | dict[str, Any]),
        default=None,
    )
    resolution: Given[float | Triple | None, float | Sequence[float] | None] = setting(
        "voxel size of input_array_info in nm, where that is left out", POSITIVE, _agreeing, default=None
    )
    validation_count_limit: int | None = setting("another name of validation_batch_limit", COUNT, default=None)
    train_loader: Any = setting(
        "batches of your own to train on, in place of those of a datasplit: mappings of arrays (input, output), or "
        "pairs of them",
        default=None,
    )
    validation_loader: Any = setting("the same to validate by; beside a train_loader there is no other", default=None)
    dataloader_kwargs: Mapping[str, Any] = setting(
        "settings of the loader by another way, as num_workers; a line says what does the job of the others",
        _understood,
        factory=dict,
    )

    @staticmethod
    def adapt_given(given: dict[str, Any]) -> dict[str, Any]:
        """Take several arrays by their names, as the official toolbox has them: the first one is input, or output.

        Examples
        --------
        >>> arrays = {name: {"shape": (8, 8, 8), "scale": (nm, nm, nm)} for name, nm in (("em", 8), ("coarse", 32))}
        >>> adapted = DataSettings.adapt_given({"input_array_info": arrays})
        >>> adapted["input_array_info"]["scale"], list(adapted["further_inputs"])
        ((8, 8, 8), ['coarse'])
        """
        adapted = dict(given)
        for name, further in (("input_array_info", "further_inputs"), ("target_array_info", "further_targets")):
            arrays = given.get(name)
            if isinstance(arrays, Mapping) and arrays and not {"shape", "scale"} & arrays.keys():
                first, *others = arrays
                adapted |= {name: arrays[first], further: {each: arrays[each] for each in others}}
        return adapted

    @property
    def kinds(self) -> dict[str, TargetKind]:
        """The kind of each target; a further array that none is named for has a binary one of its own."""
        further = (name for name in self.further_targets if name not in self.targets)
        return {**self.targets, **{name: BinaryTarget() for name in further}}
