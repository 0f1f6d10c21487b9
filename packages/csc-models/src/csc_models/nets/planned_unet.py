"""U-Nets as nnU-Net plans them, with a residual encoder (``3d_resenc_unet``) or a plain one (``3d_plain_unet``).

Kernels, strides, widths and depths are given per resolution; `csc_models.nets.plans` reads them from a plans file. The
defaults are the "ResEnc M" plan and the plain one for three axes. Names of parts are those of the published
implementation (dynamic-network-architectures), so that its weights load, but for heads that are not used.

Source: Isensee et al., nnU-Net revisited, 2024, https://arxiv.org/abs/2404.09556
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from csc_models.nets.layers import (
    AVERAGE_POOL,
    BATCH_NORM,
    CONVOLUTION,
    DROPOUT,
    INSTANCE_NORM,
    TRANSPOSED,
    crop_end,
)
from csc_models.nets.network import Network
from csc_models.nets.planned_stages import Axes, Stage, field_of_view, minimum, size_rule, spell_out
from csc_models.nets.recomputation import recomputed
from csc_models.specification import ModelSpec

PerStage = int | tuple[int, ...]
PerAxis = int | tuple[int | tuple[int, ...], ...]
NormOption = Literal["instance", "batch", "none"]
Nonlinearity = Literal["leaky_relu", "relu", "prelu", "elu", "gelu", "silu", "none"]

_NONLINEARITIES: dict[str, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "none": nn.Identity,
}


@dataclass(eq=False, repr=False)
class PlannedUNet(Network):
    """U-Net for two or three spatial axes; the base of the two below.

    Parameters
    ----------
    n_channels, n_classes, gradient_checkpointing
        See `Network`.
    features : tuple of int
        Channels per stage, from full resolution down. At least two.
    blocks : int or tuple of int
        Residual blocks, or plain convolutions, per stage of the encoder.
    decoder_blocks : int or tuple of int
        Convolutions per stage of the decoder, from coarse to fine; one stage fewer than `features`.
    kernels : int or tuple
        Kernel size of all convolutions, per stage, or per stage and axis; odd.
    strides : int or tuple
        By how much each stage is coarser than the one before; as `kernels`. The first must have 1 if all are given.
    conv_bias : bool
        Convolutions have a bias, but for those of 1 voxel beside residual blocks.
    norm : {"instance", "batch", "none"}
        Normalisation after each convolution.
    norm_eps : float
        What it adds to variances.
    norm_affine : bool
        It has learned scale and offset.
    nonlinearity : {"leaky_relu", "relu", "prelu", "elu", "gelu", "silu", "none"}
        What follows the normalisation.
    slope : float
        Slope of leaky ReLU below 0.
    dropout : float
        Share of channels that training leaves out after convolutions.
    deep_supervision : bool
        Return logits of all stages but the coarsest, as a list, largest first.
    """

    residual: ClassVar[bool]

    features: tuple[int, ...] = (32, 64, 128, 256, 320, 320)
    blocks: PerStage = 2
    decoder_blocks: PerStage = 2
    kernels: PerAxis = 3
    strides: PerAxis = 2
    conv_bias: bool = True
    norm: NormOption = "instance"
    norm_eps: float = 1e-5
    norm_affine: bool = True
    nonlinearity: Nonlinearity = "leaky_relu"
    slope: float = 0.01
    dropout: float = 0.0
    deep_supervision: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.norm_eps >= 0, f"norm_eps={self.norm_eps} must not be below 0")
        stages = spell_out(self.ndim, vars(self))
        self.minimum = minimum(stages)
        self.encoder = Encoder(self, stages)
        self.decoder = Decoder(self, stages)
        self._initialise()

    def _compute(self, x: Tensor) -> Tensor | list[Tensor]:
        levels = self.encoder(x, self.gradient_checkpointing)
        outputs: list[Tensor] = self.decoder(levels, self.gradient_checkpointing)
        return outputs if self.deep_supervision else outputs[0]

    def normalisation(self, channels: int) -> nn.Module:
        """Make the layer that normalises so many channels."""
        if self.norm == "none":
            return nn.Identity()
        classes = INSTANCE_NORM if self.norm == "instance" else BATCH_NORM
        return classes[self.ndim](channels, eps=self.norm_eps, affine=self.norm_affine)

    def activation(self) -> nn.Module:
        """Make the layer that follows the normalisation."""
        if self.nonlinearity == "leaky_relu":
            return nn.LeakyReLU(self.slope, inplace=True)
        return _NONLINEARITIES[self.nonlinearity]()

    def _initialise(self) -> None:
        """Start with He's weights, and with blocks that pass their input through."""
        for part in self.modules():
            if isinstance(part, tuple({*CONVOLUTION.values(), *TRANSPOSED.values()})):
                assert isinstance(part.weight, Tensor)
                nn.init.kaiming_normal_(part.weight, a=0.01)
                if isinstance(part.bias, Tensor):
                    nn.init.zeros_(part.bias)
            elif isinstance(part, ResidualBlock):
                for weights in part.conv2.norm.parameters():
                    nn.init.zeros_(weights)


@dataclass(eq=False, repr=False)
class ResEncUNet(PlannedUNet):
    """nnU-Net's U-Net with a residual encoder; arguments are those of `PlannedUNet`."""

    residual = True

    blocks: PerStage = (1, 3, 4, 6, 6, 6)
    decoder_blocks: PerStage = 1


@dataclass(eq=False, repr=False)
class PlainUNet(PlannedUNet):
    """nnU-Net's plain U-Net; arguments are those of `PlannedUNet`."""

    residual = False


class Convolution(nn.Module):
    """Convolution, normalisation and, unless it is left out, nonlinearity."""

    def __init__(
        self, plan: PlannedUNet, channels: int, wide: int, kernel: Axes, stride: Axes = 1,
        activated: bool = True, bias: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = CONVOLUTION[plan.ndim](
            channels, wide, kernel, stride, padding=tuple(size // 2 for size in kernel),
            bias=plan.conv_bias if bias is None else bias,
        )  # fmt: skip
        self.dropout = DROPOUT[plan.ndim](plan.dropout) if activated and plan.dropout else nn.Identity()
        self.norm = plan.normalisation(wide)
        self.nonlin = plan.activation() if activated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ... / stride)."""
        result: Tensor = self.nonlin(self.norm(self.dropout(self.conv(x))))
        return result


class Pooling(nn.Module):
    """Means of windows; sizes are rounded up, as by a convolution with a stride."""

    def __init__(self, ndim: int, stride: Axes) -> None:
        super().__init__()
        self.pool = AVERAGE_POOL[ndim](stride, ceil_mode=True)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, channels, ... / stride)."""
        pool, sizes = self.pool, x.shape[2:]
        if any(size < step for size, step in zip(sizes, self.stride, strict=True)):  # which torch refuses
            pool = type(pool)(tuple(map(min, sizes, self.stride)), ceil_mode=True)
        result: Tensor = pool(x)
        return result


class ResidualBlock(nn.Module):
    """Two convolutions, the first with a stride, whose result is added to the pooled and projected input."""

    def __init__(self, plan: PlannedUNet, channels: int, stage: Stage, stride: Axes) -> None:
        super().__init__()
        wide = stage.features
        self.conv1 = Convolution(plan, channels, wide, stage.kernel, stride)
        self.conv2 = Convolution(plan, wide, wide, stage.kernel, activated=False)
        self.nonlin2 = plan.activation()
        self.skip = nn.Sequential()
        if max(stride) > 1:
            self.skip.append(Pooling(plan.ndim, stride))
        if channels != wide:
            self.skip.append(Convolution(plan, channels, wide, (1,) * plan.ndim, activated=False, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ... / stride)."""
        result: Tensor = self.nonlin2(self.conv2(self.conv1(x)) + self.skip(x))
        return result


class ResidualBlocks(nn.Module):
    """Residual blocks of one resolution."""

    def __init__(self, plan: PlannedUNet, channels: int, stage: Stage) -> None:
        super().__init__()
        self.blocks = nn.Sequential(ResidualBlock(plan, channels, stage, stage.stride))
        for _ in range(stage.blocks - 1):
            self.blocks.append(ResidualBlock(plan, stage.features, stage, (1,) * plan.ndim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, features, ... / stride)."""
        result: Tensor = self.blocks(x)
        return result


class Convolutions(nn.Module):
    """Convolutions of one resolution without residuals."""

    def __init__(self, plan: PlannedUNet, channels: int, stage: Stage, count: int, stride: Axes = 1) -> None:
        super().__init__()
        self.convs = nn.Sequential(Convolution(plan, channels, stage.features, stage.kernel, stride))
        for _ in range(count - 1):
            self.convs.append(Convolution(plan, stage.features, stage.features, stage.kernel))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, features, ... / stride)."""
        result: Tensor = self.convs(x)
        return result


class Encoder(nn.Module):
    """From full to the coarsest resolution."""

    def __init__(self, plan: PlannedUNet, stages: list[Stage]) -> None:
        super().__init__()
        before = [plan.n_channels, *[stage.features for stage in stages]]
        self.stem: nn.Module = nn.Identity()
        if plan.residual:
            self.stem = Convolutions(plan, plan.n_channels, stages[0], count=1)
            before[0] = stages[0].features
        self.stages = nn.ModuleList(
            ResidualBlocks(plan, channels, stage)
            if plan.residual
            else nn.Sequential(Convolutions(plan, channels, stage, stage.blocks, stage.stride))
            for channels, stage in zip(before, stages, strict=False)
        )

    def forward(self, x: Tensor, save_memory: bool) -> list[Tensor]:
        """Return the features of each stage, from fine to coarse."""
        x = recomputed(self.stem, x, enabled=save_memory)
        levels: list[Tensor] = []
        for stage in self.stages:
            x = recomputed(stage, x, enabled=save_memory)
            levels.append(x)
        return levels


class Decoder(nn.Module):
    """From the coarsest resolution back, with a head per stage that gives an output."""

    def __init__(self, plan: PlannedUNet, stages: list[Stage]) -> None:
        super().__init__()
        pairs = list(zip(stages[:0:-1], stages[-2::-1], strict=True))
        self.stages = nn.ModuleList(
            Convolutions(plan, 2 * stage.features, stage, stage.decoder_blocks) for _, stage in pairs
        )
        self.transpconvs = nn.ModuleList(
            TRANSPOSED[plan.ndim](coarse.features, stage.features, coarse.stride, coarse.stride, bias=plan.conv_bias)
            for coarse, stage in pairs
        )
        supervised = range(len(pairs)) if plan.deep_supervision else [len(pairs) - 1]
        # Numbered as in the published implementation, which has all heads whether they are used or not.
        self.seg_layers = nn.ModuleDict(
            {str(index): CONVOLUTION[plan.ndim](pairs[index][1].features, plan.n_classes, 1) for index in supervised}
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


SPECS = tuple(
    ModelSpec(
        name=f"{ndim}d_{name}",
        builder=builder,
        fixed={"ndim": ndim},
        summary=f"nnU-Net's {ndim}D {words} by any plan, with deep supervision if asked",
        ndim=ndim,
        source=f"Isensee et al., {source}",
        sizes=partial(size_rule, ndim),
        receptive_field=partial(field_of_view, builder.residual, ndim),
        encoder=("encoder.",),
        aliases=aliases,
    )
    for ndim in (2, 3)
    for name, builder, words, source, aliases in (
        (
            "resenc_unet",
            ResEncUNet,
            "residual-encoder U-Net",
            "nnU-Net revisited, 2024, https://arxiv.org/abs/2404.09556",
            (),
        ),
        (
            "plain_unet",
            PlainUNet,
            "plain U-Net, which is MONAI's DynUNet, too,",
            "nnU-Net, 2021, https://doi.org/10.1038/s41592-020-01008-z",
            (f"{ndim}d_dynunet",),
        ),
    )
)
