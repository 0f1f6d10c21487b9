"""Raw intensities for a network: scaled by a rule that is stored with it, in training as in prediction."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError

DEFAULT_RANGE = (0.0, 1.0)
_BEYOND = 0.5  # of a range: how far noise and contrast may bring raw beyond it


def scale_raw(
    values: npt.NDArray[Any], raw_range: Sequence[float] = DEFAULT_RANGE, *, stored: np.dtype[Any] | None = None
) -> npt.NDArray[np.float32]:
    """Map the range of the stored type to the range that a network is trained with.

    Parameters
    ----------
    values : ndarray
        Integers use the whole range of their type (0 and 255 for uint8); floats are taken to lie in 0 to 1.
    raw_range : pair of float
        What the ends of that range become: (0, 1), or (0, 255) for networks that were trained on unscaled uint8.
    stored : dtype, optional
        The stored type, where values were cast since.

    Returns
    -------
    ndarray
        float32, of the same shape.

    Raises
    ------
    InvalidArgumentError
        If the range is not two numbers, the first smaller.

    Examples
    --------
    >>> scale_raw(np.array([0, 255], dtype=np.uint8))
    array([0., 1.], dtype=float32)
    """
    factor, offset = scaling_of(values.dtype if stored is None else stored, raw_range)
    scaled = values.astype(np.float32)
    if factor != 1:
        scaled *= np.float32(factor)
    if offset:
        scaled += np.float32(offset)
    return scaled


def scaling_of(dtype: np.dtype[Any], raw_range: Sequence[float]) -> tuple[float, float]:
    """Return factor and offset of `scale_raw` for a stored type.

    Raises
    ------
    InvalidArgumentError
        If the range is not two numbers, the first smaller.

    Examples
    --------
    >>> factor, offset = scaling_of(np.dtype(np.uint8), (-1.0, 1.0))
    >>> 0 * factor + offset, round(255 * factor + offset, 6)
    (-1.0, 1.0)
    """
    if len(raw_range) != 2 or not raw_range[0] < raw_range[1]:
        raise InvalidArgumentError(f"raw_range must be two numbers, the first smaller, got {tuple(raw_range)}")
    low, high = map(float, raw_range)
    least, most = 0.0, 1.0
    if np.issubdtype(dtype, np.integer):
        least, most = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    factor = (high - low) / (most - least)
    return factor, low - least * factor


def reaches_beyond(least: float, most: float) -> bool:
    """Return whether raw goes further beyond 0 to 1 than noise and changed contrast bring it.

    Parameters
    ----------
    least, most : float
        Its ends, as shares of the range that it should have.

    Examples
    --------
    >>> reaches_beyond(-0.1, 1.2), reaches_beyond(0, 255)
    (False, True)
    """
    return least < -_BEYOND or most > 1 + _BEYOND


@functools.lru_cache(maxsize=64)
def lookup_table(dtype: np.dtype[Any], raw_range: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Return what each value of a small unsigned type becomes by `scale_raw`; empty for other types.

    Examples
    --------
    >>> lookup_table(np.dtype(np.uint8), (-1.0, 1.0))[[0, 255]].tolist()
    [-1.0, 1.0]
    """
    if dtype.kind != "u" or dtype.itemsize > 2:
        return np.empty(0, dtype=np.float32)
    return scale_raw(np.arange(np.iinfo(dtype).max + 1, dtype=dtype), raw_range)
