"""The COSEM project's U-Nets, whose published weights load: ``cosem_setup04`` and others.

Convolutions are valid, so that the output is smaller than the input, and what the network says of a voxel does not
depend on where the patch lies: after each upsampling the features are cropped to multiples of the strides below.
Names of parts are those of the published port (cellmap-models), so that its state dicts load strictly.

Source: Heinrich et al., Whole-cell organelle segmentation in volume electron microscopy, 2021,
https://doi.org/10.1038/s41586-021-03977-3
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from csc_models.errors import ModelArgumentError
from csc_models.nets.cosem_setups import SETUPS, SetupName
from csc_models.nets.layers import check_least, check_sizes, crop_centre
from csc_models.nets.network import Network
from csc_models.nets.recomputation import recomputed
from csc_models.nets.valid_sizes import cropped_size, output_rule, size_rule, valid_receptive_field
from csc_models.specification import (
    DESCRIPTION_ATTRIBUTE,
    ModelDescription,
    ModelSpec,
)

FACTORS = (2, 3, 3)


class ConvPass(nn.Module):
    """Twice valid convolution and ReLU."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.conv_pass = nn.Sequential(
            nn.Conv3d(channels, wide, kernel_size=3),
            nn.ReLU(inplace=True),
            nn.Conv3d(wide, wide, kernel_size=3),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ... - 4)."""
        result: Tensor = self.conv_pass(x)
        return result


class Upsampling(nn.Module):
    """Repeat voxels and mix channels; ReLU if asked.

    Channels are mixed before voxels are repeated, which gives the same numbers for a fraction of the work.
    """

    def __init__(self, channels: int, wide: int, factor: int, relu: bool) -> None:
        super().__init__()
        parts: list[tuple[str, nn.Module]] = [("1", nn.Conv3d(channels, wide, kernel_size=1))]
        if relu:
            parts.append(("2", nn.ReLU(inplace=True)))
        self.up = nn.Sequential(OrderedDict(parts))
        self.repeat = nn.Upsample(scale_factor=factor, mode="nearest") if factor > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, wide, ... * factor)."""
        result: Tensor = self.repeat(self.up(x))
        return result


class _Backbone(nn.Module):
    """Down and up again; each level has a crop after upsampling that keeps translations of the input visible."""

    def __init__(self, n_channels: int, features: tuple[int, ...], factors: tuple[int, ...], relu: bool) -> None:
        super().__init__()
        before = (n_channels, *features[:-1])
        upwards = _features_up(features)
        levels = range(len(factors))
        self.crops = tuple(math.prod(factors[level:]) for level in levels)
        self.l_conv = nn.ModuleList(ConvPass(*pair) for pair in zip(before, features, strict=True))
        self.l_down = nn.ModuleList(nn.MaxPool3d(factor) for factor in factors)
        # The published networks have one of several possible ways up, in a list.
        self.r_up = nn.ModuleList(
            [nn.ModuleList(Upsampling(upwards[lv + 1], upwards[lv], factors[lv], relu) for lv in levels)]
        )
        self.r_conv = nn.ModuleList([nn.ModuleList(ConvPass(upwards[lv] + features[lv], upwards[lv]) for lv in levels)])

    def forward(self, x: Tensor, save_memory: bool) -> Tensor:
        """Map (B, n_channels, z, y, x) to features at the resolution of the input."""
        skips: list[Tensor] = []
        for level, convolve in enumerate(self.l_conv):
            x = recomputed(convolve, x, enabled=save_memory)
            if level < len(self.l_down):
                skips.append(x)
                x = self.l_down[level](x)
        ways_up, ways = self.r_up[0].children(), self.r_conv[0].children()
        stages = list(zip(ways_up, ways, self.crops, strict=True))
        for up, convolve, factor in reversed(stages):
            x = recomputed(up, x, enabled=save_memory)
            sizes = [cropped_size(size, factor) for size in x.shape[2:]]
            joined = torch.cat([crop_centre(skips.pop(), sizes), crop_centre(x, sizes)], dim=1)
            x = recomputed(convolve, joined, enabled=save_memory)
        return x


@dataclass(eq=False, repr=False)
class CosemUNet(Network):
    """One of the COSEM project's networks, for three spatial axes.

    Its output is smaller than its input and may be finer: 216 voxels of 8 nm give 68 voxels of 4 nm with the same
    centre. The published weights give tanh-scaled signed distances, above 0 inside, for raw data in [-1, 1].

    Parameters
    ----------
    setup : {"04", "26.1", "28", "36", "45"}
        Which of the networks: its classes, and whether the output is finer than the input (all but 45).
    n_channels, gradient_checkpointing
        See `Network`.
    n_classes : int, optional
        Number of output channels; as many as the setup has classes by default.
    features : tuple of int
        Channels per level on the way down.
    factors : tuple of int
        By how much each level but the first is coarser than the one before.
    upsampling_relu : bool
        ReLU after each upsampling. The networks that the published weights come from have it; the published port
        (cellmap-models) leaves it out, and what was trained with that needs False.
    """

    setup: SetupName = field(kw_only=True)
    ndim: int = field(default=3, init=False)
    n_channels: int = 1
    n_classes: int | None = None  # type: ignore[assignment]  # a number when it is built
    features: tuple[int, ...] = (12, 72, 432, 2592)
    factors: tuple[int, ...] = FACTORS
    upsampling_relu: bool = True

    def __post_init__(self) -> None:
        if self.setup not in SETUPS:
            raise ModelArgumentError(f"CosemUNet: there is no setup {self.setup!r}; there are {', '.join(SETUPS)}")
        setup, relu = SETUPS[self.setup], self.upsampling_relu
        if self.n_classes is None:
            self.n_classes = len(setup.classes)
        super().__post_init__()
        right = len(self.features) == len(self.factors) + 1 and min((2, *self.factors)) > 1
        self._require(right, f"factors={self.factors} must be from 2, and one fewer than features={self.features}")
        wide = _features_up(self.features)[0]
        self.backbone = nn.Sequential(
            _Backbone(self.n_channels, self.features, self.factors, relu),
            Upsampling(wide, wide, setup.upsampling, relu),
            ConvPass(wide, wide),
        )
        self.prediction_head = nn.Conv3d(wide, self.n_classes, kernel_size=1)
        self.sizes = size_rule(self.factors, setup.upsampling)

    def _compute(self, x: Tensor) -> Tensor:
        """Map to (B, n_classes, ...), the centre of the input, with valid convolutions."""
        check_sizes("CosemUNet", x, self.sizes)
        save_memory = self.gradient_checkpointing
        unet, *last = self.backbone.children()
        x = unet(x, save_memory)
        for part in last:
            x = recomputed(part, x, enabled=save_memory)
        values: Tensor = self.prediction_head(x)
        return values

    def with_head(self, n_classes: int) -> CosemUNet:
        """Return a copy of the network for other classes: the same weights, and a new head.

        Parameters
        ----------
        n_classes : int
            Number of output channels.
        """
        check_least("CosemUNet", n_classes=n_classes)
        other = copy.deepcopy(self)
        old = self.prediction_head
        other.n_classes = n_classes
        other.prediction_head = nn.Conv3d(
            old.in_channels, n_classes, kernel_size=1, device=old.weight.device, dtype=old.weight.dtype
        )
        recorded = getattr(other, DESCRIPTION_ATTRIBUTE, None)
        if isinstance(recorded, ModelDescription):
            updated = replace(recorded, arguments={**recorded.arguments, "n_classes": n_classes})
            object.__setattr__(other, DESCRIPTION_ATTRIBUTE, updated)
        return other

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights as every module does, also those of the published files, whose keys have other names."""
        return super().load_state_dict(self.adapt_state_dict(state_dict), strict, assign)

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename keys of published files to this network's."""
        adapted: dict[str, Tensor] = {}
        for key, value in state.items():
            if key.startswith("chain.") and _is_repeated(key, value, state):
                continue
            adapted[key.replace("architecture.", "").replace("unet.", "backbone.", 1)] = value
        return self._with_final_upsampling(adapted)

    def _with_final_upsampling(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Fill in the mixing of channels for a file of a network without final upsampling.

        As the features come out of a ReLU, the identity is what such a network computes.
        """
        final = {key: value for key, value in state.items() if key.startswith("backbone.1.conv_pass.")}
        if SETUPS[self.setup].upsampling > 1 or not final or "backbone.1.up.1.weight" in state:
            return state
        moved = {key: value for key, value in state.items() if key not in final}
        moved.update({key.replace("backbone.1.", "backbone.2.", 1): value for key, value in final.items()})
        like = next(iter(final.values()))
        wide = _features_up(self.features)[0]
        moved["backbone.1.up.1.weight"] = torch.eye(wide, dtype=like.dtype, device=like.device).view(
            wide, wide, 1, 1, 1
        )
        moved["backbone.1.up.1.bias"] = torch.zeros(wide, dtype=like.dtype, device=like.device)
        return moved


def _features_up(features: tuple[int, ...]) -> tuple[int, ...]:
    """Channels per level on the way up: at full resolution as many as one level below."""
    return (features[1], *features[1:])


def _is_repeated(key: str, value: Tensor, state: Mapping[str, Tensor]) -> bool:
    """Whether published files hold an entry of ``chain`` under its proper name as well."""
    proper = key.replace("chain.0.", "architecture.", 1).replace("chain.1.", "prediction_head.", 1)
    return proper in state and torch.equal(state[proper], value)


def _spec(name: SetupName) -> ModelSpec:
    setup = SETUPS[name]
    finer = f"{setup.input_nm} nm in, {setup.output_nm} nm out"
    return ModelSpec(
        name=f"cosem_setup{name}",
        aliases=(f"cosem_setup{name.replace('.', '_')}",) if "." in name else (),
        builder=CosemUNet,
        fixed={"setup": name},
        summary=f"the COSEM project's network for {', '.join(setup.classes)}, with published weights; {finer}",
        ndim=3,
        source="Heinrich et al., Whole-cell organelle segmentation, 2021, https://doi.org/10.1038/s41586-021-03977-3",
        sizes=lambda arguments: size_rule(arguments["factors"], setup.upsampling),
        receptive_field=lambda arguments: valid_receptive_field(arguments["factors"], setup.upsampling),
        output=lambda arguments: output_rule(arguments["factors"], setup.upsampling),
        encoder=("backbone.0.l_conv.",),
    )


SPECS = tuple(_spec(name) for name in SETUPS)
