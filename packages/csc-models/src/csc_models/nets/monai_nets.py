"""Networks of MONAI: ``monai_basic_unet3d``, ``monai_unet`` and ``monai_swin_unetr``.

MONAI is imported when one of them is built, and not before. Each is held in a module of ours that makes it keep what
all networks here promise: any size of input, errors that say what is wrong, gradient checkpointing. State dicts saved
from MONAI's own networks load into them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from csc_models.nets.layers import NormName, crop_end
from csc_models.nets.network import Network
from csc_models.nets.recomputation import recomputed
from csc_models.optional import import_extra
from csc_models.specification import Arguments, ModelSpec, SizeRule
from csc_models.specification.receptive_field import (
    Step,
    convolution,
    pooling,
    receptive_field,
    strided_transposition,
    upsampling,
)

EXTRA = "monai"
_PREFIX = "net."
_NORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "instance": ("instance", {"affine": True}),
    "batch": ("batch", {}),
    "group": ("group", {"num_groups": 1}),
}


@dataclass(eq=False, repr=False)
class MonaiNetwork(Network):
    """A network of MONAI that takes any size; the base of those below.

    Inputs are padded by repeating the last voxels to the next multiples of `multiple`, of which there are at least two
    in all, for the normalisation at the coarsest level; outputs are cut back.
    """

    ndim: int = field(default=3, init=False)

    multiple: ClassVar[int]

    def hold(self, name: str, *arguments: Any, **named: Any) -> None:
        """Keep a network of MONAI.

        Raises
        ------
        MissingExtraError
            MONAI is not installed.
        """
        nets = import_extra("monai.networks.nets", extra=EXTRA, purpose=f"{name}, a network of MONAI,")
        self.net: Any = getattr(nets, name)(*arguments, **named)

    def _compute(self, x: Tensor) -> Tensor:
        sizes = x.shape[2:]
        lacking = [-size % self.multiple for size in sizes]
        if all(size <= self.multiple for size in sizes):
            lacking[-1] += self.multiple
        if any(lacking):
            x = functional.pad(x, [0, lacking[2], 0, lacking[1], 0, lacking[0]], mode="replicate")
        return crop_end(self._through_net(x), sizes)

    def _through_net(self, x: Tensor) -> Tensor:
        """Map an input of a size that MONAI's network takes to logits."""
        logits: Tensor = self.net(x)
        return logits

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights as every module does, also those of MONAI's own network."""
        return super().load_state_dict(self.adapt_state_dict(state_dict), strict, assign)

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put our prefix before the keys of MONAI's own network."""
        if any(key.startswith(_PREFIX) for key in state):
            return dict(state)
        return {f"{_PREFIX}{key}": value for key, value in state.items()}


@dataclass(eq=False, repr=False)
class BasicUNet3D(MonaiNetwork):
    """MONAI's BasicUNet, for three spatial axes.

    Parameters
    ----------
    n_channels, n_classes, gradient_checkpointing
        See `Network`.
    features : tuple of int
        Channels of the five levels, from full resolution down, and of the last one on the way up.
    norm : {"instance", "group", "batch"}
        Normalisation after each convolution; "group" normalises all channels together.
    """

    multiple = 16

    features: tuple[int, int, int, int, int, int] = (32, 32, 64, 128, 256, 32)
    norm: NormName = "instance"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hold("BasicUNet", 3, self.n_channels, self.n_classes, self.features, norm=_NORMS[self.norm])

    def _through_net(self, x: Tensor) -> Tensor:
        """Map an input of a size that MONAI's network takes to logits."""
        save_memory = self.gradient_checkpointing
        net = self.net
        levels = [recomputed(net.conv_0, x, enabled=save_memory)]
        for down in (net.down_1, net.down_2, net.down_3, net.down_4):
            levels.append(recomputed(down, levels[-1], enabled=save_memory))
        x = levels.pop()
        for up in (net.upcat_4, net.upcat_3, net.upcat_2, net.upcat_1):
            x = recomputed(up, x, levels.pop(), enabled=save_memory)
        logits: Tensor = net.final_conv(x)
        return logits


@dataclass(eq=False, repr=False)
class MonaiUNet(MonaiNetwork):
    """MONAI's UNet with residual units, for three spatial axes.

    Parameters
    ----------
    n_channels, n_classes, gradient_checkpointing
        See `Network`.
    channels : tuple of int
        Channels per level, from fine to coarse; at least two levels.
    strides : tuple of int
        Stride (1 or 2) with which each level but the coarsest begins.
    num_res_units : int
        Convolutions per residual unit; 0 for plain convolutions.
    norm : {"instance", "group", "batch"}
        Normalisation after each convolution; "group" normalises all channels together.
    dropout : float
        Share of channels that training leaves out.
    """

    channels: tuple[int, ...] = (32, 64, 128, 256, 512)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    num_res_units: int = field(default=2, metadata={"least": 0})
    norm: NormName = "instance"
    dropout: float = 0.0

    @property
    def multiple(self) -> int:  # type: ignore[override]
        """Sizes that MONAI's network takes are multiples of this."""
        return math.prod(self.strides)

    def __post_init__(self) -> None:
        super().__post_init__()
        right = len(self.channels) == len(self.strides) + 1 and max(self.strides) <= 2
        self._require(right, f"strides={self.strides} must be 1 or 2, and channels={self.channels} one more")
        self.hold(
            "UNet", 3, self.n_channels, self.n_classes, self.channels, self.strides,
            num_res_units=self.num_res_units, norm=_NORMS[self.norm], dropout=self.dropout,
        )  # fmt: skip

    def _through_net(self, x: Tensor) -> Tensor:
        """Map an input of a size that MONAI's network takes to logits."""
        if not self.gradient_checkpointing:
            return super()._through_net(x)
        ways_up: list[tuple[nn.Module, Tensor]] = []
        block = self.net.model
        for _ in self.strides:  # a block is [down, the block below with a skip connection, up]
            down, skip, up = block.children()
            x = recomputed(down, x, enabled=True)
            ways_up.append((up, x))
            block = skip.submodule
        x = recomputed(block, x, enabled=True)
        for up, kept in reversed(ways_up):
            x = recomputed(up, torch.cat([kept, x], dim=1), enabled=True)
        return x


@dataclass(eq=False, repr=False)
class SwinUNETR(MonaiNetwork):
    """MONAI's SwinUNETR, for three spatial axes.

    Parameters
    ----------
    n_channels, n_classes, gradient_checkpointing
        See `Network`.
    feature_size : int
        Channels of the first level; a multiple of 12.
    depths : tuple of int
        Transformer layers of the four stages.
    num_heads : tuple of int
        Attention heads of the four stages.
    window_size : int
        Edge of the windows within which patches attend to each other, in patches.
    dropout : float
        Share of values that training leaves out.
    use_v2 : bool
        SwinUNETR-V2, with a residual convolution before each stage.
    """

    multiple = 32

    feature_size: int = 24
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    num_heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    window_size: Literal[3, 5, 7] = 7
    dropout: float = 0.0
    use_v2: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        size, heads = self.feature_size, self.num_heads
        widths = [size * 2**stage for stage in range(4)]
        right = size % 12 == 0 and not any(wide % count for wide, count in zip(widths, heads, strict=True))
        self._require(
            right,
            f"feature_size={size} must be a multiple of 12, and of num_heads={heads} each must divide the channels of "
            f"its stage, {tuple(widths)}",
        )
        self.hold(
            "SwinUNETR", in_channels=self.n_channels, out_channels=self.n_classes, feature_size=size,
            depths=self.depths, num_heads=heads, window_size=self.window_size, drop_rate=self.dropout,
            use_v2=self.use_v2, use_checkpoint=self.gradient_checkpointing,
        )  # fmt: skip


def _basic_unet_field(_: Arguments) -> int:
    twice: list[Step] = [convolution(3)] * 2
    return receptive_field([*[*twice, upsampling(2)] * 4, *twice, *[pooling(2), *twice] * 4], period=16)


def _unet_field(arguments: Arguments) -> int:
    strides: tuple[int, ...] = arguments["strides"]
    units: int = arguments["num_res_units"]
    more: list[Step] = [convolution(3)] * max(0, units - 1)
    steps: list[Step] = []
    for stride in strides:
        steps += [convolution(3)] * (1 if units else 0)
        steps.append(strided_transposition() if stride == 2 else convolution(3))
    steps += [*more, convolution(3)]
    for stride in reversed(strides):
        steps += [*more, convolution(3, stride=stride)]
    return receptive_field(steps, period=math.prod(strides))


SPECS = (
    ModelSpec(
        name="monai_basic_unet3d",
        builder=BasicUNet3D,
        summary="MONAI's BasicUNet, five levels",
        ndim=3,
        source="Falk et al., U-Net: deep learning for cell counting, 2019, https://doi.org/10.1038/s41592-018-0261-2",
        sizes=lambda _: SizeRule(minimum=1, efficient_multiple=16),
        receptive_field=_basic_unet_field,
        encoder=("net.conv_0.", "net.down_"),
        extra=EXTRA,
    ),
    ModelSpec(
        name="monai_unet",
        builder=MonaiUNet,
        summary="MONAI's UNet with residual units",
        ndim=3,
        source="Kerfoot et al., Left-ventricle quantification using residual U-Net, 2018, "
        "https://doi.org/10.1007/978-3-030-12029-0_40",
        sizes=lambda arguments: SizeRule(minimum=1, efficient_multiple=math.prod(arguments["strides"])),
        receptive_field=_unet_field,
        extra=EXTRA,
    ),
    ModelSpec(
        name="monai_swin_unetr",
        builder=SwinUNETR,
        summary="MONAI's SwinUNETR, a shifted-window transformer with a convolutional decoder",
        ndim=3,
        source="Hatamizadeh et al., Swin UNETR, 2022, https://arxiv.org/abs/2201.01266",
        sizes=lambda _: SizeRule(minimum=1, efficient_multiple=32),
        receptive_field=lambda _: None,
        encoder=("net.swinViT.",),
        extra=EXTRA,
    ),
)
