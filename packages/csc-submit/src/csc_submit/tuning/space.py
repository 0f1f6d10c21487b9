"""What can be tuned of a class: the parameters of its steps, and the values that are tried."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Triple
from csc_submit.processing.own_function import own_step
from csc_submit.settings import ProcessSettings
from csc_submit.steps.declared import STEPS, Own, Step, Threshold
from csc_submit.steps.reading import read_step

Value = float | int | bool
Point = tuple[Value, ...]
"""A value for each parameter."""

STEPS_OF = "steps."
"""Begin of the names of parameters in a list of steps: ``steps.2.radius_nm``."""

OWN = "process_parameters."
"""Begin of the names of keyword arguments of ``process_func``: ``process_parameters.size``."""

_SMOOTHING = (0.0, 1.0, 2.0)  # sigmas and
_RADII = (0.0, 1.0, 1.5, 2.0, 3.0)  # radii, in voxels
_SEED_DEPTHS = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
_SMALLEST = 8  # voxels: what is smaller is hardly an object
_SIZES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A number of the settings of a class.

    Attributes
    ----------
    name : str
        A setting, a parameter of a step of a list, ``steps.2.radius_nm``, or an argument, ``process_parameters.size``.
    values : tuple
        What is tried, ascending, the default among it.
    default : float, int or bool
    """

    name: str
    values: tuple[Value, ...]
    default: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """What the values to try depend on.

    Attributes
    ----------
    voxel_size : tuple of float
        Of the predictions, nm, z, y, x.
    volumes_nm3 : sequence of float
        Of the annotated objects; empty for classes without.
    instances : bool
        Whether objects are scored.
    is_label : bool
        Whether predictions hold labels, which have no threshold.

    Examples
    --------
    >>> figures = ClassFigures(voxel_size=(8.0, 8.0, 8.0), volumes_nm3=[1e6], instances=True, is_label=False)
    >>> figures.lengths([1, 2]), figures.thresholds()[:2]
    ([8.0, 16.0], [0.05, 0.1])
    >>> figures.sizes()[0], figures.counts()[-1]
    (0.0, 2000)
    """

    voxel_size: Triple
    volumes_nm3: Sequence[float]
    instances: bool
    is_label: bool

    @property
    def voxel_nm3(self) -> float:
        """Volume of a voxel."""
        return math.prod(self.voxel_size)

    def lengths(self, voxels: Sequence[float]) -> list[Value]:
        """Return so many voxels in nm, by the mean edge of one."""
        return [rounded(n * self.voxel_nm3 ** (1 / 3)) for n in voxels]

    def thresholds(self) -> list[Value]:
        """Return probabilities: more of them where all scores come from one table."""
        count = 20 if self.instances else 40
        return [number / count for number in range(1, count)]

    def sizes(self) -> list[Value]:
        """Return volumes in nm^3, from a few voxels to the median of what is annotated; 0 is none."""
        largest = float(np.median(self.volumes_nm3)) if len(self.volumes_nm3) else 1e3 * self.voxel_nm3
        smallest = min(_SMALLEST * self.voxel_nm3, largest / 2)
        return [0.0, *(rounded(size) for size in np.geomspace(smallest, largest, _SIZES))]

    def counts(self) -> list[Value]:
        """Return the same sizes in voxels."""
        return [round(rounded(float(size) / self.voxel_nm3)) for size in self.sizes()]


def rounded(value: float) -> float:
    """Round to digits that a person reads.

    >>> rounded(123456.0)
    120000.0
    """
    return float(f"{value:.2g}")


def find_parameters(settings: ProcessSettings, class_name: str, figures: ClassFigures) -> tuple[Parameter, ...]:
    """Return what can be tuned of a class.

    Of the plain settings these are threshold and smoothing, sizes where objects are scored, and what else the
    experiment sets for the class; of a list of steps, their numbers but for margins and counts; of ``process_func``,
    the arguments that have ranges.

    Examples
    --------
    >>> from csc_submit import ProcessSettings
    >>> figures = ClassFigures(voxel_size=(8.0, 8.0, 8.0), volumes_nm3=[1e6], instances=True, is_label=False)
    >>> [parameter.name for parameter in find_parameters(ProcessSettings(), "mito", figures)]
    ['threshold', 'smoothing_nm', 'min_size_nm3']
    """
    listed = settings.step_list(class_name)
    found = _own_arguments(settings, class_name)
    if listed is None:
        options = settings.for_class(class_name)
        if not figures.is_label:
            found["threshold"] = (options.threshold, figures.thresholds())
            found["smoothing_nm"] = (options.smoothing_nm, figures.lengths(_SMOOTHING))
        if options.opening_nm:
            found["opening_nm"] = (options.opening_nm, figures.lengths(_RADII))
        if options.fill_holes:
            found["fill_holes"] = (True, [False, True])
        if options.min_voxels and not options.min_size_nm3:
            found["min_voxels"] = (options.min_voxels, figures.counts())
        elif options.min_size_nm3 or figures.instances:
            found["min_size_nm3"] = (options.min_size_nm3, figures.sizes())
    else:
        for number, step in enumerate(listed):
            for field, default, values in _tunable_fields(step, figures):
                found[f"{STEPS_OF}{number}.{field}"] = (default, values)
        if not figures.is_label and any(isinstance(step, Threshold) and step.level is None for step in listed):
            found["threshold"] = (settings.for_class(class_name).threshold, figures.thresholds())
    return tuple(
        Parameter(name=name, values=tuple(sorted({default, *values})), default=default)
        for name, (default, values) in found.items()
    )


def _own_arguments(settings: ProcessSettings, class_name: str) -> dict[str, tuple[Value, list[Value]]]:
    """Return the keyword arguments of ``process_func`` that have ranges, where it is called for a class."""
    own, listed = own_step(settings), settings.step_list(class_name)
    left_out = settings.process_classes and class_name not in settings.process_classes
    if own is None or left_out or (listed is not None and not any(isinstance(step, Own) for step in listed)):
        return {}
    given, defaults = settings.own_parameters(class_name), inspect.signature(own.function).parameters
    found: dict[str, tuple[Value, list[Value]]] = {}
    for name, values in settings.process_ranges.items():
        default = given.get(name, defaults[name].default if name in defaults else inspect.Parameter.empty)
        if not isinstance(default, bool | int | float):
            raise InvalidArgumentError(
                f"process_func has no number to begin with for {name}; give the argument a default, or set it in "
                "process_parameters"
            )
        found[f"{OWN}{name}"] = (default, list(values))
    return found


def _tunable_fields(step: Step, figures: ClassFigures) -> list[tuple[str, Value, list[Value]]]:
    """Return name, default and values of the numbers of a step; those that are not given stay so."""
    tried = {
        "level": figures.thresholds,
        "sigma_nm": lambda: figures.lengths(_SMOOTHING),
        "radius_nm": lambda: figures.lengths(_RADII),
        "seed_distance_nm": lambda: figures.lengths(_SEED_DEPTHS),
        "nm3": figures.sizes,
        "min_nm3": figures.sizes,
        "voxels": figures.counts,
    }
    wide = {"nm3", "voxels"} if step.scope == "objects" and _keeps_small(step) else set()
    fields = []
    for field in dataclasses.fields(step):  # type: ignore[arg-type]  # every step is a dataclass
        default = getattr(step, field.name)
        needless = figures.is_label and field.name in ("level", "sigma_nm")
        unset = default is None or (field.name in ("nm3", "voxels") and not default)
        if field.name in tried and not unset and not needless and field.name not in wide:
            fields.append((field.name, default, tried[field.name]()))
    return fields


def _keeps_small(step: Step) -> bool:
    """Whether a step removes large objects, whose sizes are not those that are tried."""
    return isinstance(step, STEPS["remove_large"])


def with_values(settings: ProcessSettings, class_name: str, values: Mapping[str, Value]) -> ProcessSettings:
    """Return settings in which parameters of one class have other values.

    Examples
    --------
    >>> from csc_submit import ProcessSettings
    >>> with_values(ProcessSettings(), "mito", {"threshold": 0.7}).for_class("mito").threshold
    0.7
    """
    changes: dict[str, Any] = {}
    listed = None
    for name, value in values.items():
        if name.startswith(STEPS_OF):
            listed = list(settings.step_list(class_name) or ()) if listed is None else listed
            number, _, field = name.removeprefix(STEPS_OF).partition(".")
            listed[int(number)] = dataclasses.replace(listed[int(number)], **{field: value})  # type: ignore[type-var]
        elif name.startswith(OWN):
            arguments = changes.setdefault("process_parameters", dict(settings.process_parameters))
            argument = name.removeprefix(OWN)
            before = _by_class(arguments[argument], settings) if argument in arguments else {}
            arguments[argument] = {**before, class_name: value}
        else:
            changes[name] = {**_by_class(getattr(settings, name), settings), class_name: value}
    if listed is not None:
        changes["steps"] = {**_by_class(settings.steps, settings), class_name: listed}
    return dataclasses.replace(settings, **changes)


def _by_class(given: Any, settings: ProcessSettings) -> dict[str, Any]:
    """Return a setting that may hold for all classes as a mapping."""
    return dict(given) if isinstance(given, Mapping) else dict.fromkeys(settings.class_table, given)


def plain_step(given: Any) -> str | dict[str, Any]:
    """Return a step as an experiment file in TOML has it: without what is as always.

    >>> plain_step({"name": "opening", "radius_nm": 8.0}), plain_step("components")
    ({'name': 'opening', 'radius_nm': 8.0}, 'components')
    """
    step = read_step(given)
    name = next(known for known, cls in STEPS.items() if type(step) is cls)
    given_fields = {
        field.name: list(value) if isinstance(value, tuple) else value
        for field in dataclasses.fields(step)  # type: ignore[arg-type]  # every step is a dataclass
        # Pydantic keeps a default inside of what describes the field.
        if (value := getattr(step, field.name)) != getattr(field.default, "default", field.default)
    }
    return {"name": name, **given_fields} if given_fields else name
