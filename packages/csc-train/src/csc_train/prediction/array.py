"""`predict_array`: prediction of an array in memory, or of anything that is read by slices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
from torch import nn

from csc_data.blocks import BlockGrid
from csc_data.errors import InvalidArgumentError, did_you_mean
from csc_data.geometry import Grid, as_triple
from csc_data.volumes import Level, Volume
from csc_train.overrides import PredictOverrides
from csc_train.prediction.blocks import BlockJob
from csc_train.prediction.planning.choice import hindrance
from csc_train.prediction.planning.raw_values import odd_floats
from csc_train.prediction.predictor import Predictor, load_predictor, predictor_of
from csc_train.prediction.source import NetworkSource
from csc_train.prediction.window.tiling import windows_of
from csc_train.settings import TrainSettings

logger = logging.getLogger(__name__)


def predict_array(
    network: nn.Module | str | PathLike[str] | TrainSettings | Predictor,
    array: Any,
    *,
    voxel_size: Sequence[float] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **overrides: Unpack[PredictOverrides],
) -> npt.NDArray[Any]:
    """Predict an array.

    Parameters
    ----------
    network : torch.nn.Module, path-like, TrainSettings or Predictor
        A checkpoint file, an experiment, the name of published weights, or a network of your own. For that give
        ``patch_shape``, and ``raw_range`` if it is not to see integers as 0 to 1; it is taken to give logits as large
        as its input, and goes to ``device`` if you name one.
    array : array-like
        Shape (z, y, x): a numpy array or memmap, or what is read by slices and has a shape and a dtype, such as arrays
        of zarr and Dask. Integers are scaled from the range of their type, floats are taken to lie in 0 to 1.
    voxel_size : sequence of float, optional
        nm, z, y, x; by default that of the network's input. Another one is interpolated as in training.
    progress : callable, optional
        Called with the number of finished planes, and that of all.
    **overrides : object
        Settings of `PredictSettings`, such as ``overlap``, ``tta``, ``output="logit"``, ``classes_to_write``.

    Returns
    -------
    ndarray
        Shape (C, z, y, x), float32 if ``output_dtype`` does not say otherwise: all that the network gives, classes and
        what lies beside them, in its order, or what ``classes_to_write`` names. Voxels are those of the network's
        targets; the first begins where the array does.

    Raises
    ------
    InvalidArgumentError
        If array, voxel size and network do not go together.
    CscError, csc_models.ModelError
        If settings or checkpoint cannot be used, or the network gives NaN or infinity.

    Examples
    --------
    >>> import torch
    >>> raw = np.full((5, 6, 7), 255, dtype=np.uint8)
    >>> predict_array(torch.nn.Conv3d(1, 2, 1), raw, patch_shape=(4, 4, 4), device="cpu").shape
    (2, 5, 6, 7)
    """
    overrides.setdefault("output_dtype", "float32")
    if isinstance(network, nn.Module):
        training = network.training
        try:
            return _predict(predictor_of(network, voxel_size, overrides), array, voxel_size, progress)
        finally:
            network.train(training)
    predictor = network if isinstance(network, Predictor) else load_predictor(network, **overrides)
    return _predict(predictor, array, voxel_size, progress)


def _predict(
    predictor: Predictor,
    array: Any,
    voxel_size: Sequence[float] | None,
    progress: Callable[[int, int], None] | None,
) -> npt.NDArray[Any]:
    settings = predictor.settings
    names = settings.classes_to_write or predictor.arrays
    for name in names:
        if name not in predictor.arrays:
            raise InvalidArgumentError(f"the network has no class {name}: {did_you_mean(name, predictor.arrays)}")
        if why := hindrance(name, predictor):
            raise InvalidArgumentError(f"{name} cannot be predicted: {why}, or name others as classes_to_write")
    windows = windows_of(predictor.patch, settings)
    raw = _as_volume(array, as_triple(voxel_size or windows.patch.input.scale, "voxel_size"))
    bounds = raw.levels[0].grid.bounds
    if odd := odd_floats(raw, bounds, windows.patch.input):
        logger.warning("%s", odd)
    grid = Grid.covering(bounds, windows.patch.target.scale)
    source = NetworkSource(given=predictor)
    job = BlockJob(
        source=source,
        name="the array",
        raw=raw,
        stored=bounds,
        windows=windows,
        grid=grid,
        output=grid,
        classes=names or None,
    )
    # One block: nothing is computed twice, and what is kept beside the result is a slab of it.
    (block,) = BlockGrid(shape=grid.shape, block_shape=grid.shape)
    out: npt.NDArray[Any] | None = None
    done = 0
    try:
        for planes in job.finished(block):
            if out is None:
                out = np.empty((len(planes), *grid.shape), dtype=planes.dtype)
            out[:, done : done + planes.shape[1]] = planes
            done += planes.shape[1]
            if progress is not None:
                progress(done, grid.shape[0])
    finally:
        source.release()
    assert out is not None
    return out


class _NativeSlices:
    """Reads slices of an array as native numpy arrays of a type that compiled loops know."""

    def __init__(self, array: Any) -> None:
        self._array = array
        stored = np.dtype(array.dtype)
        self.dtype = np.dtype(np.float32) if stored == np.float16 else stored.newbyteorder("=")
        self.shape = tuple(array.shape)

    def __getitem__(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        return np.asarray(self._array[box]).astype(self.dtype, copy=False)


def _as_volume(array: Any, voxel_size: tuple[float, float, float]) -> Volume:
    try:
        shape, dtype = tuple(map(int, array.shape)), np.dtype(array.dtype)
    except (AttributeError, TypeError) as error:
        raise InvalidArgumentError(f"an array with a shape and a dtype is needed, got {type(array)}") from error
    if len(shape) != 3 or min(shape) < 1 or dtype.kind not in "uif":
        raise InvalidArgumentError(f"a non-empty array of numbers (z, y, x) is needed, got {dtype} {shape}")
    grid = Grid(voxel_size=voxel_size, translation=[v / 2 for v in voxel_size], shape=shape)
    return Volume(path="the array", levels=(Level(name="array", grid=grid, array=_NativeSlices(array)),), attributes={})
