"""Residual-encoder U-Nets as nnU-Net plans them: ``2d_resenc_unet`` and ``3d_resenc_unet``.

The defaults are the "ResEnc M" plan for three axes. Names of parts are those of the published implementation
(dynamic-network-architectures), so that its weights load, but for heads that are not used.

Source: Isensee et al., nnU-Net revisited, 2024, https://arxiv.org/abs/2404.09556
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from csc_models.errors import ModelArgumentError
from csc_models.nets.layers import (
    AVERAGE_POOL,
    CONVOLUTION,
    INSTANCE_NORM,
    TRANSPOSED,
    check_input,
    check_least,
    crop_end,
)
from csc_models.nets.recomputation import recomputed
from csc_models.specification import Arguments, ModelSpec, SizeRule
from csc_models.specification.receptive_field import Step, convolution, receptive_field, upsampling

_SLOPE = 0.01


class Convolution(nn.Module):
    """Convolution, instance norm and, unless it is left out, leaky ReLU."""

    def __init__(
        self, ndim: int, channels: int, wide: int, kernel: int = 3, stride: int = 1, activated: bool = True
    ) -> None:
        super().__init__()
        self.conv = CONVOLUTION[ndim](
            channels, wide, kernel_size=kernel, stride=stride, padding=kernel // 2, bias=kernel > 1
        )
        self.norm = INSTANCE_NORM[ndim](wide, affine=True)
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ...)."""
        normalised: Tensor = self.norm(self.conv(x))
        return nn.functional.leaky_relu(normalised, _SLOPE, inplace=True) if self.activated else normalised


class ResidualBlock(nn.Module):
    """Two convolutions, the first with a stride, whose result is added to the pooled and projected input."""

    def __init__(self, ndim: int, channels: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Convolution(ndim, channels, wide, stride=stride)
        self.conv2 = Convolution(ndim, wide, wide, activated=False)
        pooling: list[nn.Module] = []
        if stride > 1:
            # With ceil_mode odd sizes are rounded up, as a convolution with a stride does.
            pooling.append(AVERAGE_POOL[ndim](stride, ceil_mode=True))
        if channels != wide:
            pooling += [] if pooling else [nn.Identity()]
            pooling.append(Convolution(ndim, channels, wide, kernel=1, activated=False))
        self.skip = nn.Sequential(*pooling)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ... / stride)."""
        change: Tensor = self.conv2(self.conv1(x))
        return nn.functional.leaky_relu(change + self.skip(x), _SLOPE, inplace=True)


class Stage(nn.Module):
    """Residual blocks of one resolution."""

    def __init__(self, ndim: int, channels: int, wide: int, blocks: int, stride: int) -> None:
        super().__init__()
        first = ResidualBlock(ndim, channels, wide, stride)
        self.blocks = nn.Sequential(first, *(ResidualBlock(ndim, wide, wide, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ... / stride)."""
        result: Tensor = self.blocks(x)
        return result


class Stem(nn.Module):
    """Convolutions of one resolution without residuals."""

    def __init__(self, ndim: int, channels: int, wide: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(Convolution(ndim, channels, wide))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ...)."""
        result: Tensor = self.convs(x)
        return result


class Encoder(nn.Module):
    """From full to the coarsest resolution."""

    def __init__(self, ndim: int, n_channels: int, features: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = Stem(ndim, n_channels, features[0])
        before = (features[0], *features[:-1])
        self.stages = nn.ModuleList(
            Stage(ndim, channels, wide, count, stride=1 if level == 0 else 2)
            for level, (channels, wide, count) in enumerate(zip(before, features, blocks, strict=True))
        )

    def forward(self, x: Tensor, save_memory: bool) -> list[Tensor]:
        """Return the features of each level, from fine to coarse."""
        x = recomputed(self.stem, x, enabled=save_memory)
        levels: list[Tensor] = []
        for stage in self.stages:
            x = recomputed(stage, x, enabled=save_memory)
            levels.append(x)
        return levels


class Decoder(nn.Module):
    """From the coarsest resolution back, with a head per level that gives an output."""

    def __init__(self, ndim: int, n_classes: int, features: tuple[int, ...], deep_supervision: bool) -> None:
        super().__init__()
        pairs = list(zip(features[:0:-1], features[-2::-1], strict=True))
        self.stages = nn.ModuleList(Stem(ndim, 2 * wide, wide) for _, wide in pairs)
        self.transpconvs = nn.ModuleList(
            TRANSPOSED[ndim](coarse, wide, kernel_size=2, stride=2) for coarse, wide in pairs
        )
        supervised = range(len(pairs)) if deep_supervision else [len(pairs) - 1]
        # Numbered as in the published implementation, which has all heads whether they are used or not.
        self.seg_layers = nn.ModuleDict(
            {str(level): CONVOLUTION[ndim](pairs[level][1], n_classes, kernel_size=1) for level in supervised}
        )

    def forward(self, levels: list[Tensor], save_memory: bool) -> list[Tensor]:
        """Map features from fine to coarse to logits, the largest first."""
        x = levels[-1]
        outputs: list[Tensor] = []
        for index, (expand, convolve) in enumerate(zip(self.transpconvs, self.stages, strict=True)):
            skip = levels[-2 - index]
            x = crop_end(expand(x), skip.shape[2:])
            x = recomputed(convolve, torch.cat([x, skip], dim=1), enabled=save_memory)
            if str(index) in self.seg_layers:
                outputs.append(self.seg_layers[str(index)](x))
        return outputs[::-1]


class ResEncUNet(nn.Module):
    """Residual-encoder U-Net for two or three spatial axes.

    Parameters
    ----------
    ndim : int
        Number of spatial axes, 2 or 3.
    n_channels : int
        Number of input channels.
    n_classes : int
        Number of output channels.
    features : tuple of int
        Channels per level, from full resolution down; each level but the first halves the resolution. At least two.
    blocks : tuple of int
        Residual blocks per level.
    deep_supervision : bool
        Return logits of all levels but the coarsest, as a list, largest first.
    gradient_checkpointing : bool
        Compute activations again in the backward pass instead of keeping them: less memory, more time.

    Raises
    ------
    ModelArgumentError
        A number is out of range, or `features` and `blocks` are not of one length.
    """

    def __init__(
        self,
        ndim: int,
        n_channels: int,
        n_classes: int,
        features: tuple[int, ...] = (32, 64, 128, 256, 320, 320),
        blocks: tuple[int, ...] = (1, 3, 4, 6, 6, 6),
        deep_supervision: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.ndim = ndim
        self.n_channels = n_channels
        self.n_classes = n_classes
        self.features = tuple(features)
        self.blocks = tuple(blocks)
        self.deep_supervision = deep_supervision
        self.gradient_checkpointing = gradient_checkpointing
        check_least("ResEncUNet", n_channels=n_channels, n_classes=n_classes)
        if len(self.features) != len(self.blocks) or len(self.features) < 2 or min(*self.features, *self.blocks) < 1:
            raise ModelArgumentError(
                f"ResEncUNet: features={self.features} and blocks={self.blocks} must be positive numbers, one of each "
                "per level, for at least two levels"
            )
        self.encoder = Encoder(ndim, n_channels, self.features, self.blocks)
        self.decoder = Decoder(ndim, n_classes, self.features, deep_supervision)
        self._initialise()

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Map (B, n_channels, [z,] y, x) to logits (B, n_classes, [z,] y, x) of the same spatial size.

        With deep supervision, return a list of them; each next one has half the size, rounded up.

        Raises
        ------
        InputShapeError
            Wrong number of axes or channels, or an axis that is too short.
        """
        check_input("ResEncUNet", x, self.ndim, self.n_channels, _minimum(len(self.features)))
        levels = self.encoder(x, self.gradient_checkpointing)
        outputs: list[Tensor] = self.decoder(levels, self.gradient_checkpointing)
        return outputs if self.deep_supervision else outputs[0]

    def _initialise(self) -> None:
        """Start with He's weights, and with blocks that pass their input through."""
        for part in self.modules():
            if isinstance(part, tuple({*CONVOLUTION.values(), *TRANSPOSED.values()})):
                assert isinstance(part.weight, Tensor)
                nn.init.kaiming_normal_(part.weight, a=_SLOPE)
                if isinstance(part.bias, Tensor):
                    nn.init.zeros_(part.bias)
            elif isinstance(part, ResidualBlock):
                nn.init.zeros_(part.conv2.norm.weight)


def _minimum(levels: int) -> int:
    """Instance norm needs two voxels at the coarsest level."""
    return (1 << (levels - 1)) + 1


def _sizes(arguments: Arguments) -> SizeRule:
    levels = len(arguments["features"])
    return SizeRule(minimum=_minimum(levels), efficient_multiple=1 << (levels - 1))


def _receptive_field(arguments: Arguments) -> int:
    blocks: tuple[int, ...] = arguments["blocks"]
    coarser = len(blocks) - 1
    steps: list[Step] = [convolution(3), upsampling(2)] * coarser
    for count in reversed(blocks[1:]):
        steps += [convolution(3)] * (2 * count - 1)
        steps.append(convolution(3, stride=2))
    steps += [convolution(3)] * (2 * blocks[0] + 1)
    return receptive_field(steps, period=1 << coarser)


SPECS = tuple(
    ModelSpec(
        name=f"{ndim}d_resenc_unet",
        builder=ResEncUNet,
        fixed={"ndim": ndim},
        summary=f"nnU-Net's {ndim}D residual-encoder U-Net, with deep supervision if asked",
        ndim=ndim,
        source="Isensee et al., nnU-Net revisited, 2024, https://arxiv.org/abs/2404.09556",
        sizes=_sizes,
        receptive_field=_receptive_field,
        encoder=("encoder.",),
    )
    for ndim in (2, 3)
)
