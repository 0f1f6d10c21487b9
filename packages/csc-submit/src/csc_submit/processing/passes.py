"""A list of steps as passes over a volume: local steps that follow each other are one pass, and so are object steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from csc_data.challenge import ClassTable
from csc_data.geometry import Shape, Triple, as_shape
from csc_submit.processing.own_step import OwnStep
from csc_submit.settings import PROCESS_FUNC_HALO, ProcessSettings
from csc_submit.steps.declared import (
    Components,
    FillHoles,
    Hierarchy,
    Largest,
    MutexWatershed,
    ObjectStep,
    Opening,
    Outside,
    Own,
    RemoveSmall,
    Smoothing,
    Step,
    Threshold,
    Union,
    Watershed,
)


@dataclass(frozen=True, slots=True)
class Seeds(Step):
    """The first part of a watershed: which voxels of the mask are seeds."""

    of: Watershed

    def halo(self, voxel_size: Triple) -> Shape:
        """Return how far a voxel looks to know how deep it lies."""
        return as_shape([math.floor(self.of.seed_distance_nm / v) + 1 for v in voxel_size])

    @property
    def reads(self) -> tuple[str, ...]:
        """The classes that give seeds and borders."""
        return self.of.reads


@dataclass(frozen=True, slots=True)
class Flood(Step):
    """The second part: which seed each voxel of the mask belongs to. Its source are the seeds, beside them the mask."""

    of: Watershed

    def halo(self, voxel_size: Triple) -> Shape:
        """Return the margin."""
        return self.of.halo(voxel_size)

    @property
    def reads(self) -> tuple[str, ...]:
        """The classes that give seeds and borders."""
        return self.of.reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Steps that are done together.

    Attributes
    ----------
    scope : {"local", "holes", "objects"}
    steps : tuple of Step
    source : int
        The pass whose result is its input; -1 for the prediction.
    side : int or None
        A pass whose result it reads, too.
    """

    scope: Literal["local", "holes", "objects"]
    steps: tuple[Step, ...]
    source: int
    side: int | None = None

    @property
    def rounds(self) -> int:
        """How often each block is worked on: global passes make tables before."""
        return 1 if self.scope == "local" else 2

    @property
    def mutex(self) -> MutexWatershed | None:
        """The step that makes the objects, where these are not the components."""
        first = self.steps[0] if self.steps else None
        return first if isinstance(first, MutexWatershed) else None

    def halo(self, voxel_size: Triple) -> Shape:
        """Return the context that a block needs.

        Examples
        --------
        >>> Pass(scope="local", steps=(Opening(radius_nm=20.0),), source=-1).halo((8.0, 8.0, 8.0))
        (6, 6, 6)
        """
        halos = np.array([step.halo(voxel_size) for step in self.steps] or [(0, 0, 0)])
        return as_shape(halos.sum(axis=0).tolist())


def steps_for(
    settings: ProcessSettings, class_name: str, voxel_size: Triple, own: OwnStep | None, known: Sequence[str]
) -> tuple[Step, ...]:
    """Return what is done to a class: the setting ``steps``, or the list that the other settings stand for.

    Parameters
    ----------
    settings : ProcessSettings
    class_name : str
    voxel_size : tuple of float
        nm, z, y, x.
    own : OwnStep or None
    known : sequence of str
        The classes that are there, the more important ones first.

    Examples
    --------
    >>> from csc_submit import ProcessSettings
    >>> steps_for(ProcessSettings(threshold=0.7, min_voxels=10), "er", (8.0, 8.0, 8.0), None, ["er"])
    (Threshold(level=0.7), RemoveSmall(voxels=10, nm3=0.0))
    """
    mine = own is not None and (not settings.process_classes or class_name in settings.process_classes)
    own_steps = [_own(settings, class_name)] if mine else []
    options = settings.for_class(class_name)
    steps: list[Step] = []
    listed = settings.step_list(class_name)
    if listed is None:
        steps += [Smoothing(sigma_nm=options.smoothing_nm)] if options.smoothing_nm else []
        steps += own_steps
        steps += [Threshold(level=options.threshold)]
        steps += [Opening(radius_nm=options.opening_nm)] if options.opening_nm else []
        steps += [FillHoles()] if options.fill_holes else []
        smallest = options.smallest_object(voxel_size)
        steps += [RemoveSmall(voxels=smallest)] if smallest > 1 else []
    else:
        for step in listed:
            if isinstance(step, Own):
                # One with parameters is of a list that was put together here, to try them.
                steps += [step] if mine and step.parameters else own_steps
            elif isinstance(step, Threshold) and step.level is None:
                steps.append(Threshold(level=options.threshold))
            elif isinstance(step, Hierarchy):
                steps += _agreeing(class_name, known, settings.class_table)
            else:
                steps.append(step)
    last = steps[-1] if steps else None
    numbers = isinstance(last, Components | MutexWatershed) or (last is not None and last.scope == "watershed")
    if options.instances and not numbers:
        steps.append(Components())
    return tuple(steps)


def _own(settings: ProcessSettings, class_name: str) -> Own:
    return Own(
        context=settings.process_halo or PROCESS_FUNC_HALO,
        together=settings.process_classes,
        parameters=tuple(sorted(settings.own_parameters(class_name).items())),
    )


def _agreeing(class_name: str, known: Sequence[str], classes: ClassTable) -> list[Step]:
    """Return what makes a class agree with those that go before it."""
    # Parts before their groups, so that no two classes wait for each other.
    order = sorted(known, key=lambda name: len(classes[name].parts))
    before = order[: order.index(class_name)]
    excluded = set(classes.relations([class_name, *before])[class_name])
    others = tuple(name for name in before if name in excluded)
    parts = tuple(name for name in before if classes[name].atoms <= classes[class_name].parts)
    return [*([Outside(of=others)] if others else []), *([Union(of=parts)] if parts else [])]


def passes_of(steps: Sequence[Step]) -> tuple[Pass, ...]:
    """Put steps together to passes; the first one is local, since it reads the prediction.

    Examples
    --------
    >>> [one.scope for one in passes_of([Threshold(level=0.5), Opening(radius_nm=20.0), RemoveSmall(voxels=10)])]
    ['local', 'objects']
    """
    found: list[Pass] = []

    def add(scope: Literal["local", "holes", "objects"], step: Step) -> None:
        last = found[-1] if found else None
        begins = isinstance(step, MutexWatershed)  # what is filtered before it is divided is another pass
        if last is not None and last.scope == scope and scope != "holes" and last.side is None and not begins:
            found[-1] = Pass(scope=scope, steps=(*last.steps, step), source=last.source)
        else:
            found.append(Pass(scope=scope, steps=(step,), source=len(found) - 1))

    for step in steps:
        if not found and step.scope != "local":
            found.append(Pass(scope="local", steps=(), source=-1))
        if isinstance(step, Watershed):
            mask = len(found) - 1
            found.append(Pass(scope="local", steps=(Seeds(step),), source=mask))
            found.append(Pass(scope="objects", steps=(Components(),), source=mask + 1))
            found.append(Pass(scope="local", steps=(Flood(step),), source=mask + 2, side=mask))
            found.append(Pass(scope="objects", steps=(Components(),), source=mask + 3))
        elif step.scope != "watershed":
            add(step.scope, step)
    return tuple(found)


def kept_objects(steps: Sequence[Step], voxels: npt.NDArray[np.int64], voxel_size: Triple) -> npt.NDArray[np.bool_]:
    """Tell which objects stay after object steps.

    Parameters
    ----------
    steps : sequence of Step
    voxels : ndarray of int64, shape (objects,)
        Their sizes, in the order of their first voxels.
    voxel_size : tuple of float
        nm, z, y, x.

    Examples
    --------
    >>> kept_objects([RemoveSmall(voxels=10)], np.array([4, 10, 12]), (8.0, 8.0, 8.0)).tolist()
    [False, True, True]
    """
    stays = voxels > 0  # not those that blocks saw in the layer beyond them alone
    for step in steps:
        if isinstance(step, Largest):
            chosen = np.argsort(np.where(stays, -voxels, 1), kind="stable")[: step.count]
            stays &= np.isin(np.arange(len(voxels)), chosen)
        elif isinstance(step, ObjectStep):
            low, high = step.limits(voxel_size)
            stays &= (voxels >= low) & (voxels <= high)
    return stays


def is_numbered(steps: Sequence[Step]) -> bool:
    """Tell whether the objects get numbers of their own.

    Examples
    --------
    >>> is_numbered([Threshold(level=0.5)]), is_numbered([Threshold(level=0.5), Components()])
    (False, True)
    """
    return any(isinstance(step, Components | MutexWatershed) for step in steps)
