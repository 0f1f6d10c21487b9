"""Stages of the U-Nets that nnU-Net plans: numbers per resolution, sizes and field of view that follow from them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

from csc_models.errors import ModelArgumentError
from csc_models.specification import Arguments, SizeRule
from csc_models.specification.receptive_field import (
    Step,
    convolution,
    pooling,
    receptive_field,
    side_by_side,
    upsampling,
)

Axes = Any  # a tuple of two or three numbers; torch's annotations want to know of how many


class Stage(NamedTuple):
    """Numbers of one resolution."""

    features: int
    blocks: int
    decoder_blocks: int
    kernel: Axes
    stride: Axes


def _spread(value: int | tuple[Any, ...], count: int) -> tuple[Any, ...]:
    return (value,) * count if isinstance(value, int) else value


def spell_out(ndim: int, arguments: Arguments) -> list[Stage]:
    """Spell out the numbers of each resolution, from fine to coarse.

    Raises
    ------
    ModelArgumentError
        There are too many numbers or too few, an even kernel, or a stride at full resolution.

    Examples
    --------
    >>> arguments = {"features": (8, 16), "blocks": 2, "decoder_blocks": 1, "kernels": 3, "strides": 2}
    >>> spell_out(2, arguments)[1]
    Stage(features=16, blocks=2, decoder_blocks=0, kernel=(3, 3), stride=(2, 2))
    """
    features: tuple[int, ...] = arguments["features"]
    count, given = len(features), arguments["strides"]
    blocks = _spread(arguments["blocks"], count)
    decoder = _spread(arguments["decoder_blocks"], count - 1)
    kernels = [_spread(sizes, ndim) for sizes in _spread(arguments["kernels"], count)]
    strides = [_spread(sizes, ndim) for sizes in ((1, *[given] * (count - 1)) if isinstance(given, int) else given)]
    each = f"one for each of {count} stages"
    odd = all(size % 2 for kernel in kernels for size in kernel)
    axes = [len(sizes) == count and {len(size) for size in sizes} == {ndim} for sizes in (kernels, strides)]
    rules = (
        ("features", count > 1, "for at least two stages"),
        ("blocks", len(blocks) == count, each),
        ("decoder_blocks", len(decoder) == count - 1, f"{each} but the coarsest"),
        ("kernels", axes[0] and odd, f"odd, {each}, and one or {ndim} for each"),
        ("strides", axes[1] and max(strides[0]) == 1, f"1 for the first stage, {each}, and one or {ndim} for each"),
    )
    wrong = [f"{key}={arguments[key]} must be {words}" for key, right, words in rules if not right]
    if wrong:
        raise ModelArgumentError(f"a planned U-Net: {'; '.join(wrong)}")
    return [Stage(*row) for row in zip(features, blocks, (*decoder[::-1], 0), kernels, strides, strict=True)]


def _strides(stages: list[Stage]) -> list[int]:
    """Return by how much the coarsest stage is coarser than the input, along each axis."""
    return [math.prod(axis) for axis in zip(*[stage.stride for stage in stages], strict=True)]


def minimum(stages: list[Stage]) -> int:
    """Normalisation needs two voxels at the coarsest stage, along one axis at least.

    Examples
    --------
    >>> arguments = {"features": (8, 16, 32), "blocks": 2, "decoder_blocks": 1, "kernels": 3, "strides": 2}
    >>> minimum(spell_out(2, arguments))
    5
    """
    return min(_strides(stages)) + 1


def size_rule(ndim: int, arguments: Arguments) -> SizeRule:
    """Return which sizes the network takes; the same for all axes.

    Examples
    --------
    >>> arguments = {"features": (8, 16, 32), "blocks": 2, "decoder_blocks": 1, "kernels": 3, "strides": 2}
    >>> str(size_rule(2, arguments))
    'any size from 5; multiples of 4 are best'
    """
    stages = spell_out(ndim, arguments)
    return SizeRule(minimum=minimum(stages), efficient_multiple=math.lcm(*_strides(stages)))


def field_of_view(residual: bool, ndim: int, arguments: Arguments) -> int:
    """Return the width along the axis along which it is largest.

    Examples
    --------
    >>> arguments = {"features": (8, 16), "blocks": 1, "decoder_blocks": 1, "kernels": 3, "strides": 2}
    >>> field_of_view(False, 2, arguments) < field_of_view(False, 2, {**arguments, "blocks": 2})
    True
    """
    stages = spell_out(ndim, arguments)
    widths = []
    for axis, total in enumerate(_strides(stages)):
        stem = [convolution(stages[0].kernel[axis])] * residual
        path = _way_down(residual, stages[-1], axis)
        for stage, coarse in reversed(list(pairwise(stages))):
            decoder = [convolution(stage.kernel[axis])] * stage.decoder_blocks
            joined = side_by_side([], [upsampling(coarse.stride[axis]), *path])
            path = [*decoder, joined, *_way_down(residual, stage, axis)]
        widths.append(receptive_field([*path, *stem], period=total))
    return max(widths)


def _way_down(residual: bool, stage: Stage, axis: int) -> list[Step]:
    """Steps of a stage of the encoder, from its output to the features of the finer one."""
    kernel, stride = stage.kernel[axis], stage.stride[axis]
    strided = convolution(kernel, stride)
    if not residual:
        return [*[convolution(kernel)] * (stage.blocks - 1), strided]
    first = side_by_side([convolution(kernel), strided], [pooling(stride)])
    return [*[convolution(kernel)] * (2 * stage.blocks - 2), first]
