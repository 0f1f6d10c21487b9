"""The settings of post-processing, as they stand in an experiment file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from csc_data.config.experiment import setting
from csc_data.errors import Problem

ValueT = TypeVar("ValueT", bound=float | bool)

Existing = Literal["resume", "refuse", "overwrite"]
Kind = Literal["probability", "logit", "distance", "label"]
Connectivity = Literal[6, 18, 26]

PROCESS_FUNC_HALO = (16, 16, 16)
"""Voxels of context that a `process_func` gets when no `process_halo` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOptions:
    """What is done to the prediction of one class; the fields are those of `ProcessSettings`, for that class alone."""

    class_name: str
    instances: bool
    threshold: float
    min_voxels: int
    min_size_nm3: float
    smoothing_nm: float
    opening_nm: float
    fill_holes: bool
    connectivity: Connectivity


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """The settings of post-processing.

    Where a mapping is allowed it goes from class names to values; classes that it does not name have the default.
    The steps, in this order: smoothing, ``process_func``, threshold, opening, filling of holes, objects (for instance
    classes), removal of small objects.
    """

    classes: tuple[str, ...] = setting((), doc="The classes to process; all that were predicted when empty.")
    threshold: float | Mapping[str, float] = setting(
        0.5, doc="The probability above which a voxel belongs to the class; for logits and distances it is converted."
    )
    smoothing_nm: float | Mapping[str, float] = setting(
        0.0, doc="Sigma in nm of a Gaussian on the probabilities, before the threshold; 0 is none."
    )
    opening_nm: float | Mapping[str, float] = setting(
        0.0, doc="Radius in nm of a morphological opening by a ball: removes what is thinner; 0 is none."
    )
    fill_holes: bool | Mapping[str, bool] = setting(
        False, doc="Fill background that the class encloses on all sides within the volume."
    )
    min_voxels: int | Mapping[str, int] = setting(0, doc="Remove connected objects of fewer voxels than this.")
    min_size_nm3: float | Mapping[str, float] = setting(0.0, doc="Remove connected objects of less volume than this.")
    instance_classes: tuple[str, ...] | None = setting(
        None, doc="The classes whose objects get ids of their own; those that the challenge scores so when not given."
    )
    connectivity: Connectivity = setting(
        26, doc="Neighbours that make voxels one object: 6 share a face, 18 an edge, 26 a corner; scores use 26."
    )
    process_func: Callable[..., Any] | None = setting(
        None,
        doc="Own step: gets one class of one block with its halo (float32 z, y, x; probabilities also where the file "
        "holds logits; labels as they are), and, where its signature names them, class_name and voxel_size. "
        "Returns as many voxels: bool, or probabilities, which then meet the threshold, or labels.",
    )
    process_halo: tuple[int, int, int] | None = setting(
        None, minimum=0, doc="Voxels of context for process_func on each side of a block; 16 when not given."
    )
    block_shape: tuple[int, int, int] = setting(
        (128, 128, 128),
        minimum=1,
        doc="Voxels that are worked on at once, rounded up to whole chunks; sets the memory.",
    )
    stored_as: Kind | None = setting(
        None,
        doc="What predictions hold that do not say so themselves: probability, logit, distance or label; when not "
        "given, integers are labels and floats from 0 to 1 probabilities.",
    )
    existing: Existing = setting("resume", doc="What to do with output that is there: resume, refuse or overwrite.")

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong beyond types: ranges within mappings, classes that the challenge does not have."""
        for name in (*self.classes, *(self.instance_classes or ())):
            if problem := _class_problem("classes" if name in self.classes else "instance_classes", name):
                yield problem
        for field, low, high in _RANGES:
            value = getattr(self, field)
            for name, number in value.items() if isinstance(value, Mapping) else [("", value)]:
                where = f"{field}.{name}" if name else field
                if name and (problem := _class_problem(where, name)):
                    yield problem
                if high is None and not 0 <= number < float("inf"):
                    yield Problem(where=where, what=f"must be at least 0, got {number!r}")
                elif high is not None and not low < number < high:
                    yield Problem(where=where, what=f"must lie strictly between {low} and {high}, got {number!r}")
        if isinstance(self.fill_holes, Mapping):
            for name in self.fill_holes:
                if problem := _class_problem(f"fill_holes.{name}", name):
                    yield problem

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

    def _instance_names(self) -> frozenset[str]:
        if self.instance_classes is not None:
            return frozenset(self.instance_classes)
        from csc_data.challenge import get_instance_classes

        return get_instance_classes()


_RANGES: tuple[tuple[str, float, float | None], ...] = (
    ("threshold", 0.0, 1.0),
    ("smoothing_nm", 0.0, None),
    ("opening_nm", 0.0, None),
    ("min_voxels", 0.0, None),
    ("min_size_nm3", 0.0, None),
)


def _pick(value: ValueT | Mapping[str, ValueT], class_name: str, default: ValueT) -> ValueT:
    return value.get(class_name, default) if isinstance(value, Mapping) else value


def _class_problem(where: str, name: str) -> Problem | None:
    from csc_data.challenge import label_classes, nearest_class

    if name in label_classes():
        return None
    near = nearest_class(name)
    remedy = f"did you mean {near!r}?" if near else "`csc classes` lists them"
    return Problem(where=where, what=f"the challenge has no class {name!r}", remedy=remedy)
