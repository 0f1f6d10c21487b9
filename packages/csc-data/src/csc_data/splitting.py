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

    Classes are served from the rarest to the commonest; each takes crops, among those whose leaving robs no class of
    its last training crop, in the order in which they overshoot the wishes of the other classes least. In spirit:
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
    counts: dict[str, int] = {}
    for names in present:
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    wishes = {name: max(1, round(share * count)) if count > 1 and share > 0 else 0 for name, count in counts.items()}
    validates = [False] * len(present)
    training, validating = dict(counts), dict.fromkeys(counts, 0)
    order = np.random.default_rng(seed).permutation(len(present))
    for name in sorted(counts, key=lambda n: (counts[n], n)):
        while validating[name] < wishes[name]:
            candidates = [
                int(i)
                for i in order
                if name in present[i] and not validates[i] and all(training[other] > 1 for other in present[i])
            ]
            if not candidates:
                break
            chosen = min(candidates, key=lambda i: sum(max(0, validating[n] + 1 - wishes[n]) for n in present[i]))
            validates[chosen] = True
            for other in present[chosen]:
                training[other] -= 1
                validating[other] += 1
    return validates
