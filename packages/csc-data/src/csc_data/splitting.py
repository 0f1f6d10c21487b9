"""Making a datasplit: which of the annotated crops train and which validate, so that every class has both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from csc_data.crops import find_crops
from csc_data.datasplit import SplitRow
from csc_data.errors import InvalidArgumentError, MissingDataError, Problem
from csc_data.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasplit:
    """A split and what there is to say of it.

    Attributes
    ----------
    rows : tuple of SplitRow
    voxels : dict
        Voxels of each class by side: ``voxels["mito"]["train"]``.
    crops : dict
        Crops that have the class by side.
    left_out : tuple of Problem
        Crops that are not used, and why.
    """

    rows: tuple[SplitRow, ...]
    voxels: Mapping[str, Mapping[str, int]]
    crops: Mapping[str, Mapping[str, int]]
    left_out: tuple[Problem, ...]


def make_datasplit(
    settings: Settings,
    *,
    classes: Sequence[str] | None = None,
    validation_share: float = 0.2,
    seed: int = 0,
    min_voxels: int = 1,
) -> Datasplit:
    """Split the annotated crops below the data folder into training and validation.

    The split is a function of the data and the arguments. Each class that at least two crops have gets crops on both
    sides, as far as the classes together allow it.

    Parameters
    ----------
    settings : Settings
        Where data lies.
    classes : sequence of str, optional
        The classes to train; all that are annotated by default.
    validation_share : float
        Share of the crops of each class that should validate, between 0 and 1.
    seed : int
        Which of the equally good splits.
    min_voxels : int
        A crop counts as having a class from this many voxels on.

    Raises
    ------
    MissingDataError
        If there is no data, or no crop has any of the classes.
    InvalidArgumentError
        If the share is not between 0 and 1.
    """
    if not 0 <= validation_share < 1:
        raise InvalidArgumentError(f"validation_share must be at least 0 and below 1, got {validation_share}")
    crops, left_out = find_crops(settings, classes)
    if not crops:
        raise MissingDataError(
            f"no crop below {settings.root} has any of the classes {', '.join(classes or ())}; "
            + "; ".join(map(str, left_out[:3]))
        )
    present = [{name for name, count in crop.voxels.items() if count >= min_voxels} for crop in crops]
    validates = stratify(present, validation_share, seed)
    rows = tuple(
        SplitRow(
            usage="validate" if side else "train",
            raw=crop.raw,
            labels=crop.labels,
            classes=tuple(crop.voxels),
        )
        for crop, side in zip(crops, validates, strict=True)
    )
    names = list(classes) if classes is not None else sorted({name for crop in crops for name in crop.voxels})
    voxels: dict[str, dict[str, int]] = {name: {"train": 0, "validate": 0} for name in names}
    counts: dict[str, dict[str, int]] = {name: {"train": 0, "validate": 0} for name in names}
    for crop, row, there in zip(crops, rows, present, strict=True):
        for name in crop.voxels:
            voxels[name][row.usage] += crop.voxels[name]
            counts[name][row.usage] += name in there
    return Datasplit(rows=rows, voxels=voxels, crops=counts, left_out=tuple(left_out))


def stratify(present: Sequence[set[str]], share: float, seed: int) -> list[bool]:
    """Choose validation crops so that every class is on both sides where it can be.

    First each class gets one validation crop, from the rarest to the commonest, by a search that goes back where a
    choice leaves another class without; then crops are added until the wished share is met. No class loses its last
    training crop, and among equal crops those come first that overshoot the wishes of other classes least. In spirit:
    iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011).

    Parameters
    ----------
    present : sequence of set of str
        The classes that each crop has.
    share : float
        Wished share of validation crops per class; at least one crop where a class has two or more, unless it is 0.
    seed : int
        Breaks ties.

    Returns
    -------
    list of bool
        Whether each crop validates.
    """
    choice = _Choice(present, share, np.random.default_rng(seed).permutation(len(present)).tolist())
    _serve_each_class(choice)
    for name in choice.names:
        while choice.validating[name] < choice.wishes[name] and (candidates := choice.candidates(name)):
            choice.move(candidates[0], validates=True)
    return choice.validates


class _Choice:
    """A split in the making."""

    def __init__(self, present: Sequence[set[str]], share: float, order: list[int]) -> None:
        counts: dict[str, int] = {}
        for names in present:
            for name in names:
                counts[name] = counts.get(name, 0) + 1
        self.present = present
        self.order = order
        self.wishes = {n: max(1, round(share * count)) if count > 1 and share > 0 else 0 for n, count in counts.items()}
        self.training, self.validating = dict(counts), dict.fromkeys(counts, 0)
        self.validates = [False] * len(present)
        self.names = sorted(counts, key=lambda name: (counts[name], name))

    def move(self, crop: int, *, validates: bool) -> None:
        self.validates[crop] = validates
        step = 1 if validates else -1
        for name in self.present[crop]:
            self.training[name] -= step
            self.validating[name] += step

    def candidates(self, name: str) -> list[int]:
        """Return the training crops with a class that no class needs there, the best first."""
        free = [
            i
            for i in self.order
            if name in self.present[i] and not self.validates[i] and all(self.training[n] > 1 for n in self.present[i])
        ]
        # Sorting is stable: ties stay in the order of the seed.
        return sorted(free, key=lambda i: sum(max(0, self.validating[n] + 1 - self.wishes[n]) for n in self.present[i]))


_SEARCH_EFFORT = 2_000_000  # classes looked at; about a second, and more than enough for a hundred crops


def _serve_each_class(choice: _Choice) -> None:
    """Give as many classes as possible a validation crop."""
    servable = [name for name in choice.names if choice.wishes[name] and choice.candidates(name)]
    steps_left = _SEARCH_EFFORT // max(1, sum(map(len, choice.present)))
    best: list[bool] = choice.validates[:]
    most = -1

    def search(position: int) -> bool:
        """Go through the classes from a position on; tell whether all are served, or time is up."""
        nonlocal best, most, steps_left
        steps_left -= 1
        served = sum(choice.validating[name] > 0 for name in servable)
        if served > most:
            best, most = choice.validates[:], served
        if most == len(servable) or steps_left <= 0:
            return True
        while position < len(servable) and choice.validating[servable[position]]:
            position += 1
        open_ones = sum(not choice.validating[name] for name in servable[position:])
        if position == len(servable) or served + open_ones <= most:
            return False
        for crop in choice.candidates(servable[position]):
            choice.move(crop, validates=True)
            done = search(position + 1)
            choice.move(crop, validates=False)
            if done:
                return True
        return search(position + 1)

    search(0)
    for crop, validates in enumerate(best):
        if validates:
            choice.move(crop, validates=True)
