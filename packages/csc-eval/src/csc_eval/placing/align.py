"""A prediction on the grid of the crop that it is scored in."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from csc_data.challenge import get_instance_classes
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Triple, as_triple
from csc_data.storage.stores.places import FolderStore
from csc_eval.placing.placed import Placed
from csc_eval.placing.predictions import CropGrid, Prediction, open_prediction
from csc_eval.rules import LEADERBOARD, Rules, get_rules
from csc_eval.voxels.arrays import Array, MemoryArray, Shape, VoxelSource, as_volume
from csc_eval.voxels.runs import slab_thickness

LARGE_SOURCE = 500 * 1024**2
"""Bytes, at four a voxel, from which the portal treats a source differently."""

BYTES_PER_VOXEL = 4


def is_instance_class(class_name: str, instance_classes: Iterable[str] | None = None) -> bool:
    """Tell whether a class is scored as instances; by default as the challenge has it.

    Examples
    --------
    >>> is_instance_class("mito"), is_instance_class("er"), is_instance_class("synapse", ["synapse"])
    (True, False, True)
    """
    if instance_classes is None:
        return class_name == "instance" or class_name in get_instance_classes()
    return class_name in set(instance_classes)


def is_aligned_as_instances(class_name: str, *, instance: bool, rules: Rules) -> bool:
    """Tell whether a class is aligned as instances; ``instance``: whether it is scored so.

    The portal aligns by its own list, whichever classes it was told to score as instances.
    """
    return is_instance_class(class_name) if rules.alignment == "challenge" else instance


def floor_offset(translation: Sequence[float], crop: CropGrid) -> Shape:
    """Return the offset in voxels as the leaderboard takes it: (|a - t| // v) * sign(a - t), a = (source // v) * v.

    Both floor divisions are NumPy's in float64, which for many multiples of a voxel size such as 1.74 nm is one less
    than the quotient.

    Examples
    --------
    >>> crop = CropGrid(voxel_size=(8.0, 8.0, 8.0), translation=(100.0, 0.0, 0.0), shape=(10, 10, 10))
    >>> floor_offset((132.0, 0.0, 0.0), crop)
    (3, 0, 0)
    """
    v, t = np.asarray(crop.voxel_size, float), np.asarray(crop.translation, float)
    snapped = (np.asarray(translation, float) // v) * v
    return _as_offset((np.abs(snapped - t) // v) * np.sign(snapped - t))


def nearest_offset(translation: Sequence[float], crop: CropGrid) -> Shape:
    """Return the offset to the nearest voxel; half a voxel rounds towards the first.

    >>> nearest_offset((12.0, 13.0, -3.0), CropGrid(voxel_size=(8, 8, 8), translation=(8, 0, 0), shape=(4, 4, 4)))
    (0, 2, 0)
    """
    v, t = np.asarray(crop.voxel_size, float), np.asarray(crop.translation, float)
    return _as_offset(np.ceil(np.round((np.asarray(translation, float) - t) / v, 9) - 0.5))


def _as_offset(values: Array) -> Shape:
    z, y, x = (int(value) for value in np.clip(values, -(2**40), 2**40))
    return z, y, x


def align(prediction: Prediction, crop: CropGrid, *, instance: bool, rules: str | Rules = LEADERBOARD) -> VoxelSource:
    """Return a view of a prediction on a crop's grid; nothing is read yet.

    Parameters
    ----------
    prediction : Prediction
    crop : CropGrid
    instance : bool
        Whether it is aligned as instances, see `is_aligned_as_instances`.
    rules : str or Rules

    Raises
    ------
    InvalidArgumentError
        If it is so much larger than the crop that it is refused.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> crop = CropGrid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=(1, 1, 4))
    >>> voxels = MemoryArray(np.array([[[7, 7]]], np.uint8))
    >>> stored = Prediction(voxels=voxels, voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 16.0))
    >>> align(stored, crop, instance=True).read((0, 0, 0), (1, 1, 4)).tolist()
    [[[0, 0, 7, 7]]]
    >>> is_resampled(stored, crop)
    False
    """
    rules = get_rules(rules)
    source = prediction.voxels
    _check_ratio(source.shape, crop.shape, rules)
    scale, centred = _scale_of(prediction, crop)
    if scale is not None or (not instance and rules.threshold == "half"):
        source = _sampled(source, scale, rules, instance=instance)
    if centred:
        source = _centred(source, crop.shape)
    return _placed(source, prediction, crop, rules)


def _sampled(source: VoxelSource, scale: Triple | None, rules: Rules, *, instance: bool) -> VoxelSource:
    """Return a view of a volume at the crop's voxel size, a semantic one with its threshold."""
    # What lies on the crop's grid does not wait for these.
    from csc_eval.placing.cubes import ResampledCubes
    from csc_eval.placing.resample import SEMANTIC_THRESHOLD, Resampled, Thresholded

    semantic_half = not instance and rules.threshold == "half"
    if semantic_half:
        source = _range_of_one(source)
    if scale is not None:
        in_cubes = rules.seams and is_large(source.shape)
        source = (ResampledCubes if in_cubes else Resampled)(source, scale, 0 if instance else 1)
        if not instance:
            tolerance = 1e-6 if semantic_half else 0.0
            source = Thresholded(source, SEMANTIC_THRESHOLD - tolerance, inclusive=semantic_half)
    elif semantic_half and source.dtype.kind == "f":
        source = Thresholded(source, SEMANTIC_THRESHOLD, inclusive=True)
    return source


def align_probabilities(
    prediction: Prediction, crop: CropGrid, *, above: float, rules: str | Rules = LEADERBOARD
) -> VoxelSource:
    """Return a view of where a prediction's values, resampled to a crop's grid first, exceed one; nothing is read yet.

    Parameters
    ----------
    prediction : Prediction
        Of floats that are 0 where nothing is, and know their voxel size.
    crop : CropGrid
        The grid to be on.
    above : float
        The value to exceed.
    rules : str or Rules
        Whose offsets hold.

    Raises
    ------
    InvalidArgumentError
        If it is so much larger than the crop that it is refused.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> crop = CropGrid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=(1, 1, 3))
    >>> voxels = MemoryArray(np.array([[[0.2, 0.6, 0.9]]], np.float32))
    >>> stored = Prediction(voxels=voxels, voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0))
    >>> align_probabilities(stored, crop, above=0.5).read((0, 0, 0), (1, 1, 3)).tolist()
    [[[False, True, True]]]
    """
    from csc_eval.placing.resample import Thresholded

    return Thresholded(align_values(prediction, crop, rules=rules), above)


def align_values(prediction: Prediction, crop: CropGrid, *, rules: str | Rules = LEADERBOARD) -> VoxelSource:
    """Return a view of a prediction's floats on a crop's grid, minus infinity where it has none; nothing is read yet.

    What exceeds a value there is what `align_probabilities` shows for it: all thresholds come from one reading.

    Raises
    ------
    InvalidArgumentError
        If it is so much larger than the crop that it is refused.
    """
    rules = get_rules(rules)
    source = prediction.voxels
    _check_ratio(source.shape, crop.shape, rules)
    scale, _ = _scale_of(prediction, crop)
    if scale is not None:
        from csc_eval.placing.resample import Resampled

        source = Resampled(source, scale, 1)
    return _placed(source, prediction, crop, rules, around=-math.inf)


def _placed(
    source: VoxelSource, prediction: Prediction, crop: CropGrid, rules: Rules, around: float = 0
) -> VoxelSource:
    """Shift a view that has the crop's voxel size to where it lies in the crop."""
    offset = (0, 0, 0)
    if prediction.translation is not None:
        offset_of = floor_offset if rules.offset == "floor" else nearest_offset
        offset = offset_of(prediction.translation, crop)
    if offset == (0, 0, 0) and source.shape == crop.shape:
        return source
    return Placed(source, offset, crop.shape, around=around)


def is_resampled(prediction: Prediction, crop: CropGrid) -> bool:
    """Tell whether aligning the prediction resamples it.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> crop = CropGrid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=(1, 1, 4))
    >>> voxels = MemoryArray(np.array([[[7, 7]]], np.uint8))
    >>> is_resampled(Prediction(voxels=voxels, voxel_size=(8.0, 8.0, 16.0), translation=(0.0, 0.0, 4.0)), crop)
    True
    """
    return _scale_of(prediction, crop)[0] is not None


def _scale_of(prediction: Prediction, crop: CropGrid) -> tuple[Triple | None, bool]:
    """The factors of resampling (None: none), and whether the rest is padded or cropped around its centre."""
    shape = prediction.voxels.shape
    if prediction.voxel_size is not None:
        if np.allclose(prediction.voxel_size, crop.voxel_size):
            return None, False
        z, y, x = (s / v for s, v in zip(prediction.voxel_size, crop.voxel_size, strict=True))
        return (z, y, x), False
    if shape == crop.shape:
        return None, False
    ratios = [n / s for n, s in zip(shape, crop.shape, strict=True)]
    if is_large(shape) and min(ratios) >= 1 and not np.allclose(ratios, 1):
        z, y, x = (1.0 / ratio for ratio in ratios)  # not s / n, which may differ in the last bit
        return (z, y, x), False
    return None, True


def is_large(shape: Sequence[int]) -> bool:
    """Tell whether the portal would not read a source of that shape at once.

    Examples
    --------
    >>> is_large((400, 400, 400)), is_large((4000, 4000, 4000))
    (False, True)
    """
    return math.prod(shape) * BYTES_PER_VOXEL > LARGE_SOURCE


def _check_ratio(shape: Shape, target: Shape, rules: Rules) -> None:
    ratio = math.prod(shape) / math.prod(target)
    if ratio > rules.max_volume_ratio:
        raise InvalidArgumentError(
            f"the prediction has {shape} voxels for a crop of {target}, {ratio:.0f} times as many; at most "
            f"{rules.max_volume_ratio:.0f} times are read: store it at a voxel size nearer to the crop's"
        )


def _range_of_one(source: VoxelSource) -> VoxelSource:
    """Integers become 0 and 1; floats are divided by what stands for one in them: 1, or their largest value."""
    from csc_eval.placing.resample import Cleaned, Thresholded

    if source.dtype.kind != "f":
        return Thresholded(source, 0)
    largest = 1.0
    step = slab_thickness(source)
    for z in range(0, source.shape[0], step):
        slab = source.read((z, 0, 0), (min(z + step, source.shape[0]), *source.shape[1:]))
        finite = slab[np.isfinite(slab)]
        largest = max(largest, float(finite.max(initial=0)))
    return Cleaned(source, largest)


def _centred(source: VoxelSource, shape: Shape) -> VoxelSource:
    if source.shape == shape:
        return source
    offset = [(s - n) // 2 if n < s else -((n - s) // 2) for n, s in zip(source.shape, shape, strict=True)]
    # numpy.pad keeps Fortran order, and so does cropping the last axis.
    keeps = source.order == "F" and source.shape[0] <= shape[0] and source.shape[1] <= shape[1]
    return Placed(source, offset, shape, "F" if keeps else "C")


def match_crop_space(
    path: str | os.PathLike[str] | Array,
    class_name: str,
    voxel_size: Sequence[float],
    shape: Sequence[int],
    translation: Sequence[float],
    *,
    instance_classes: Iterable[str] | None = None,
    rules: str | Rules = LEADERBOARD,
) -> Array:
    """Read a prediction as a volume on a crop's grid.

    Parameters
    ----------
    path : path-like
        A zarr array, an OME-NGFF group, or a plain group of arrays.
    class_name : str
        Decides whether it is resampled as instances (nearest) or as a semantic mask (linear, then > 0.5).
    voxel_size, translation : sequence of float
        The crop's, nm, z, y, x.
    shape : sequence of int
        The crop's voxels.
    instance_classes : iterable of str, optional
        Names of the instance classes; those of the challenge by default.
    rules : str or Rules
        Whose offsets and thresholds hold.

    Returns
    -------
    array
        Of the crop's shape.

    Raises
    ------
    UnreadableDataError
        If there is no readable prediction.
    InvalidArgumentError
        If it is too large for the crop.

    Examples
    --------
    >>> from csc_eval import match_crop_space
    >>> small = np.array([[[0, 1]]], np.uint8)  # it does not say where it lies: in the middle
    >>> match_crop_space(small, "er", voxel_size=(8, 8, 8), shape=(1, 1, 4), translation=(0, 0, 0)).tolist()
    [[[0, 0, 1, 0]]]
    """
    z, y, x = map(int, shape)
    crop = CropGrid(
        voxel_size=as_triple(voxel_size, "voxel_size"),
        translation=as_triple(translation, "translation"),
        shape=(z, y, x),
    )
    if isinstance(path, np.ndarray):
        voxels = MemoryArray(as_volume(path, "the prediction"))
        prediction = Prediction(voxels=voxels, voxel_size=None, translation=None)
    else:
        folder = Path(path).absolute()
        prediction = open_prediction(FolderStore(folder.parent), folder.name, crop, geometry=get_rules(rules).geometry)
    instance = is_instance_class(class_name, instance_classes)
    aligned = align(prediction, crop, instance=instance, rules=rules)
    values = aligned.read((0, 0, 0), crop.shape)
    return np.asfortranarray(values) if aligned.order == "F" else values
