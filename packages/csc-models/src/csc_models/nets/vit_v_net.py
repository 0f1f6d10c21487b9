"""The challenge's ViT-V-Net: ``vitnet``, a transformer between a convolutional encoder and decoder.

Names of parts are those of the challenge's toolbox, so that state dicts saved by it load strictly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from csc_models.errors import ModelArgumentError, nearest
from csc_models.nets.layers import check_batch_statistics, check_input, check_least, crop_end
from csc_models.nets.recomputation import recomputed
from csc_models.nets.transformer import STRIDE, Attention, Transformer, ViTVNetConfig, resized_positions
from csc_models.specification import ModelSpec, SizeRule

_POSITIONS = "transformer.embeddings.position_embeddings"


class ConvolutionBlock(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__(
            nn.Conv3d(channels, wide, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm3d(wide),
            nn.ReLU(inplace=True),
        )


class DecoderBlock(nn.Module):
    """Double the resolution, join with the skip connection, convolve twice."""

    def __init__(self, channels: int, skip_channels: int, wide: int) -> None:
        super().__init__()
        self.conv1 = ConvolutionBlock(channels + skip_channels, wide)
        self.conv2 = ConvolutionBlock(wide, wide)
        self.up = nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map coarse features and the skip connection's to features of the skip's size."""
        joined = torch.cat([self.up(x), skip], dim=1)
        result: Tensor = self.conv2(self.conv1(joined))
        return result


class Decoder(nn.Module):
    """From patches back to voxels."""

    def __init__(self, config: ViTVNetConfig) -> None:
        super().__init__()
        full, half, quarter = config.encoder_channels
        skip_channels = (quarter, quarter, quarter, half, full)
        channels = (config.conv_first_channel, *config.decoder_channels[:-1])
        self.conv_more = ConvolutionBlock(config.hidden_size, config.conv_first_channel)
        self.blocks = nn.ModuleList(
            DecoderBlock(*sizes) for sizes in zip(channels, skip_channels, config.decoder_channels, strict=True)
        )

    def forward(self, x: Tensor, skips: list[Tensor], save_memory: bool) -> Tensor:
        """Map features of patches (B, hidden, z, y, x) and skips from coarse to fine to features of voxels."""
        x = recomputed(self.conv_more, x, enabled=save_memory)
        for block, skip in zip(self.blocks, skips, strict=True):
            x = recomputed(block, x, skip, enabled=save_memory)
        return x


class ViTVNet(nn.Module):
    """The challenge's ViT-V-Net, for three spatial axes.

    Parameters
    ----------
    out_channels : int
        Number of output channels.
    config : "ViT-V-Net", ViTVNetConfig or mapping
        Sizes of the network; the name stands for the published ones.
    img_size : tuple of int
        Size (z, y, x) in voxels that the position embeddings are learned for; multiples of 32. Inputs of other sizes
        work as well, with interpolated position embeddings.
    vis : bool
        Keep the attention weights of the last forward pass in `attention_weights`; needs more memory.
    n_channels : int
        Number of input channels.
    gradient_checkpointing : bool
        Compute activations again in the backward pass instead of keeping them: less memory, more time.

    Raises
    ------
    ModelArgumentError
        A number is out of range, or a field of `config` is not known.
    """

    def __init__(
        self,
        out_channels: int,
        config: Literal["ViT-V-Net"] | ViTVNetConfig | Mapping[str, Any] = "ViT-V-Net",
        img_size: tuple[int, int, int] = (128, 128, 128),
        vis: bool = False,
        n_channels: int = 1,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.config = _parse_config(config)
        self.img_size = tuple(img_size)
        self.vis = vis
        self.n_channels = n_channels
        self.gradient_checkpointing = gradient_checkpointing
        check_least("ViTVNet", out_channels=out_channels, n_channels=n_channels)
        if len(self.img_size) != 3 or any(size < STRIDE or size % STRIDE for size in self.img_size):
            raise ModelArgumentError(f"ViTVNet: img_size={img_size} must be three multiples of {STRIDE}")

        grid = tuple(size // STRIDE for size in self.img_size)
        self.transformer = Transformer(self.config, n_channels, grid, vis)
        self.decoder = Decoder(self.config)
        head = nn.Conv3d(self.config.decoder_channels[-1], out_channels, kernel_size=3, padding=1)
        # The published network starts from outputs that are nearly zero.
        nn.init.normal_(head.weight, std=1e-5)
        nn.init.zeros_(head.bias)  # type: ignore[arg-type]  # a convolution has a bias unless told otherwise
        self.reg_head = nn.Sequential(head)

    @property
    def attention_weights(self) -> list[Tensor]:
        """Attention of the last forward pass per layer, (B, heads, patches, patches); empty without `vis`."""
        layers = [part for part in self.modules() if isinstance(part, Attention)]
        return [layer.kept_weights for layer in layers if layer.kept_weights is not None]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, z, y, x) to logits (B, out_channels, z, y, x).

        Sizes that are not multiples of 32 are padded inside, by repeating the last voxels, and cut back.

        Raises
        ------
        InputShapeError
            Wrong number of axes or channels.
        """
        check_input("ViTVNet", x, 3, self.n_channels, minimum=1)
        sizes = x.shape[2:]
        lacking = [-size % STRIDE for size in sizes]
        if any(lacking):
            x = functional.pad(x, [0, lacking[2], 0, lacking[1], 0, lacking[0]], mode="replicate")
        if self.training:
            check_batch_statistics("ViTVNet", x, STRIDE)
        patches, skips = self.transformer(x, self.gradient_checkpointing)
        features = self.decoder(patches, skips, self.gradient_checkpointing)
        logits: Tensor = self.reg_head(features)
        return crop_end(logits, sizes)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights as every module does, with position embeddings interpolated where they need it."""
        return super().load_state_dict(self.adapt_state_dict(state_dict), strict, assign)

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Interpolate position embeddings that were learned for another cubic image size to this network's."""
        adapted = dict(state)
        learned = adapted.get(_POSITIONS)
        own = self.transformer.embeddings
        if learned is None or learned.shape == own.position_embeddings.shape or learned.ndim != 3:
            return adapted
        edge = round(learned.shape[1] ** (1 / 3))
        if edge**3 == learned.shape[1] and learned.shape[2] == own.position_embeddings.shape[2]:
            adapted[_POSITIONS] = resized_positions(learned, (edge, edge, edge), own.grid)
        return adapted


def _parse_config(config: str | ViTVNetConfig | Mapping[str, Any]) -> ViTVNetConfig:
    if isinstance(config, ViTVNetConfig):
        return config
    if isinstance(config, str):
        if config != "ViT-V-Net":
            raise ModelArgumentError(f"ViTVNet: there is no config {config!r}; the published one is 'ViT-V-Net'")
        return ViTVNetConfig()
    known = [entry.name for entry in fields(ViTVNetConfig)]
    for name in config:
        if name not in known:
            raise ModelArgumentError(f"ViTVNet: config has no field {name!r}{nearest(name, known)}")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in config.items()
    }
    return ViTVNetConfig(**values)


SPECS = (
    ModelSpec(
        name="vitnet",
        builder=ViTVNet,
        summary="the challenge's ViT-V-Net, a transformer between a convolutional encoder and decoder",
        ndim=3,
        source="Chen et al., ViT-V-Net, 2021, https://arxiv.org/abs/2104.06468",
        sizes=lambda _: SizeRule(minimum=1, efficient_multiple=STRIDE, note="best at img_size"),
        receptive_field=lambda _: None,
        classes="out_channels",
        encoder=("transformer.",),
    ),
)
