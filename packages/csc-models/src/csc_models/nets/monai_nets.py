"""Networks of MONAI: ``monai_basic_unet3d``, ``monai_unet`` and ``monai_swin_unetr``.

MONAI is imported when one of them is built, and not before. Each is held in a module of ours that makes it keep what
all networks here promise: any size of input, errors that say what is wrong, gradient checkpointing. State dicts saved
from MONAI's own networks load into them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from csc_models.errors import ModelArgumentError
from csc_models.nets.layers import NormName, check_input, check_least, crop_end
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


class MonaiNetwork(nn.Module):
    """A network of MONAI that takes any size; the base of those below.

    Inputs are padded by repeating the last voxels to the next multiples of `multiple`, of which there are at least two
    in all, for the normalisation at the coarsest level; outputs are cut back.
    """

    net: nn.Module

    def __init__(self, name: str, n_channels: int, n_classes: int, multiple: int) -> None:
        super().__init__()
        check_least(name, n_channels=n_channels, n_classes=n_classes)
        self.name = name
        self.n_channels = n_channels
        self.n_classes = n_classes
        self.multiple = multiple

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, z, y, x) to logits (B, n_classes, z, y, x).

        Raises
        ------
        InputShapeError
            Wrong number of axes or channels.
        """
        check_input(self.name, x, 3, self.n_channels, minimum=1)
        sizes = x.shape[2:]
        lacking = [-size % self.multiple for size in sizes]
        if all(size <= self.multiple for size in sizes):
            lacking[-1] += self.multiple
        if any(lacking):
            x = functional.pad(x, [0, lacking[2], 0, lacking[1], 0, lacking[0]], mode="replicate")
        return crop_end(self.compute(x), sizes)

    def compute(self, x: Tensor) -> Tensor:
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


class BasicUNet3D(MonaiNetwork):
    """MONAI's BasicUNet, for three spatial axes.

    Parameters
    ----------
    n_channels : int
        Number of input channels.
    n_classes : int
        Number of output channels.
    features : tuple of int
        Channels of the five levels, from full resolution down, and of the last one on the way up.
    norm : {"instance", "group", "batch"}
        Normalisation after each convolution; "group" normalises all channels together.
    gradient_checkpointing : bool
        Compute activations again in the backward pass instead of keeping them: less memory, more time.

    Raises
    ------
    ModelArgumentError
        A number is out of range.
    MissingExtraError
        MONAI is not installed.
    """

    def __init__(
        self,
        n_channels: int,
        n_classes: int,
        features: tuple[int, int, int, int, int, int] = (32, 32, 64, 128, 256, 32),
        norm: NormName = "instance",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__("BasicUNet3D", n_channels, n_classes, multiple=16)
        self.features = tuple(features)
        self.norm = norm
        self.gradient_checkpointing = gradient_checkpointing
        _check_numbers("BasicUNet3D", features=self.features)
        self.net = _monai_class("BasicUNet")(3, n_channels, n_classes, self.features, norm=_NORMS[norm])

    def compute(self, x: Tensor) -> Tensor:
        """Map an input of a size that MONAI's network takes to logits."""
        save_memory = self.gradient_checkpointing
        levels = [recomputed(self._part("conv_0"), x, enabled=save_memory)]
        for level in range(1, 5):
            levels.append(recomputed(self._part(f"down_{level}"), levels[-1], enabled=save_memory))
        x = levels.pop()
        for level in range(4, 0, -1):
            x = recomputed(self._part(f"upcat_{level}"), x, levels.pop(), enabled=save_memory)
        logits: Tensor = self._part("final_conv")(x)
        return logits

    def _part(self, name: str) -> nn.Module:
        part: nn.Module = getattr(self.net, name)
        return part


class MonaiUNet(MonaiNetwork):
    """MONAI's UNet with residual units, for three spatial axes.

    Parameters
    ----------
    n_channels : int
        Number of input channels.
    n_classes : int
        Number of output channels.
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
    gradient_checkpointing : bool
        Compute activations again in the backward pass instead of keeping them: less memory, more time.

    Raises
    ------
    ModelArgumentError
        A number is out of range, or `channels` and `strides` do not go together.
    MissingExtraError
        MONAI is not installed.
    """

    def __init__(
        self,
        n_channels: int,
        n_classes: int,
        channels: tuple[int, ...] = (32, 64, 128, 256, 512),
        strides: tuple[int, ...] = (2, 2, 2, 2),
        num_res_units: int = 2,
        norm: NormName = "instance",
        dropout: float = 0.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        multiple = math.prod(strides)
        super().__init__("MonaiUNet", n_channels, n_classes, multiple=multiple)
        self.channels = tuple(channels)
        self.strides = tuple(strides)
        self.num_res_units = num_res_units
        self.norm = norm
        self.dropout = dropout
        self.gradient_checkpointing = gradient_checkpointing
        _check_numbers("MonaiUNet", channels=self.channels, strides=self.strides)
        check_least("MonaiUNet", 0, num_res_units=num_res_units)
        if len(self.channels) != len(self.strides) + 1 or max(self.strides) > 2 or not 0 <= dropout < 1:
            raise ModelArgumentError(
                f"MonaiUNet: channels={self.channels} must be one more than strides={self.strides}, which are 1 or 2, "
                f"and dropout={dropout} from 0 and below 1"
            )
        self.net = _monai_class("UNet")(
            3, n_channels, n_classes, self.channels, self.strides,
            num_res_units=num_res_units, norm=_NORMS[norm], dropout=dropout,
        )  # fmt: skip

    def compute(self, x: Tensor) -> Tensor:
        """Map an input of a size that MONAI's network takes to logits."""
        if not self.gradient_checkpointing:
            return super().compute(x)
        ways_up: list[tuple[nn.Module, Tensor]] = []
        block: Any = self.net.model
        for _ in self.strides:  # a block is [down, the block below with a skip connection, up]
            down, skip, up = block.children()
            x = recomputed(down, x, enabled=True)
            ways_up.append((up, x))
            block = skip.submodule
        x = recomputed(block, x, enabled=True)
        for up, kept in reversed(ways_up):
            x = recomputed(up, torch.cat([kept, x], dim=1), enabled=True)
        return x


class SwinUNETR(MonaiNetwork):
    """MONAI's SwinUNETR, for three spatial axes.

    Parameters
    ----------
    n_channels : int
        Number of input channels.
    n_classes : int
        Number of output channels.
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
    gradient_checkpointing : bool
        Compute activations again in the backward pass instead of keeping them: less memory, more time.

    Raises
    ------
    ModelArgumentError
        A number is out of range.
    MissingExtraError
        MONAI is not installed.
    """

    def __init__(
        self,
        n_channels: int,
        n_classes: int,
        feature_size: int = 24,
        depths: tuple[int, int, int, int] = (2, 2, 2, 2),
        num_heads: tuple[int, int, int, int] = (3, 6, 12, 24),
        window_size: Literal[3, 5, 7] = 7,
        dropout: float = 0.0,
        use_v2: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__("SwinUNETR", n_channels, n_classes, multiple=32)
        self.feature_size = feature_size
        self.depths = tuple(depths)
        self.num_heads = tuple(num_heads)
        self.window_size = window_size
        self.dropout = dropout
        self.use_v2 = use_v2
        self.gradient_checkpointing = gradient_checkpointing
        _check_numbers("SwinUNETR", feature_size=(feature_size,), depths=self.depths, num_heads=self.num_heads)
        widths = [feature_size * 2**stage for stage in range(4)]
        if feature_size % 12 or any(wide % heads for wide, heads in zip(widths, self.num_heads, strict=True)):
            raise ModelArgumentError(
                f"SwinUNETR: feature_size={feature_size} must be a multiple of 12, and of num_heads={self.num_heads} "
                f"each must divide the channels of its stage, {tuple(widths)}"
            )
        if not 0 <= dropout < 1:
            raise ModelArgumentError(f"SwinUNETR: dropout={dropout} must be from 0 and below 1")
        self.net = _monai_class("SwinUNETR")(
            in_channels=n_channels, out_channels=n_classes, feature_size=feature_size, depths=self.depths,
            num_heads=self.num_heads, window_size=window_size, drop_rate=dropout, use_v2=use_v2,
            use_checkpoint=gradient_checkpointing,
        )  # fmt: skip


def _monai_class(name: str) -> Callable[..., nn.Module]:
    """Import a network of MONAI.

    Raises
    ------
    MissingExtraError
        MONAI is not installed.
    """
    nets = import_extra("monai.networks.nets", extra=EXTRA, purpose=f"{name}, a network of MONAI,")
    found: Callable[..., nn.Module] = getattr(nets, name)
    return found


def _check_numbers(model: str, **values: tuple[int, ...]) -> None:
    wrong = [f"{name}={numbers}" for name, numbers in values.items() if min(numbers, default=0) < 1]
    if wrong:
        raise ModelArgumentError(f"{model}: {', '.join(wrong)}: must be positive numbers")


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
        default_parameters=5_749_410,
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
        default_parameters=19_221_797,
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
        default_parameters=15_703_004,
    ),
)
