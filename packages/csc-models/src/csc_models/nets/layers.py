"""Layers for two and three spatial axes, so that each network is written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from csc_models.errors import InputShapeError, InputTypeError, ModelArgumentError
from csc_models.specification import SizeRule

NormName = Literal["group", "instance", "batch"]

CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
MAX_POOL: dict[int, type[nn.MaxPool2d] | type[nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE_POOL: dict[int, type[nn.AvgPool2d] | type[nn.AvgPool3d]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
BATCH_NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM: dict[int, type[nn.InstanceNorm2d] | type[nn.InstanceNorm3d]] = {
    2: nn.InstanceNorm2d,
    3: nn.InstanceNorm3d,
}
DROPOUT: dict[int, type[nn.Dropout2d] | type[nn.Dropout3d]] = {2: nn.Dropout2d, 3: nn.Dropout3d}
LINEAR_MODE = {2: "bilinear", 3: "trilinear"}
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
AXES = {2: "y, x", 3: "z, y, x"}


def normalisation(name: NormName, ndim: int, channels: int) -> nn.Module:
    """Normalisation with learned scale and offset; "group" uses the largest of 4, 3, 2, 1 groups that divides.

    Examples
    --------
    >>> normalisation("group", ndim=3, channels=6).num_groups
    3
    """
    if name == "batch":
        return BATCH_NORM[ndim](channels)
    if name == "instance":
        return INSTANCE_NORM[ndim](channels, affine=True)
    groups = next(count for count in (4, 3, 2, 1) if channels % count == 0)
    return nn.GroupNorm(groups, channels)


def check_least(model: str, least: int = 1, **values: int) -> None:
    """Raise `ModelArgumentError` for numbers that are smaller than `least`.

    Examples
    --------
    >>> check_least("2d_unet_s", width=4)
    >>> check_least("2d_unet_s", width=0)
    Traceback (most recent call last):
        ...
    csc_models.errors.ModelArgumentError: 2d_unet_s: width=0: must be at least 1
    """
    wrong = [f"{name}={value}" for name, value in values.items() if value < least]
    if wrong:
        raise ModelArgumentError(f"{model}: {', '.join(wrong)}: must be at least {least}")


def check_input(model: str, x: Tensor, ndim: int, channels: int, minimum: int) -> None:
    """Check that x is (B, channels, [z,] y, x), floating-point, with at least `minimum` voxels per axis.

    Raises
    ------
    InputTypeError, InputShapeError

    Examples
    --------
    >>> import torch
    >>> try:
    ...     check_input("3d_unet_s", torch.zeros(1, 16, 16, 16), ndim=3, channels=1, minimum=8)
    ... except InputShapeError as error:
    ...     print(error)
    3d_unet_s takes (batch, 1, z, y, x), got an array of shape (1, 16, 16, 16)
    """
    if not x.is_floating_point():
        raise InputTypeError(
            f"{model} takes floating-point numbers, got {x.dtype}; scale raw data as for training, say x.float() / 255"
        )
    shape = tuple(x.shape)
    if x.ndim != ndim + 2:
        raise InputShapeError(f"{model} takes (batch, {channels}, {AXES[ndim]}), got an array of shape {shape}")
    if x.shape[1] != channels:
        raise InputShapeError(f"{model} was built for {channels} input channels, got {x.shape[1]} (shape {shape})")
    if any(size < minimum for size in x.shape[2:]):
        padded = tuple(max(size, minimum) for size in shape[2:])
        raise InputShapeError(
            f"{model} needs at least {minimum} voxels per axis, got {shape[2:]}; pad to at least {padded}"
        )


def check_sizes(model: str, x: Tensor, sizes: SizeRule) -> None:
    """Raise `InputShapeError` unless the spatial sizes are among those that a network without padding takes.

    Examples
    --------
    >>> import torch
    >>> try:
    ...     check_sizes("a network", torch.zeros(1, 1, 9, 8), SizeRule(minimum=8, step=4, efficient_multiple=4))
    ... except InputShapeError as error:
    ...     print(error)
    a network takes 8, 12, 16, ... (steps of 4) voxels per axis, got (9, 8); pad to (12, 8)
    """
    found = tuple(x.shape[2:])
    fitting = tuple(sizes.fit(size) for size in found)
    if fitting != found:
        raise InputShapeError(f"{model} takes {sizes} voxels per axis, got {found}; pad to {fitting}")


def check_batch_statistics(model: str, x: Tensor, stride: int) -> None:
    """Raise `InputShapeError` if batch norm would be trained on a single voxel at the coarsest level."""
    voxels = x.shape[0]
    for size in x.shape[2:]:
        voxels *= size // stride
    if voxels < 2:
        raise InputShapeError(
            f"{model}: batch norm cannot be trained on one patch of {tuple(x.shape[2:])}, which is a single voxel at "
            f"the coarsest level; give a larger batch, or an axis of at least {2 * stride}"
        )


def crop_end(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cut the ends of the spatial axes off, down to `sizes`.

    Examples
    --------
    >>> import torch
    >>> crop_end(torch.arange(4).reshape(1, 1, 4), (2,)).tolist()
    [[[0, 1]]]
    """
    for axis in range(2, x.ndim):
        if x.shape[axis] != sizes[axis - 2]:
            x = x.narrow(axis, 0, sizes[axis - 2])
    return x


def crop_centre(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cut the spatial axes on both sides, down to `sizes`; of an odd rest, the end loses one more.

    Examples
    --------
    >>> import torch
    >>> crop_centre(torch.arange(5).reshape(1, 1, 5), (2,)).tolist()
    [[[1, 2]]]
    """
    for axis in range(2, x.ndim):
        size = sizes[axis - 2]
        if x.shape[axis] != size:
            x = x.narrow(axis, (x.shape[axis] - size) // 2, size)
    return x
