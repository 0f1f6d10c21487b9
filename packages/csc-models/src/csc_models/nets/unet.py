"""The challenge's U-Nets: ``2d_unet`` and ``3d_unet``.

Names of parts are those of the challenge's toolbox, so that state dicts saved by it load strictly.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from csc_models.nets.layers import (
    BATCH_NORM,
    CONVOLUTION,
    LINEAR_MODE,
    MAX_POOL,
    TRANSPOSED,
    check_batch_statistics,
)
from csc_models.nets.network import Network
from csc_models.nets.recomputation import recomputed
from csc_models.specification import Arguments, ModelSpec, SizeRule
from csc_models.specification.receptive_field import (
    Step,
    convolution,
    linear_upsampling,
    pooling,
    receptive_field,
    upsampling,
)

_LEVELS = 4  # poolings on the way down
_MINIMUM = 2**_LEVELS


class DoubleConv(nn.Module):
    """Twice convolution, batch norm, ReLU."""

    def __init__(self, ndim: int, channels: int, middle: int, wide: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((channels, middle), (middle, wide)):
            layers.append(CONVOLUTION[ndim](before, after, kernel_size=3, padding=1, bias=False))
            layers.append(BATCH_NORM[ndim](after))
            layers.append(nn.ReLU(inplace=True))
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ...)."""
        result: Tensor = self.double_conv(x)
        return result


class Down(nn.Module):
    """Halve the resolution, then convolve twice."""

    def __init__(self, ndim: int, channels: int, wide: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(MAX_POOL[ndim](2), DoubleConv(ndim, channels, wide, wide))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ... / 2)."""
        result: Tensor = self.maxpool_conv(x)
        return result


class Up(nn.Module):
    """Double the resolution, join with the skip connection, then convolve twice."""

    def __init__(self, ndim: int, channels: int, wide: int, trilinear: bool) -> None:
        super().__init__()
        if trilinear:
            self.up: nn.Module = nn.Upsample(scale_factor=2, mode=LINEAR_MODE[ndim], align_corners=True)
            self.conv = DoubleConv(ndim, channels, channels // 2, wide)
        else:
            self.up = TRANSPOSED[ndim](channels, channels // 2, kernel_size=2, stride=2)
            self.conv = DoubleConv(ndim, channels, wide, wide)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map coarse features and the skip connection's to features of the skip's size."""
        x = _padded_like(self.up(x), skip)
        result: Tensor = self.conv(torch.cat([skip, x], dim=1))
        return result


@dataclass(eq=False, repr=False)
class UNet(Network):
    """The challenge's U-Net; the two below fix the number of axes.

    Parameters
    ----------
    n_channels, n_classes, gradient_checkpointing
        See `Network`.
    trilinear : bool
        Upsample linearly instead of by transposed convolution (bilinearly, in 2D; the word is the challenge's).
    width : int
        Channels of the finest level; each of the four coarser ones has twice as many. The challenge's have 64.
    """

    trilinear: bool = False
    width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.minimum = _MINIMUM
        ndim, width, trilinear = self.ndim, self.width, self.trilinear
        # Linear upsampling does not narrow the features, so that the widths are halved beforehand.
        factor = 2 if trilinear else 1
        self.inc = DoubleConv(ndim, self.n_channels, width, width)
        self.down1 = Down(ndim, width, 2 * width)
        self.down2 = Down(ndim, 2 * width, 4 * width)
        self.down3 = Down(ndim, 4 * width, 8 * width)
        self.down4 = Down(ndim, 8 * width, 16 * width // factor)
        self.up1 = Up(ndim, 16 * width, 8 * width // factor, trilinear)
        self.up2 = Up(ndim, 8 * width, 4 * width // factor, trilinear)
        self.up3 = Up(ndim, 4 * width, 2 * width // factor, trilinear)
        self.up4 = Up(ndim, 2 * width, width, trilinear)
        self.outc = nn.Sequential(OrderedDict(conv=CONVOLUTION[ndim](width, self.n_classes, kernel_size=1)))

    def _compute(self, x: Tensor) -> Tensor:
        if self.training:
            check_batch_statistics(type(self).__name__, x, _MINIMUM)
        save_memory = self.gradient_checkpointing
        x = recomputed(self.inc, x, enabled=save_memory)
        skips: list[Tensor] = []
        for down in (self.down1, self.down2, self.down3, self.down4):
            skips.append(x)
            x = recomputed(down, x, enabled=save_memory)
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = recomputed(up, x, skips.pop(), enabled=save_memory)
        logits: Tensor = self.outc(x)
        return logits


@dataclass(eq=False, repr=False)
class UNet_2D(UNet):  # noqa: N801 - the name under which people import it
    """The challenge's 2D U-Net; arguments are those of `UNet`.

    Examples
    --------
    >>> import torch
    >>> from csc_models import UNet_2D
    >>> tuple(UNet_2D(1, 3, width=4)(torch.rand(1, 1, 32, 32)).shape)
    (1, 3, 32, 32)
    """

    ndim: int = field(default=2, init=False)


@dataclass(eq=False, repr=False)
class UNet_3D(UNet):  # noqa: N801 - the name under which people import it
    """The challenge's 3D U-Net; arguments are those of `UNet`.

    Examples
    --------
    >>> import torch
    >>> from csc_models import UNet_3D
    >>> tuple(UNet_3D(1, 3, width=2)(torch.rand(2, 1, 16, 16, 16)).shape)
    (2, 3, 16, 16, 16)
    """

    ndim: int = field(default=3, init=False)


def _padded_like(x: Tensor, other: Tensor) -> Tensor:
    """Pad with zeros, on both sides, to the spatial size of another tensor.

    Pooling drops the last voxel of odd sizes, and this puts it back, as the challenge's networks do.
    """
    padding: list[int] = []
    for axis in reversed(range(2, x.ndim)):
        lacking = other.shape[axis] - x.shape[axis]
        padding += [lacking // 2, lacking - lacking // 2]
    return functional.pad(x, padding) if any(padding) else x


def _receptive_field(arguments: Arguments) -> int:
    up = linear_upsampling() if arguments["trilinear"] else upsampling(2)
    twice: list[Step] = [convolution(3), convolution(3)]
    upwards = [*twice, up] * _LEVELS
    downwards = [pooling(2), *twice] * _LEVELS
    return receptive_field([*upwards, *twice, *downwards], period=2**_LEVELS)


SPECS = tuple(
    ModelSpec(
        name=f"{builder.ndim}d_unet",
        builder=builder,
        summary=f"the challenge's {builder.ndim}D U-Net, five levels",
        ndim=builder.ndim,
        source="Ronneberger et al., U-Net, 2015, https://arxiv.org/abs/1505.04597",
        sizes=lambda _: SizeRule(minimum=_MINIMUM, efficient_multiple=_MINIMUM),
        receptive_field=_receptive_field,
        encoder=("inc.", "down"),
    )
    for builder in (UNet_2D, UNet_3D)
)
