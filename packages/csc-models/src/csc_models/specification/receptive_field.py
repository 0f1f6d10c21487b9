"""Receptive fields by interval arithmetic.

A network's deepest path is a list of steps from the output back to the input; each step maps the interval of voxels
that are needed after a layer to the interval that is needed before it. Skip connections see less than the deepest
path and do not matter, unless a stride leaves voxels out: `side_by_side` is for these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

Step = Callable[[int, int], tuple[int, int]]
"""Maps the first and the last needed output voxel of a layer to the first and last of its input."""


def convolution(kernel: int, stride: int = 1) -> Step:
    """Convolution of odd kernel size, centred; with a stride, voxel i of its output sits at voxel stride * i.

    Examples
    --------
    >>> convolution(3)(0, 0), convolution(3, stride=2)(0, 1)
    ((-1, 1), (-1, 3))
    """
    half = kernel // 2
    return lambda first, last: (stride * first - half, stride * last + half)


def valid_convolution(kernel: int) -> Step:
    """Convolution without padding: its output begins where its first window does.

    Examples
    --------
    >>> valid_convolution(3)(0, 0)
    (0, 2)
    """
    return lambda first, last: (first, last + kernel - 1)


def pooling(factor: int) -> Step:
    """Pooling of windows that do not overlap.

    Examples
    --------
    >>> pooling(2)(0, 1)
    (0, 3)
    """
    return lambda first, last: (factor * first, factor * last + factor - 1)


def upsampling(factor: int, crop: int = 0) -> Step:
    """Transposed convolution with kernel = stride = factor, or repetition of voxels; then so many are cut in front.

    Examples
    --------
    >>> upsampling(2)(0, 3)
    (0, 1)
    """
    return lambda first, last: ((first + crop) // factor, (last + crop) // factor)


def linear_upsampling() -> Step:
    """Linear interpolation to twice the size: up to two neighbours per voxel, wherever the corners are aligned.

    Examples
    --------
    >>> linear_upsampling()(2, 3)
    (0, 2)
    """
    return lambda first, last: ((first - 1) // 2, (last + 1) // 2)


def strided_transposition() -> Step:
    """Transposed convolution with kernel 3, stride 2, padding 1 and output padding 1.

    Examples
    --------
    >>> strided_transposition()(0, 3)
    (0, 2)
    """
    return lambda first, last: (first // 2, (last + 1) // 2)


def side_by_side(*paths: Sequence[Step]) -> Step:
    """Paths whose results are added or joined; one without steps is a skip connection.

    Examples
    --------
    >>> side_by_side([], [convolution(3), convolution(3)])(0, 0)
    (-2, 2)
    """

    def step(first: int, last: int) -> tuple[int, int]:
        intervals = [_through(path, first, last) for path in paths]
        return min(first for first, _ in intervals), max(last for _, last in intervals)

    return step


def _through(path: Iterable[Step], first: int, last: int) -> tuple[int, int]:
    for step in path:
        first, last = step(first, last)
    return first, last


def receptive_field(steps: Iterable[Step], period: int) -> int:
    """Width of the region that an output voxel sees.

    Parameters
    ----------
    steps : iterable of Step
        The deepest path, from the output to the input.
    period : int
        The product of all strides; the field depends on the position modulo this.

    Returns
    -------
    int
        Voxels along one axis, for the position that sees the most.

    Examples
    --------
    >>> receptive_field([convolution(3), convolution(3)], period=1)
    5
    >>> receptive_field([convolution(3), upsampling(2), pooling(2), convolution(3)], period=2)
    6
    """
    path: Sequence[Step] = tuple(steps)
    intervals = [_through(path, position, position) for position in range(period)]
    return max(last - first + 1 for first, last in intervals)
