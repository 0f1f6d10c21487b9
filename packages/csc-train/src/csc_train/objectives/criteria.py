"""Understanding a criterion: which losses compare which output with which target, and how much each counts."""

from __future__ import annotations

import inspect
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from csc_data.errors import InvalidArgumentError, Problem, ProblemsError, did_you_mean
from csc_data.loader.targets import BinaryTarget, SignedDistanceTarget, TargetKind
from csc_train.objectives.losses.exclusive import ExclusiveCrossEntropy
from csc_train.objectives.losses.given import criterion_name, make_given, takes_positive_weight
from csc_train.objectives.losses.loss import Loss
from csc_train.objectives.losses.overlaps import Dice, Tversky
from csc_train.objectives.losses.skeletons import CenterlineDice
from csc_train.objectives.losses.voxelwise import BinaryCrossEntropy, Focal, MeanSquaredError

_log = logging.getLogger(__name__)

_LOSSES: dict[str, Callable[..., Loss]] = {
    "bce": BinaryCrossEntropy,
    "dice": Dice,
    "focal": Focal,
    "tversky": Tversky,
    "cldice": CenterlineDice,
    "mse": MeanSquaredError,
    "cross_entropy": ExclusiveCrossEntropy,
}
_SUMS = {"bce_dice": ("bce", "dice")}
_HOT_DISTANCE = "hot_distance"
NAMES = (*_LOSSES, *_SUMS, _HOT_DISTANCE)
_WEIGHT = "positive_weight"  # the argument of losses that comes from counts, not from people


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A loss that compares an output with a target, and how much it counts in the total.

    Attributes
    ----------
    name : str
        What it is called in logs; no two terms of an objective have the same.
    output, target : str
        Names of what the network gives, and of an array of the batch.
    """

    name: str
    output: str
    target: str
    loss: Loss
    factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One criterion, and what was said beside it."""

    where: str
    criterion: Any
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    factor: float = 1.0
    target: str | None = None


@dataclass(kw_only=True)
class CriterionReader:
    """Makes terms of a criterion, and collects what is wrong with it.

    Attributes
    ----------
    kinds : mapping
        What each target of a batch says.
    positive_weight : Tensor or None
        Shape (C,): how much more present voxels count, in targets that say where classes are.
    ndim : int
        Spatial axes of targets.
    """

    kinds: Mapping[str, TargetKind]
    positive_weight: Tensor | None = None
    ndim: int = 3
    problems: list[Problem] = field(default_factory=list)

    def read(self, criterion: Any, arguments: Mapping[str, Any]) -> list[Term]:
        """Return the terms of a criterion.

        Parameters
        ----------
        criterion : str, type, callable, sequence or mapping
            A name (`NAMES`), or the class or instance of a loss; a mapping with such a ``criterion`` and any of
            ``kwargs``, ``factor`` and ``target``; or a list of these, which is their sum. Given so it is for all
            targets, each compared with the output of its name; a mapping of names gives each output its own.
        arguments : mapping
            Arguments of a criterion that is not within a list or a mapping.

        Raises
        ------
        ProblemsError
            With everything that is wrong.
        """
        if arguments and isinstance(criterion, Mapping | list | tuple):
            remedy = 'give {"criterion": ..., "kwargs": ...} in its place'
            self._wrong("criterion_kwargs", "does not go with a criterion of several parts", remedy)
        terms: dict[str, Term] = {}
        uses: Counter[str] = Counter()
        for output, target, entry in self._placed(criterion, arguments):
            for part, loss in self._losses(entry, self.kinds[target]):
                named = part if len(self.kinds) == 1 and output in self.kinds else f"{output}/{part}"
                uses[named] += 1
                name = named if uses[named] == 1 else f"{named}_{uses[named]}"
                terms[name] = Term(name=name, output=output, target=target, loss=loss, factor=entry.factor)
        if not terms and not self.problems:
            self._wrong("criterion", "is empty", f"such as 'bce'; known are {', '.join(NAMES)}")
        if self.problems:
            raise ProblemsError("experiment", dict.fromkeys(self.problems))
        return list(terms.values())

    def _placed(self, criterion: Any, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str, _Entry]]:
        """Yield the output and the target that each part is for."""
        if isinstance(criterion, Mapping) and "criterion" not in criterion:
            for output, value in criterion.items():
                for entry in self._entries(value, f"criterion.{output}"):
                    only = next(iter(self.kinds)) if len(self.kinds) == 1 else str(output)
                    target = entry.target or (output if output in self.kinds else only)
                    if target in self.kinds:
                        yield str(output), target, entry
                    else:
                        self._wrong(entry.where, f"there is no target {target!r}", did_you_mean(target, self.kinds))
            return
        entries = self._entries(criterion, "criterion")
        if not isinstance(criterion, Mapping | list | tuple):
            entries = iter([_Entry(where="criterion", criterion=criterion, kwargs=arguments)])
        for entry in entries:
            if entry.criterion == _HOT_DISTANCE and len({_is_distance(kind) for kind in self.kinds.values()}) == 1:
                remedy = 'targets = {"output": "binary", "distance": "signed_distance"}'
                self._wrong(entry.where, f"{_HOT_DISTANCE} needs a target of signed distances and another one", remedy)
            for target in self.kinds if entry.target is None else [entry.target]:
                yield target, target, entry

    def _entries(self, value: Any, where: str) -> Iterator[_Entry]:
        """Yield the parts of what was given for one output, or for all."""
        if isinstance(value, list | tuple):
            for number, part in enumerate(value):
                yield from self._entries(part, f"{where}[{number}]")
            return
        if not isinstance(value, Mapping):
            yield _Entry(where=where, criterion=value)
            return
        found = len(self.problems)
        known = ("criterion", "kwargs", "factor", "target")
        for name in value.keys() - set(known):
            self._wrong(f"{where}.{name}", "is not known", did_you_mean(name, known))
        factor, target, kwargs = value.get("factor", 1.0), value.get("target"), value.get("kwargs", {})
        if "criterion" not in value:
            self._wrong(where, "has no criterion", f"known are {', '.join(NAMES)}")
        if not _is_number(factor):
            self._wrong(f"{where}.factor", f"must be a number and not negative, got {factor!r}")
        if target is not None and target not in self.kinds:
            self._wrong(f"{where}.target", f"there is no target {target!r}", did_you_mean(target, self.kinds))
        if not isinstance(kwargs, Mapping):
            self._wrong(f"{where}.kwargs", f"must be a mapping, got {kwargs!r}")
        if len(self.problems) == found:
            yield _Entry(where=where, criterion=value["criterion"], kwargs=kwargs, factor=float(factor), target=target)

    def _losses(self, entry: _Entry, kind: TargetKind) -> Iterator[tuple[str, Loss]]:
        """Yield the losses of one part by name."""
        weight = self.positive_weight if isinstance(kind, BinaryTarget) else None
        criterion = entry.criterion
        if isinstance(criterion, str) and criterion not in NAMES:
            self._wrong(entry.where, f"there is no criterion {criterion!r}", did_you_mean(criterion, NAMES))
            return
        try:
            if isinstance(criterion, str):
                yield from self._named_losses(entry, kind, weight)
                return
            if weight is not None and not takes_positive_weight(criterion):
                _log.info("%s does not take pos_weight: weight_loss has no effect on it", criterion_name(criterion))
            yield criterion_name(criterion), make_given(criterion, entry.kwargs, weight, self.ndim)
        except InvalidArgumentError as error:
            self._wrong(entry.where, str(error))

    def _named_losses(self, entry: _Entry, kind: TargetKind, weight: Tensor | None) -> Iterator[tuple[str, Loss]]:
        parts = _SUMS.get(entry.criterion, (entry.criterion,))
        if entry.criterion == _HOT_DISTANCE:
            parts = ("mse",) if _is_distance(kind) else ("bce",)
        takes = {part: inspect.signature(_LOSSES[part]).parameters for part in parts}
        known = {name: each for parameters in takes.values() for name, each in parameters.items() if name != _WEIGHT}
        for name, value in entry.kwargs.items():
            place = "criterion_kwargs" if entry.where == "criterion" else f"{entry.where}.kwargs"
            if name not in known:
                remedy = did_you_mean(name, sorted(known)) if known else "leave it out"
                self._wrong(f"{place}.{name}", f"is not an argument of {entry.criterion}", remedy)
            elif isinstance(known[name].default, bool):
                if not isinstance(value, bool):
                    self._wrong(f"{place}.{name}", f"must be true or false, got {value!r}")
            elif not _is_number(value):
                self._wrong(f"{place}.{name}", f"must be a number and not negative, got {value!r}")
        for part in parts:
            if _is_distance(kind) and part != "mse":
                remedy = "take mse, or hot_distance for both kinds of targets"
                self._wrong(entry.where, f"{part} is for targets of 1 and 0, not for signed distances", remedy)
            if part == "cross_entropy" and not isinstance(kind, BinaryTarget):
                self._wrong(entry.where, f"{part} is for classes that exclude each other, not for {kind.kind}")
            if not self.problems:
                given = {name: value for name, value in entry.kwargs.items() if name in takes[part]}
                weights = {_WEIGHT: weight} if _WEIGHT in takes[part] else {}
                yield part, _LOSSES[part](**given, **weights)

    def _wrong(self, where: str, what: str, remedy: str = "") -> None:
        self.problems.append(Problem(where=where, what=what, remedy=remedy))


def _is_distance(kind: TargetKind) -> bool:
    return isinstance(kind, SignedDistanceTarget)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
