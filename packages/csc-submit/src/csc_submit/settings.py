"""The settings of post-processing, as they stand in an experiment file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar

from csc_data.challenge import ClassTable
from csc_data.challenge.classes.settings import CLASS_NAMES, Table, class_table_setting, name_problems
from csc_data.config.settings import COUNT, NOT_NEGATIVE, Earlier, Given, Limits, Names, setting, settings
from csc_data.errors import Problem
from csc_data.geometry import Shape, Triple
from csc_submit.steps.declared import Step
from csc_submit.steps.reading import read_step, step_problems

ValueT = TypeVar("ValueT", bound=float | bool)

Existing = Literal["resume", "refuse", "overwrite"]
Kind = Literal["probability", "logit", "distance", "label"]
Connectivity = Literal[6, 18, 26]
ProcessForm = Literal["block", "official"]
ProcessValues = Literal["logit", "probability"]

PROCESS_FUNC_HALO = (16, 16, 16)
"""Voxels of context that a `process_func` gets when no `process_halo` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOptions:
    """What is done to the prediction of one class; the fields are those of `ProcessSettings`, for that class alone.

    Examples
    --------
    >>> ProcessSettings(min_size_nm3=10_000).for_class("mito").smallest_object((8.0, 8.0, 8.0))
    20
    """

    class_name: str
    instances: bool
    threshold: float
    min_voxels: int
    min_size_nm3: float
    smoothing_nm: float
    opening_nm: float
    fill_holes: bool
    connectivity: Connectivity

    def smallest_object(self, voxel_size: Triple) -> int:
        """Return the voxels from which on an object stays."""
        return max(self.min_voxels, math.ceil(self.min_size_nm3 / math.prod(voxel_size) - 1e-9))


@settings
class ProcessSettings:
    """The settings of post-processing.

    Where a mapping is allowed it goes from class names to values; classes that it does not name have the default.
    The steps, in this order: smoothing, ``process_func``, threshold, opening, filling of holes, objects (for instance
    classes), removal of small objects.

    Examples
    --------
    >>> settings = ProcessSettings(threshold={"mito": 0.7}, steps={"er": ["threshold"]})
    >>> settings.for_class("mito").threshold, settings.for_class("er").threshold
    (0.7, 0.5)
    >>> settings.step_list("er"), settings.step_list("mito")
    ((Threshold(level=None),), None)
    """

    class_table: Table = class_table_setting(
        "Which classes there are: a classes.toml with more than the challenge's; by default that of the data folder."
    )
    classes: Names = setting("The classes to process; all that were predicted when empty.", CLASS_NAMES, default=())
    threshold: float | Mapping[str, float] = setting(
        "The probability above which a voxel belongs to the class; for logits and distances it is converted.",
        Limits(gt=0, lt=1),
        CLASS_NAMES,
        default=0.5,
    )
    smoothing_nm: float | Mapping[str, float] = setting(
        "Sigma in nm of a Gaussian on the probabilities, before the threshold; 0 is none.",
        NOT_NEGATIVE,
        CLASS_NAMES,
        default=0.0,
    )
    opening_nm: float | Mapping[str, float] = setting(
        "Radius in nm of a morphological opening by a ball: removes what is thinner; 0 is none.",
        NOT_NEGATIVE,
        CLASS_NAMES,
        default=0.0,
    )
    fill_holes: bool | Mapping[str, bool] = setting(
        "Fill background that the class encloses on all sides within the volume.", CLASS_NAMES, default=False
    )
    min_voxels: int | Mapping[str, int] = setting(
        "Remove connected objects of fewer voxels than this.", NOT_NEGATIVE, CLASS_NAMES, default=0
    )
    min_size_nm3: float | Mapping[str, float] = setting(
        "Remove connected objects of less volume than this.", NOT_NEGATIVE, CLASS_NAMES, default=0.0
    )
    instance_classes: Given[tuple[str, ...] | None, Sequence[str] | None] = setting(
        "The classes whose objects get ids of their own; those that the challenge scores so when not given.",
        CLASS_NAMES,
        default=None,
    )
    connectivity: Connectivity = setting(
        "Neighbours that make voxels one object: 6 share a face, 18 an edge, 26 a corner; scores use 26.", default=26
    )
    steps: Mapping[str, Any] | Sequence[Any] | None = setting(
        "Instead of the steps above: a list of names and of mappings with a name and parameters, for all classes, or a "
        "mapping from classes to such lists. Classes without one have the steps above.",
        step_problems,
        default=None,
    )
    process_func: Callable[..., Any] | str | None = setting(
        "Own step: gets one class of one block with its halo (float32 z, y, x; probabilities also where the file "
        "holds logits; labels as they are), and, where its signature names them, class_name and voxel_size. "
        "Returns as many voxels: bool, or probabilities, which then meet the threshold, or labels. Or the Python file "
        "that has it, from the folder of this one.",
        lambda given, _: _function_problems(given),
        default=None,
    )
    process_parameters: Mapping[str, Any] = setting(
        "Keyword arguments of process_func: numbers, texts or true and false, or mappings from classes to such.",
        lambda given, earlier: _parameter_problems(given, earlier),
        default={},
    )
    process_ranges: Mapping[str, Any] = setting(
        "Which values `csc tune` tries for keyword arguments of process_func: lists of numbers, or of true and false.",
        lambda given, _: _range_problems(given),
        default={},
    )
    process_form: ProcessForm | None = setting(
        "How process_func is called: block, as above; official, as by the official toolbox: float32 logits with the "
        "axes of a batch, (1, 1, z, y, x), or (planes, 1, y, x) where input_array_info is flat, and tensors where the "
        "file imports torch. When not given, official for files that call load_safe_config, or have "
        "input_array_info and no model; else block.",
        default=None,
    )
    process_values: ProcessValues | None = setting(
        "What process_func gets of stored probabilities; logit in the official form, else probability, when not given.",
        default=None,
    )
    process_classes: Names = setting(
        "Classes whose predictions process_func gets at once, in this order: (classes, z, y, x), or (1, classes, ...) "
        "in the official form. It returns as many, and is not called for other classes. One by one when empty.",
        CLASS_NAMES,
        default=(),
    )
    process_halo: Given[Shape | None, Sequence[int] | None] = setting(
        "Voxels of context for process_func on each side of a block; 16 when not given.", NOT_NEGATIVE, default=None
    )
    block_shape: Given[Shape, Sequence[int]] = setting(
        "Voxels that are worked on at once, rounded up to whole chunks; sets the memory.",
        COUNT,
        default=(128, 128, 128),
    )
    stored_as: Kind | None = setting(
        "What predictions hold that do not say so themselves: probability, logit, distance or label; when not "
        "given, integers are labels and floats from 0 to 1 probabilities.",
        default=None,
    )
    existing: Existing = setting("What to do with output that is there: resume, refuse or overwrite.", default="resume")

    def for_class(self, class_name: str) -> ClassOptions:
        """Return what is done to one class."""
        return ClassOptions(
            class_name=class_name,
            instances=class_name in self._instance_names(),
            threshold=_pick(self.threshold, class_name, 0.5),
            min_voxels=_pick(self.min_voxels, class_name, 0),
            min_size_nm3=_pick(self.min_size_nm3, class_name, 0.0),
            smoothing_nm=_pick(self.smoothing_nm, class_name, 0.0),
            opening_nm=_pick(self.opening_nm, class_name, 0.0),
            fill_holes=_pick(self.fill_holes, class_name, False),
            connectivity=self.connectivity,
        )

    def step_list(self, class_name: str) -> tuple[Step, ...] | None:
        """Return the steps that are listed for a class; None where there is no list."""
        listed = self.steps.get(class_name) if isinstance(self.steps, Mapping) else self.steps
        return None if listed is None else tuple(read_step(entry) for entry in listed)

    def own_parameters(self, class_name: str) -> dict[str, Any]:
        """Return the keyword arguments of ``process_func`` for one class; those that it does not name are left out.

        Examples
        --------
        >>> ProcessSettings(process_parameters={"size": 3, "level": {"mito": 0.7}}).own_parameters("er")
        {'size': 3}
        """
        return {
            name: value.get(class_name) if isinstance(value, Mapping) else value
            for name, value in self.process_parameters.items()
            if not isinstance(value, Mapping) or class_name in value
        }

    def _instance_names(self) -> frozenset[str]:
        if self.instance_classes is not None:
            return frozenset(self.instance_classes)
        return self.class_table.instances


def _function_problems(given: Any) -> Iterable[Problem]:
    if isinstance(given, str) and not given.endswith(".py"):
        yield Problem(where="", what=f"must be a function, or the name of a Python file, got {given!r}")


def _parameter_problems(given: Mapping[str, Any], earlier: Earlier) -> Iterable[Problem]:
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from (found.within(name) for found in name_problems([str(key) for key in value], earlier))
        for one in value.values() if isinstance(value, Mapping) else [value]:
            if not isinstance(one, bool | int | float | str):
                yield Problem(where=name, what=f"must be a number, a text, true or false, got {one!r}")


def _range_problems(given: Mapping[str, Any]) -> Iterable[Problem]:
    for name, values in given.items():
        listed = isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0
        if not listed or not all(isinstance(value, bool | int | float) for value in values):
            what = f"must be a list of numbers, or of true and false, got {values!r}"
            yield Problem(where=name, what=what, remedy=f"such as {name} = [1, 2, 3]")


def _pick(value: ValueT | Mapping[str, ValueT], class_name: str, default: ValueT) -> ValueT:
    return value.get(class_name, default) if isinstance(value, Mapping) else value


class ProcessOverrides(TypedDict, total=False):
    """Settings that go before those of an experiment, for type checkers; ``existing`` is an argument of `process`."""

    class_table: ClassTable | str | os.PathLike[str] | None
    classes: Sequence[str] | None
    threshold: float | Mapping[str, float] | None
    smoothing_nm: float | Mapping[str, float] | None
    opening_nm: float | Mapping[str, float] | None
    fill_holes: bool | Mapping[str, bool] | None
    min_voxels: int | Mapping[str, int] | None
    min_size_nm3: float | Mapping[str, float] | None
    instance_classes: Sequence[str] | None
    connectivity: Connectivity | None
    steps: Mapping[str, Any] | Sequence[Any] | None
    process_func: Callable[..., Any] | str | None
    process_parameters: Mapping[str, Any] | None
    process_ranges: Mapping[str, Any] | None
    process_form: ProcessForm | None
    process_values: ProcessValues | None
    process_classes: Sequence[str] | None
    process_halo: Sequence[int] | None
    block_shape: Sequence[int] | None
    stored_as: Kind | None
