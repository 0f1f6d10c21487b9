"""The official resampling, box by box: what ``skimage.transform.rescale`` gives for the volume at once, bit for bit.

``rescale(image, scale, mode="constant", preserve_range=True)`` with order 0 or 1 filters with a Gaussian of
sigma = max(0, (n_in / n_out - 1) / 2) where it shrinks (not bool or integers with order 0), interpolates at
(o + 0.5) * n_in / n_out - 0.5 with zeros outside, and clips to the range of the input.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_eval._native import call
from csc_eval.voxels.arrays import Array, Shape, VoxelSource

TRUNCATE = 4.0
"""Where scipy's Gaussian ends, in sigmas."""

SEMANTIC_THRESHOLD = 0.5

LONGEST_AXIS = 2**31

TILE = 128
"""Edge of the boxes of the source that are held in memory at once, in voxels, without their halo."""


def resampled_shape(shape: Sequence[int], scale: Sequence[float]) -> Shape:
    """Return max(1, round(n * scale)) per axis, halves to even.

    Raises
    ------
    InvalidArgumentError
        If an axis would get more voxels than any volume has.

    Examples
    --------
    >>> resampled_shape((5, 10, 1), (0.5, 0.5, 0.25))
    (2, 5, 1)
    """
    sizes = [float(n) * float(factor) for n, factor in zip(shape, scale, strict=True)]
    if not all(size < LONGEST_AXIS for size in sizes):
        raise InvalidArgumentError(
            f"resampled to the crop's voxel size, {tuple(shape)} voxels would become {sizes}: its voxel size is wrong"
        )
    z, y, x = (max(1, round(size)) for size in sizes)
    return z, y, x


class Resampled:
    """A view of a volume at another voxel size, with nearest or linear interpolation.

    Parameters
    ----------
    source : VoxelSource
        The volume.
    scale : sequence of float
        Voxel size of the source over that of the view, per axis.
    order : {0, 1}
        0: nearest, values keep their dtype. 1: linear, values are floats.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> view = Resampled(MemoryArray(np.array([[[1, 2]]])), (1, 1, 2), order=0)
    >>> view.read((0, 0, 0), (1, 1, 4)).tolist()
    [[[1, 1, 2, 2]]]
    """

    def __init__(self, source: VoxelSource, scale: Sequence[float], order: Literal[0, 1]) -> None:
        self.source = source
        self.interpolation = order
        self.shape = resampled_shape(source.shape, scale)
        self.order: Literal["C", "F"] = "C"
        self.dtype: np.dtype[Any] = source.dtype if order == 0 else _working_dtype(source.dtype)
        self._factor = [n_in / n_out for n_in, n_out in zip(source.shape, self.shape, strict=True)]
        shrinks = any(n_out < n_in for n_in, n_out in zip(source.shape, self.shape, strict=True))
        blurs = order == 1 or source.dtype.kind == "f"
        self._sigma = [max(0.0, (factor - 1) / 2) if shrinks and blurs else 0.0 for factor in self._factor]
        self._range: tuple[float, float] | None = None
        z, y, x = (max(1, int(chunk / factor)) for chunk, factor in zip(source.chunks, self._factor, strict=True))
        self.chunks: Shape = (min(z, 64), y, x)

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box of the view, worked out tile by tile."""
        if self.shape == self.source.shape and not any(self._sigma):
            return self.source.read(begin, end).astype(self.dtype, copy=False)
        out = np.zeros([e - b for b, e in zip(begin, end, strict=True)], self.dtype)
        steps = [max(1, min(TILE, int(TILE / factor))) for factor in self._factor]
        edges = [range(b, e, step) for b, e, step in zip(begin, end, steps, strict=True)]
        for low in itertools.product(*edges):
            high = [min(b + step, e) for b, step, e in zip(low, steps, end, strict=True)]
            tile = self._read_tile(low, high)
            if tile is not None:
                out[tuple(slice(b - o, e - o) for b, e, o in zip(low, high, begin, strict=True))] = tile
        return out

    def _read_tile(self, begin: Sequence[int], end: Sequence[int]) -> Array | None:
        """One tile; None where it is all zeros."""
        axes = [
            _nearest(b, e, factor, n) if self.interpolation == 0 else _linear(b, e, factor)
            for b, e, factor, n in zip(begin, end, self._factor, self.source.shape, strict=True)
        ]
        low = [max(0, int(index.min())) for index, _ in axes]
        reach = 1 if self.interpolation == 0 else 2
        high = [min(n, int(index.max()) + reach) for (index, _), n in zip(axes, self.source.shape, strict=True)]
        shifted = [(index - offset, weights) for (index, weights), offset in zip(axes, low, strict=True)]
        if self.interpolation == 0 and not any(self._sigma):
            return _pick(self.source.read(low, high), [index for index, _ in shifted])
        values = self._filtered(low, high)
        if values is None:
            return None
        if self.interpolation == 0:
            picked = _pick(values, [index for index, _ in shifted])
            return self._clipped(picked).astype(self.dtype, copy=False)
        out = np.empty([e - b for b, e in zip(begin, end, strict=True)], self.dtype)
        kernel = f"interpolate_f{self.dtype.itemsize}"
        shape_in, shape_out = np.array(values.shape, np.int64), np.array(out.shape, np.int64)
        indices, weights = [index for index, _ in shifted], [pair for _, pair in shifted]
        lines = np.empty(4 * (values.shape[2] + 2))
        call(kernel, np.ascontiguousarray(values), shape_in, shape_out, *indices, *weights, out, lines)
        return self._clipped(out)

    def _filtered(self, low: list[int], high: list[int]) -> Array | None:
        halo = [_radius(sigma) for sigma in self._sigma]
        begin = [max(0, b - h) for b, h in zip(low, halo, strict=True)]
        end = [min(n, e + h) for e, h, n in zip(high, halo, self.source.shape, strict=True)]
        stored = self.source.read(begin, end)
        if not stored.any():
            return None
        blurred = any(self._sigma)
        image = stored if blurred and stored.dtype == bool else stored.astype(self._image_dtype, copy=False)
        if not blurred:
            return image
        wanted = [(b - o, e - o) for b, e, o in zip(low, high, begin, strict=True)]
        return blur(image, self._sigma, wanted)

    @property
    def _image_dtype(self) -> np.dtype[Any]:
        half = self.source.dtype == np.float16
        return np.dtype(np.float32) if half else (self.dtype if self.interpolation else self.source.dtype)

    def _clipped(self, values: Array) -> Array:
        low, high = self._input_range()
        # Zero lies outside the range only where the input has no zero; it then stays where it was filled in.
        if np.isnan(low) or low <= 0 <= high:
            return values
        with np.errstate(invalid="ignore"):
            clipped: Array = np.clip(values, values.dtype.type(low), values.dtype.type(high))
        return clipped

    def _input_range(self) -> tuple[float, float]:
        if self._range is None:
            low, high = np.inf, -np.inf
            # Whole chunks, and not whole planes of them: those of a large volume are hundreds of megabytes.
            steps = [chunk * -(-TILE // chunk) for chunk in self.source.chunks]
            edges = [range(0, n, step) for n, step in zip(self.source.shape, steps, strict=True)]
            for begin in itertools.product(*edges):
                end = [min(b + step, n) for b, step, n in zip(begin, steps, self.source.shape, strict=True)]
                box = self.source.read(begin, end)
                low = min(low, float(np.fmin.reduce(box, axis=None)))
                high = max(high, float(np.fmax.reduce(box, axis=None)))
                if low <= 0 <= high:
                    break
            self._range = (low, high)
        return self._range


def blur(image: Array, sigma: Sequence[float], wanted: Sequence[tuple[int, int]] | None = None) -> Array:
    """Filter values with a Gaussian as ``scipy.ndimage.gaussian_filter(mode="grid-constant")`` does, bit for bit.

    Parameters
    ----------
    image : bool, float32 or float64 array, (z, y, x)
        Zeros lie around it. Bool is filtered as float32.
    sigma : sequence of float
        Per axis, in voxels; 0 leaves the axis alone.
    wanted : sequence of (int, int), optional
        Per axis the range of voxels to return; by default all.

    Examples
    --------
    >>> blur(np.array([[[0.0, 1.0, 0.0]]]), (0, 0, 1)).round(2).tolist()
    [[[0.24, 0.4, 0.24]]]
    """
    values = np.ascontiguousarray(image)
    shape, ranges = values.shape, wanted or [(0, n) for n in values.shape]
    first, count = np.array([[begin, end - begin] for begin, end in ranges], np.int64).T.copy()
    halves = [_half_kernel(width) for width in sigma]
    radius = np.array([len(half) - 1 for half in halves], np.int64)
    out = np.empty(count, np.float64 if values.dtype == np.float64 else np.float32)
    planes = np.empty((shape[1] + 1) * shape[2], out.dtype)
    zeros = np.zeros(3 * shape[2] + 2 * int(radius[2]))
    kernel = "blur_u1" if values.dtype == bool else f"blur_f{values.dtype.itemsize}"
    call(kernel, values, out, np.array(shape, np.int64), first, count, np.concatenate(halves), radius, planes, zeros)
    return out


def _half_kernel(sigma: float) -> Array:
    """Return the weights of a Gaussian from its centre outwards."""
    if sigma <= 1e-15:
        return np.ones(1)
    radius = _radius(sigma)
    # What lies farther away than an axis is long is outside, and adds nothing; but the weights' sum has it.
    weights = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    half: Array = (weights / weights.sum())[radius:]
    return half


def _radius(sigma: float) -> int:
    return int(TRUNCATE * sigma + 0.5)


def _working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that scikit-image interpolates in: bool and float32 in float32, the rest in float64."""
    return np.dtype(np.float32) if dtype.kind == "b" or dtype in (np.float32, np.float16) else np.dtype(np.float64)


def _nearest(begin: int, end: int, factor: float, n: int) -> tuple[npt.NDArray[np.int64], Array]:
    outputs = np.arange(begin, end, dtype=np.float64)
    index = np.floor(factor * (outputs + 0.5)).astype(np.int64)
    return np.clip(index, 0, n - 1), outputs


def _pick(values: Array, indices: Sequence[npt.NDArray[np.int64]]) -> Array:
    """Return the voxels at these indices along each axis; even steps are a view."""
    steps = [int(index[1] - index[0]) if len(index) > 1 else 1 for index in indices]
    even = [step > 0 and bool((np.diff(index) == step).all()) for index, step in zip(indices, steps, strict=True)]
    if not all(even):
        return np.ascontiguousarray(values[np.ix_(*indices)])
    slices = (slice(int(index[0]), int(index[-1]) + 1, step) for index, step in zip(indices, steps, strict=True))
    return values[tuple(slices)]


def _linear(begin: int, end: int, factor: float) -> tuple[npt.NDArray[np.int64], Array]:
    position = (np.arange(begin, end, dtype=np.float64) + 0.5) * factor - 0.5
    floor = np.floor(position)
    first = 1.0 - (position - floor)
    weights = np.ascontiguousarray(np.stack([first, 1.0 - first], axis=1))
    return floor.astype(np.int64), weights


class Thresholded:
    """A view that is true where a volume's values exceed, or reach, a threshold; NaN is false.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> values = MemoryArray(np.array([[[0.2, 0.5, np.nan]]]))
    >>> Thresholded(values, 0.5, inclusive=True).read((0, 0, 0), (1, 1, 3)).tolist()
    [[[False, True, False]]]
    """

    def __init__(self, source: VoxelSource, threshold: float, *, inclusive: bool = False) -> None:
        self.source = source
        self.threshold = threshold
        self.inclusive = inclusive
        self.shape = source.shape
        self.chunks = source.chunks
        self.order = source.order
        self.dtype: np.dtype[Any] = np.dtype(np.bool_)

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box."""
        values = self.source.read(begin, end)
        result: Array = values >= self.threshold if self.inclusive else values > self.threshold
        return result


class Cleaned:
    """A view of floats in which NaN is 0 and values are divided by what stands for one.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> values = MemoryArray(np.array([[[51.0, 255.0, np.nan]]]))
    >>> Cleaned(values, 255.0).read((0, 0, 0), (1, 1, 3)).round(2).tolist()
    [[[0.2, 1.0, 0.0]]]
    """

    def __init__(self, source: VoxelSource, one: float) -> None:
        self.source = source
        self.one = one
        self.shape = source.shape
        self.chunks = source.chunks
        self.order = source.order
        self.dtype: np.dtype[Any] = np.dtype(np.float64 if source.dtype.itemsize > 4 else np.float32)

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box."""
        values = np.nan_to_num(self.source.read(begin, end).astype(self.dtype), nan=0.0, posinf=self.one, neginf=0.0)
        cleaned: Array = values / self.dtype.type(self.one)
        return cleaned
