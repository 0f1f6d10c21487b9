"""Sizes of U-Nets with valid convolutions: what they take, what they give, what a voxel of their output sees.

Each level convolves twice with kernels of 3, and after each upsampling features are cropped so that what is left after
the convolutions is a multiple of the strides below, as in the COSEM project's networks.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import count

from csc_models.specification import OutputRule, SizeRule
from csc_models.specification.receptive_field import Step, pooling, receptive_field, upsampling, valid_convolution

_LOSS = 4  # voxels that two valid convolutions of 3 take off an axis


def size_rule(factors: tuple[int, ...], upsampling: int) -> SizeRule:
    """Return which sizes a network of these factors takes.

    Examples
    --------
    >>> str(size_rule((2, 3, 3), upsampling=1))
    '198, 216, 234, ... (steps of 18)'
    """
    step = math.prod(factors)
    return SizeRule(minimum=_smallest(factors, upsampling), efficient_multiple=step, step=step)


def output_rule(factors: tuple[int, ...], upsampling: int) -> OutputRule:
    """Return which output a network of these factors gives; `upsampling` is how much finer it is than the input.

    Examples
    --------
    >>> output_rule((2, 3, 3), upsampling=1).size(216)
    32
    """
    smallest = _smallest(factors, upsampling)
    size = _output_size(smallest, factors, upsampling)
    assert size is not None
    return OutputRule(scale_factor=upsampling, lost=upsampling * smallest - size)


def cropped_size(size: int, factor: int) -> int:
    """Return the size before two valid convolutions that leaves a multiple of `factor` after them.

    Examples
    --------
    >>> cropped_size(17, 4)  # two convolutions of 3 leave 12 of these, a multiple of 4
    16
    """
    return (size - _LOSS) // factor * factor + _LOSS


def _output_size(size: int, factors: tuple[int, ...], upsampling: int) -> int | None:
    """Return the size of the output; None if the network does not take this size."""
    for factor in factors:
        size -= _LOSS
        if size < 1 or size % factor:
            return None
        size //= factor
    size -= _LOSS
    for level, factor in reversed(list(enumerate(factors))):
        size = cropped_size(size * factor, math.prod(factors[level:])) - _LOSS
        if size < 1:
            return None
    size = size * upsampling - _LOSS
    return size if size > 0 else None


@lru_cache
def _smallest(factors: tuple[int, ...], upsampling: int) -> int:
    return next(size for size in count(1) if _output_size(size, factors, upsampling) is not None)


def valid_receptive_field(factors: tuple[int, ...], final_factor: int) -> int:
    """Return the width in voxels of the input that a voxel of the output sees.

    Examples
    --------
    >>> valid_receptive_field((2, 3, 3), final_factor=1)
    180
    """
    twice: list[Step] = [valid_convolution(3)] * 2
    steps = [*twice, upsampling(final_factor)]
    # How much is cropped does not depend on the size of the patch.
    size = _smallest(factors, final_factor)
    for factor in factors:
        size = (size - _LOSS) // factor
    size -= _LOSS
    way_up: list[Step] = []
    for level, factor in reversed(list(enumerate(factors))):
        cropped = cropped_size(size * factor, math.prod(factors[level:]))
        way_up = [*twice, upsampling(factor, crop=(size * factor - cropped) // 2), *way_up]
        size = cropped - _LOSS
    steps += [*way_up, *twice]
    for factor in reversed(factors):
        steps += [pooling(factor), *twice]
    return receptive_field(steps, period=final_factor * math.prod(factors))
