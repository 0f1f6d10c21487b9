"""MedNeXt: U-Nets of depthwise convolutions with large kernels, in four sizes and for two or three axes.

Source: Roy et al., MedNeXt, 2023, https://arxiv.org/abs/2303.09975
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from csc_models.nets.layers import CONVOLUTION, TRANSPOSED, crop_end
from csc_models.nets.network import Network
from csc_models.nets.recomputation import recomputed
from csc_models.specification import Arguments, ModelSpec, SizeRule
from csc_models.specification.receptive_field import Step, convolution, receptive_field

SizeName = Literal["s", "b", "m", "l"]

_LEVELS = 4  # halvings of the resolution
_MINIMUM = 2**_LEVELS + 1  # two voxels at the coarsest level, for the normalisation


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """Numbers of one size: for the way down, the bottom and the way up."""

    blocks: tuple[int, ...]
    expansion: tuple[int, ...]


_PLANS: dict[str, _Plan] = {
    "s": _Plan(blocks=(2,) * 9, expansion=(2,) * 9),
    "b": _Plan(blocks=(2,) * 9, expansion=(2, 3, 4, 4, 4, 4, 4, 3, 2)),
    "m": _Plan(blocks=(3, 4, 4, 4, 4, 4, 4, 4, 3), expansion=(2, 3, 4, 4, 4, 4, 4, 3, 2)),
    "l": _Plan(blocks=(3, 4, 8, 8, 8, 8, 8, 4, 3), expansion=(3, 4, 8, 8, 8, 8, 8, 4, 3)),
}


class _Bottleneck(nn.Module):
    """Normalise, widen, activate, narrow; what follows the depthwise convolution in all blocks."""

    def __init__(self, ndim: int, channels: int, wide: int, expansion: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(channels, channels)
        self.conv2 = CONVOLUTION[ndim](channels, expansion * channels, kernel_size=1)
        self.act = nn.GELU()
        self.conv3 = CONVOLUTION[ndim](expansion * channels, wide, kernel_size=1)

    def mix(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ...)."""
        result: Tensor = self.conv3(self.act(self.conv2(self.norm(x))))
        return result


class Block(_Bottleneck):
    """Depthwise convolution and mixing of channels, added to the input."""

    def __init__(self, ndim: int, channels: int, expansion: int, kernel: int) -> None:
        super().__init__(ndim, channels, channels, expansion)
        self.conv1 = CONVOLUTION[ndim](channels, channels, kernel_size=kernel, padding=kernel // 2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to the same."""
        return x + self.mix(self.conv1(x))


class DownBlock(_Bottleneck):
    """Halve the resolution, double the channels; odd sizes are rounded up."""

    def __init__(self, ndim: int, channels: int, expansion: int, kernel: int) -> None:
        super().__init__(ndim, channels, 2 * channels, expansion)
        self.conv1 = CONVOLUTION[ndim](
            channels, channels, kernel_size=kernel, stride=2, padding=kernel // 2, groups=channels
        )
        self.res_conv = CONVOLUTION[ndim](channels, 2 * channels, kernel_size=1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, 2 channels, ... / 2)."""
        projected: Tensor = self.res_conv(x)
        return projected + self.mix(self.conv1(x))


class UpBlock(_Bottleneck):
    """Double the resolution, halve the channels."""

    def __init__(self, ndim: int, channels: int, expansion: int, kernel: int) -> None:
        super().__init__(ndim, channels, channels // 2, expansion)
        self.conv1 = TRANSPOSED[ndim](
            channels, channels, kernel_size=kernel, stride=2, padding=kernel // 2, groups=channels
        )
        self.res_conv = TRANSPOSED[ndim](channels, channels // 2, kernel_size=1, stride=2)
        # The transposed convolutions leave twice the size less one, which is filled up at the front.
        self.front = [1, 0] * ndim

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, channels / 2, ... * 2)."""
        projected: Tensor = self.res_conv(x)
        return functional.pad(projected + self.mix(self.conv1(x)), self.front)


@dataclass(eq=False, repr=False)
class MedNeXt(Network):
    """MedNeXt for two or three spatial axes.

    Parameters
    ----------
    n_channels, n_classes, gradient_checkpointing
        See `Network`.
    size : {"s", "b", "m", "l"}
        Small, base, medium or large: how many blocks, and how wide they are inside.
    width : int
        Channels of the finest level; each of the four coarser ones has twice as many. The published ones have 32.
    kernel_size : {3, 5, 7}
        Size of the depthwise convolutions.
    deep_supervision : bool
        Return logits of all levels, as a list, largest first.
    """

    size: SizeName = "b"
    width: int = 32
    kernel_size: Literal[3, 5, 7] = 3
    deep_supervision: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.minimum = _MINIMUM
        ndim, width, kernel_size = self.ndim, self.width, self.kernel_size
        plan = _PLANS[self.size]
        widths = [width * 2**level for level in range(_LEVELS + 1)]

        def blocks(stage: int, channels: int) -> nn.Sequential:
            expansion = plan.expansion[stage]
            return nn.Sequential(*(Block(ndim, channels, expansion, kernel_size) for _ in range(plan.blocks[stage])))

        self.stem = CONVOLUTION[ndim](self.n_channels, width, kernel_size=1)
        self.encoder = nn.ModuleList(blocks(level, widths[level]) for level in range(_LEVELS))
        self.down = nn.ModuleList(
            DownBlock(ndim, widths[level], plan.expansion[level + 1], kernel_size) for level in range(_LEVELS)
        )
        self.bottleneck = blocks(_LEVELS, widths[_LEVELS])
        self.up = nn.ModuleList(
            UpBlock(ndim, widths[_LEVELS - step], plan.expansion[_LEVELS + 1 + step], kernel_size)
            for step in range(_LEVELS)
        )
        self.decoder = nn.ModuleList(blocks(_LEVELS + 1 + step, widths[_LEVELS - 1 - step]) for step in range(_LEVELS))
        supervised = range(_LEVELS + 1) if self.deep_supervision else range(1)
        self.heads = nn.ModuleList(
            CONVOLUTION[ndim](widths[level], self.n_classes, kernel_size=1) for level in supervised
        )

    def _compute(self, x: Tensor) -> Tensor | list[Tensor]:
        save_memory = self.gradient_checkpointing
        x = self.stem(x)
        skips: list[Tensor] = []
        for encode, down in zip(self.encoder, self.down, strict=True):
            x = _through(encode, x, save_memory)
            skips.append(x)
            x = recomputed(down, x, enabled=save_memory)
        x = _through(self.bottleneck, x, save_memory)
        levels = [x]
        for up, decode in zip(self.up, self.decoder, strict=True):
            skip = skips.pop()
            x = skip + crop_end(recomputed(up, x, enabled=save_memory), skip.shape[2:])
            x = _through(decode, x, save_memory)
            levels.append(x)
        outputs: list[Tensor] = [head(level) for head, level in zip(self.heads, reversed(levels), strict=False)]
        return outputs if self.deep_supervision else outputs[0]


def _through(blocks: nn.Module, x: Tensor, save_memory: bool) -> Tensor:
    """Apply blocks one after the other; each is recomputed by itself."""
    for block in blocks.children():
        x = recomputed(block, x, enabled=save_memory)
    return x


def _transposition(kernel: int) -> Step:
    """The transposed convolution of an `UpBlock` with the voxel that is added at the front."""
    half = kernel // 2
    return lambda first, last: (-((half + 1 - first) // 2), (last - 1 + half) // 2)


def _receptive_field(arguments: Arguments) -> int:
    plan, kernel = _PLANS[arguments["size"]], arguments["kernel_size"]
    steps: list[Step] = []
    for step in reversed(range(_LEVELS)):
        steps += [convolution(kernel)] * plan.blocks[_LEVELS + 1 + step]
        steps.append(_transposition(kernel))
    steps += [convolution(kernel)] * plan.blocks[_LEVELS]
    for level in reversed(range(_LEVELS)):
        steps.append(convolution(kernel, stride=2))
        steps += [convolution(kernel)] * plan.blocks[level]
    return receptive_field(steps, period=2**_LEVELS)


SPECS = tuple(
    ModelSpec(
        name=f"{ndim}d_mednext",
        builder=MedNeXt,
        fixed={"ndim": ndim},
        summary=f"{ndim}D MedNeXt in four sizes, depthwise convolutions of 3 or 5, with deep supervision if asked",
        ndim=ndim,
        source="Roy et al., MedNeXt, 2023, https://arxiv.org/abs/2303.09975",
        sizes=lambda _: SizeRule(minimum=_MINIMUM, efficient_multiple=2**_LEVELS),
        receptive_field=_receptive_field,
        encoder=("stem.", "encoder.", "down.", "bottleneck."),
    )
    for ndim in (2, 3)
)
