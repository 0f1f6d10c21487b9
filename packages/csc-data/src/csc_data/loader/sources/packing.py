"""Labels of many classes as one array of small numbers, so that one look at a voxel tells all classes.

Only few of the possible combinations of classes occur. Each gets a number: an array holds the number of each voxel, a
table the code of each class in each combination.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import CscError
from csc_data.volumes.annotation_values import ABSENT, PRESENT, UNKNOWN, Codes

_DIGITS = np.array([ABSENT, PRESENT, UNKNOWN], dtype=np.uint8)

VALUES = np.full(256, np.nan, dtype=np.float32)
"""What each code is as a target: 1 present, 0 absent, NaN unknown."""
VALUES[ABSENT], VALUES[PRESENT] = 0.0, 1.0


class TooManyCombinationsError(CscError):
    """Labels cannot be packed, as those of noise."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedLabels:
    """Combinations of classes.

    Attributes
    ----------
    numbers : ndarray of uint8 or uint16
        The combination of each voxel, shape (z, y, x).
    codes : ndarray of uint8
        Shape (C, P + 1): the code of each class in each combination; the last one is unknown in all.
    values : ndarray of float32
        The same as targets.
    """

    numbers: npt.NDArray[Any]
    codes: Codes
    values: npt.NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", VALUES[self.codes])


def pack_labels(classes: Iterable[Codes], shape: tuple[int, int, int]) -> PackedLabels | None:
    """Pack the codes of classes.

    Parameters
    ----------
    classes : iterable of ndarray of uint8
        The codes of each class, shape (z, y, x); asked for one by one.
    shape : tuple of int

    Returns
    -------
    PackedLabels or None
        None where there are more than 65,535 combinations, as in labels that are noise.
    """
    from csc_data.loader.sources.gathering.labels import merge_codes

    numbers = np.zeros(shape, dtype=np.uint16)
    combinations = [np.zeros(0, dtype=np.uint8)]
    for codes in classes:
        known = np.full(3 * len(combinations), -1, dtype=np.int32)
        found = merge_codes(numbers.reshape(-1), np.ascontiguousarray(codes).reshape(-1), known, 0)
        if found < 0:
            return None
        former = np.argsort(known)[len(known) - found :]  # the key of each new number, in its order
        combinations = [np.append(combinations[key // 3], _DIGITS[key % 3]) for key in former]
    table = np.array(combinations, dtype=np.uint8).reshape(len(combinations), -1).T
    table = np.concatenate([table, np.full((len(table), 1), UNKNOWN, dtype=np.uint8)], axis=1)
    if len(combinations) <= 256:
        numbers = numbers.astype(np.uint8)
    return PackedLabels(numbers, np.ascontiguousarray(table))
