"""SegResNet: ``2d_segresnet`` and ``3d_segresnet``, whose decoder is lighter than its encoder of residual blocks.

Names of parts are those of MONAI's implementation, so that its weights load.

Source: Myronenko, 3D MRI brain tumor segmentation using autoencoder regularization, 2018,
https://arxiv.org/abs/1810.11654
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from csc_models.nets.layers import CONVOLUTION, DROPOUT, LINEAR_MODE, crop_end
from csc_models.nets.network import Network
from csc_models.nets.recomputation import recomputed
from csc_models.specification import Arguments, ModelSpec, SizeRule
from csc_models.specification.receptive_field import Step, convolution, linear_upsampling, receptive_field

_GROUPS = 8
_MINIMUM = 2  # normalisation needs more than one number per group


def _convolution(ndim: int, channels: int, wide: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    """Make a convolution in a module of its own, as MONAI has it."""
    layer = CONVOLUTION[ndim](channels, wide, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=layer))


class Block(nn.Module):
    """Normalisation, ReLU and convolution, twice, added to the input."""

    def __init__(self, ndim: int, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_GROUPS, channels)
        self.norm2 = nn.GroupNorm(_GROUPS, channels)
        self.act = nn.ReLU(inplace=True)
        self.conv1 = _convolution(ndim, channels, channels)
        self.conv2 = _convolution(ndim, channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to the same."""
        inside = self.conv1(self.act(self.norm1(x)))
        result: Tensor = x + self.conv2(self.act(self.norm2(inside)))
        return result


@dataclass(eq=False, repr=False)
class SegResNet(Network):
    """SegResNet for two or three spatial axes.

    Parameters
    ----------
    n_channels, n_classes, gradient_checkpointing
        See `Network`.
    width : int
        Channels of the finest level, a multiple of 8; each coarser one has twice as many.
    blocks : tuple of int
        Residual blocks per level of the encoder; each level but the first halves the resolution.
    decoder_blocks : tuple of int
        Residual blocks per level of the decoder, from coarse to fine; one level fewer than `blocks`.
    dropout : float
        Share of channels that training leaves out after the first convolution.
    """

    width: int = 8
    blocks: tuple[int, ...] = (1, 2, 2, 4)
    decoder_blocks: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ndim, blocks, decoder = self.ndim, self.blocks, self.decoder_blocks
        self._require(self.width % _GROUPS == 0, f"width={self.width} must be a multiple of {_GROUPS}")
        right = len(decoder) == len(blocks) - 1
        self._require(right, f"decoder_blocks={decoder} must be one fewer than blocks={blocks}")
        self.minimum = _MINIMUM
        widths = [self.width * 2**level for level in range(len(blocks))]
        self.convInit = _convolution(ndim, self.n_channels, self.width)
        self.drop = DROPOUT[ndim](self.dropout)
        self.down_layers, self.up_layers, self.up_samples = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, (wide, count) in enumerate(zip(widths, blocks, strict=True)):
            halve = _convolution(ndim, wide // 2, wide, stride=2) if level else nn.Identity()
            self.down_layers.append(nn.Sequential(halve, *(Block(ndim, wide) for _ in range(count))))
        for wide, count in zip(widths[-2::-1], decoder, strict=True):
            double = nn.Upsample(scale_factor=2, mode=LINEAR_MODE[ndim], align_corners=False)
            self.up_samples.append(nn.Sequential(_convolution(ndim, 2 * wide, wide, kernel=1), double))
            self.up_layers.append(nn.Sequential(*(Block(ndim, wide) for _ in range(count))))
        head = nn.Sequential(OrderedDict(conv=CONVOLUTION[ndim](self.width, self.n_classes, kernel_size=1)))
        self.conv_final = nn.Sequential(nn.GroupNorm(_GROUPS, self.width), nn.ReLU(inplace=True), head)

    def _compute(self, x: Tensor) -> Tensor:
        save_memory = self.gradient_checkpointing
        x = self.drop(self.convInit(x))
        skips: list[Tensor] = []
        for down in self.down_layers:
            x = recomputed(down, x, enabled=save_memory)
            skips.append(x)
        skips.pop()
        for double, up in zip(self.up_samples, self.up_layers, strict=True):
            skip = skips.pop()
            x = skip + crop_end(recomputed(double, x, enabled=save_memory), skip.shape[2:])
            x = recomputed(up, x, enabled=save_memory)
        logits: Tensor = self.conv_final(x)
        return logits


def _sizes(arguments: Arguments) -> SizeRule:
    return SizeRule(minimum=_MINIMUM, efficient_multiple=2 ** (len(arguments["blocks"]) - 1))


def _receptive_field(arguments: Arguments) -> int:
    blocks: tuple[int, ...] = arguments["blocks"]
    steps: list[Step] = []
    for count in reversed(arguments["decoder_blocks"]):
        steps += [convolution(3)] * (2 * count) + [linear_upsampling()]
    for count in reversed(blocks[1:]):
        steps += [convolution(3)] * (2 * count) + [convolution(3, stride=2)]
    steps += [convolution(3)] * (2 * blocks[0] + 1)
    return receptive_field(steps, period=2 ** (len(blocks) - 1))


SPECS = tuple(
    ModelSpec(
        name=f"{ndim}d_segresnet",
        builder=SegResNet,
        fixed={"ndim": ndim},
        summary=f"{ndim}D SegResNet, residual blocks with a light decoder, as MONAI's",
        ndim=ndim,
        source="Myronenko, 2018, https://arxiv.org/abs/1810.11654",
        sizes=_sizes,
        receptive_field=_receptive_field,
        encoder=("convInit.", "down_layers."),
    )
    for ndim in (2, 3)
)
