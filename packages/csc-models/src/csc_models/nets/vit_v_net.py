"""The challenge's ViT-V-Net: ``vitnet``, a transformer between a convolutional encoder and decoder.

Names of parts are those of the challenge's toolbox, so that state dicts saved by it load strictly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from csc_models.errors import ModelArgumentError, nearest
from csc_models.nets.layers import check_batch_statistics, check_input, check_least, crop_end
from csc_models.nets.recomputation import recomputed
from csc_models.nets.transformer import PATCH, STRIDE, Attention, Transformer, ViTVNetConfig, resized_positions
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
    config : "ViT-V-Net", ViTVNetConfig, mapping, or ConfigDict of the challenge's toolbox
        Sizes of the network; the name stands for the published ones.
    img_size : tuple of int
        Size (z, y, x) in voxels that the position embeddings are learned for; multiples of 32. Inputs of other sizes
        work as well, with interpolated position embeddings.
    vis : bool
        Keep the attention weights of the last forward pass in `attention_weights`; needs more memory.
    n_channels : int
        Number of input channels; those of a `config` that has them.
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
        config: object = "ViT-V-Net",
        img_size: tuple[int, int, int] = (128, 128, 128),
        vis: bool = False,
        n_channels: int = 1,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.config, stored_channels = _parse_config(config)
        if stored_channels not in (None, n_channels) and n_channels != 1:
            raise ModelArgumentError(
                f"ViTVNet: n_channels={n_channels}, and config has input_channels={stored_channels}"
            )
        self.img_size = tuple(img_size)
        self.vis = vis
        self.n_channels = n_channels = stored_channels or n_channels
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


def _parse_config(config: object) -> tuple[ViTVNetConfig, int | None]:
    """Return the sizes, and the input channels if they are among them, as in the toolbox's `ConfigDict`."""
    if config == "ViT-V-Net":
        return ViTVNetConfig(), None
    if isinstance(config, ViTVNetConfig):
        return _checked(config), None
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    if not isinstance(config, Mapping):
        raise ModelArgumentError(f"ViTVNet: there is no config {config!r}; the published one is 'ViT-V-Net'")
    given = {**config, **config.get("transformer", {})}
    given.pop("transformer", None)
    n_channels = given.pop("input_channels", None)
    # What the toolbox lets people write, and what fits the rest of its network in one way only, or is not looked at.
    fixed = {name: given.pop(name) for name in ("down_factor", "down_num", "n_skip", "skip_channels") if name in given}
    given.pop("patch_size", None)
    size = given.pop("patches", {}).get("size", PATCH)
    known = [entry.name for entry in fields(ViTVNetConfig)]
    for name in given:
        if name not in known:
            raise ModelArgumentError(f"ViTVNet: config has no field {name!r}{nearest(name, known)}")
    sizes: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    made = _checked(ViTVNetConfig(**sizes))
    full, half, quarter = made.encoder_channels
    only = {"down_factor": 2, "down_num": 2, "n_skip": 5, "skip_channels": (quarter, quarter, quarter, half, full)}
    for name, value in {**fixed, "patches.size": size}.items():
        wanted = only.get(name, (PATCH,) * 3)
        found = tuple(value) if isinstance(value, (list, tuple)) else (value,) * 3 if name == "patches.size" else value
        if found != wanted:
            raise ModelArgumentError(f"ViTVNet: {name}={value!r} of config does not fit the rest of it: give {wanted}")
    return made, n_channels


def _checked(config: ViTVNetConfig) -> ViTVNetConfig:
    """Check that the parts of a network of these sizes fit each other."""
    for name, count in (("encoder_channels", 3), ("decoder_channels", 5)):
        given = getattr(config, name)
        if not isinstance(given, tuple) or len(given) != count:
            raise ModelArgumentError(f"ViTVNet: {name}={given!r} must be {count} numbers")
        check_least("ViTVNet", **{f"{name}[{index}]": value for index, value in enumerate(given)})
    check_least(
        "ViTVNet", hidden_size=config.hidden_size, mlp_dim=config.mlp_dim, num_heads=config.num_heads,
        conv_first_channel=config.conv_first_channel,
    )  # fmt: skip
    check_least("ViTVNet", least=0, num_layers=config.num_layers)
    if config.hidden_size % config.num_heads:
        raise ModelArgumentError(
            f"ViTVNet: hidden_size={config.hidden_size} is not a multiple of num_heads={config.num_heads}"
        )
    for name in ("attention_dropout_rate", "dropout_rate"):
        if not 0 <= getattr(config, name) <= 1:
            raise ModelArgumentError(f"ViTVNet: {name}={getattr(config, name)} is not between 0 and 1")
    return config


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
