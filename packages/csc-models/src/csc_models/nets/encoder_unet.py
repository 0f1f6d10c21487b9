"""U-Nets on encoders of timm, which other images have taught: ``2d_encoder_unet`` and ``3d_encoder_unet``.

timm is imported when one of them is built, and not before. It has several hundred encoders with weights, takes images
of one channel by itself, and brings nothing beyond what torchvision needs; the decoder is ours. With three axes the
encoder sees each z plane by itself, and the decoder joins them.

Weights come from the user's cache or a file, never from the network: they are part of a checkpoint afterwards, and the
network is rebuilt from that alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from csc_models.errors import CheckpointMismatchError, CheckpointNotFoundError, ModelArgumentError, nearest
from csc_models.nets.layers import (
    CONVOLUTION,
    check_batch_statistics,
    check_input,
    check_least,
    crop_end,
    normalisation,
)
from csc_models.nets.recomputation import recomputed
from csc_models.optional import import_extra
from csc_models.specification import ModelSpec, SizeRule

EXTRA = "encoders"
CACHED = "cached"
"""The encoder's own published weights, where timm has put them on this machine before."""

_STRIDE = 32  # of the coarsest features of nearly all encoders


class _Joining(nn.Module):
    """Bring coarse features to the size of a skip connection, and convolve both together, twice."""

    def __init__(self, ndim: int, coarse: int, skip: int, wide: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (coarse + skip, wide):
            layers += [CONVOLUTION[ndim](channels, wide, kernel_size=3, padding=1, bias=False)]
            layers += [normalisation("instance", ndim, wide), nn.ReLU(inplace=True)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map features (B, coarse, ...) and the skip connection's to (B, wide, ...) of the skip's size."""
        x = functional.interpolate(x, skip.shape[2:], mode="nearest")
        joined: Tensor = self.conv(torch.cat([x, skip], dim=1))
        return joined


class EncoderUNet(nn.Module):
    """A U-Net whose encoder is one of timm's, for two or three spatial axes.

    Parameters
    ----------
    ndim : int
        Number of spatial axes; with 3 the encoder sees z planes, each by itself.
    n_channels : int
        Number of input channels. Published filters for red, green and blue are added up for one.
    n_classes : int
        Number of output channels.
    encoder : str
        Name of a convolutional network in timm, such as "resnet18" or "convnext_tiny.fb_in22k".
    encoder_weights : str, optional
        "cached" for the encoder's published weights, which timm has downloaded before; or a file of them. A network has
        none of it afterwards: where it is built again, its weights are those of its checkpoint.
    frozen : bool
        Leave the encoder as it is, with its running statistics.
    width : int
        Channels of the finest level of the decoder; each coarser one has twice as many, at most 8 times.
    gradient_checkpointing : bool
        Compute activations again in the backward pass instead of keeping them: less memory, more time.

    Raises
    ------
    ModelArgumentError
        timm has no such encoder, or none that gives features of several sizes, or a number is out of range.
    CheckpointNotFoundError, CheckpointMismatchError
        The weights are not there, or are not those of the encoder.
    MissingExtraError
        timm is not installed.
    """

    def __init__(
        self,
        ndim: int,
        n_channels: int,
        n_classes: int,
        encoder: str = "resnet18",
        encoder_weights: str | None = None,
        frozen: bool = False,
        width: int = 16,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_least("EncoderUNet", n_channels=n_channels, n_classes=n_classes, width=width)
        self.ndim, self.n_channels, self.n_classes = ndim, n_channels, n_classes
        self.frozen, self.width, self.gradient_checkpointing = frozen, width, gradient_checkpointing
        # Of the argument nothing is left: what was loaded is among the weights.
        self.encoder, self.encoder_weights = encoder, None
        backbone: Any = _make_encoder(encoder, n_channels, encoder_weights)
        self.backbone: nn.Module = backbone
        self.stride = int(max(backbone.feature_info.reduction()))
        self.grey = _mean_grey(backbone.pretrained_cfg)
        features = backbone.feature_info.channels()
        widths = [width * min(2**level, 8) for level in range(len(features))]
        # Encoders begin with a stride, and what is one or two voxels thick is to be found.
        self.full = nn.Sequential(
            CONVOLUTION[ndim](n_channels, width, kernel_size=3, padding=1, bias=False),
            normalisation("instance", ndim, width),
            nn.ReLU(inplace=True),
        )
        sizes = zip([*widths[1:], features[-1]], [width, *features[:-1]], widths, strict=True)
        self.decoder = nn.ModuleList(_Joining(ndim, *size) for size in reversed(list(sizes)))
        self.head = CONVOLUTION[ndim](width, n_classes, kernel_size=1)
        if frozen:
            self.backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> EncoderUNet:
        """Go to training or evaluation; an encoder that is frozen stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def to(self, *args: Any, **kwargs: Any) -> EncoderUNet:
        """Move or convert as every module does; with three axes the encoder's weights have two all the same."""
        if kwargs.get("memory_format") == torch.channels_last_3d:
            self.backbone.to(memory_format=torch.channels_last)
            for part in (self.full, self.decoder, self.head):
                part.to(memory_format=kwargs["memory_format"])
            kwargs = {name: value for name, value in kwargs.items() if name != "memory_format"}
        return super().to(*args, **kwargs) if args or kwargs else self

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, [z,] y, x) to logits (B, n_classes, [z,] y, x) of the same spatial size.

        Raw is expected from 0 to 1. Planes are padded to multiples of the encoder's largest stride, by repeating the
        last voxels, and cut back.

        Raises
        ------
        InputShapeError
            Wrong number of axes or channels.
        """
        check_input("EncoderUNet", x, self.ndim, self.n_channels, minimum=1)
        sizes, save_memory = x.shape[2:], self.gradient_checkpointing
        lacking = [-size % self.stride for size in sizes[-2:]]
        if any(lacking):
            padding = [0, lacking[1], 0, lacking[0], *[0, 0] * (self.ndim - 2)]
            x = functional.pad(x, padding, mode="replicate")
        if self.training and not self.frozen:
            check_batch_statistics("EncoderUNet", _as_planes(x), self.stride)
        skips = [recomputed(self.full, x, enabled=save_memory), *self._features(x)]
        x = skips.pop()
        for join in self.decoder:
            x = recomputed(join, x, skips.pop(), enabled=save_memory)
        logits: Tensor = self.head(x)
        return crop_end(logits, sizes)

    def _features(self, x: Tensor) -> list[Tensor]:
        """Return what the encoder says of each plane, from fine to coarse, (B, channels, [z,] y, x)."""
        mean, deviation = self.grey
        found: Any = recomputed(self.backbone, (_as_planes(x) - mean) / deviation, enabled=self.gradient_checkpointing)
        if self.ndim == 2:
            return list(found)
        batch, depth = x.shape[0], x.shape[2]
        return [plane.unflatten(0, (batch, depth)).transpose(1, 2) for plane in found]


def _as_planes(x: Tensor) -> Tensor:
    """Bring z planes (B, C, z, y, x) into the batch, (B * z, C, y, x); planes stay what they are."""
    return x.transpose(1, 2).flatten(0, 1) if x.ndim == 5 else x


def _mean_grey(published: dict[str, Any]) -> tuple[float, float]:
    """Return mean and standard deviation of the images that an encoder was taught with, of all colours together."""
    mean, deviation = (published.get(name) or default for name, default in (("mean", (0.5,)), ("std", (0.25,))))
    return sum(mean) / len(mean), sum(deviation) / len(deviation)


def _make_encoder(name: str, n_channels: int, weights: str | None) -> nn.Module:
    """Build an encoder that gives features of all its sizes.

    Raises
    ------
    ModelArgumentError, CheckpointNotFoundError, CheckpointMismatchError, MissingExtraError
        As `EncoderUNet`.
    """
    timm = import_extra("timm", extra=EXTRA, purpose=f"the encoder {name}")
    if not timm.is_model(name.partition(".")[0]):
        known = timm.list_models()
        raise ModelArgumentError(
            f"timm has no encoder {name!r}{nearest(name, known)}; timm.list_models() has its {len(known)} names"
        )
    given: dict[str, Any] = {"features_only": True, "in_chans": n_channels}
    # Shapes alone are asked for on the meta device, which holds no weights.
    if weights is not None and torch.empty(0).device.type != "meta":
        file = _cached_file(timm.get_pretrained_cfg(name)) if weights == CACHED else Path(weights).expanduser()
        if not file.is_file():
            raise CheckpointNotFoundError(f"encoder_weights={weights!r}: there is no file {file}")
        given |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file)}}
    try:
        return timm.create_model(name, **given)  # type: ignore[no-any-return]  # timm has no types
    except (RuntimeError, AttributeError, KeyError, TypeError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "pretrained" in given:
            raise CheckpointMismatchError(f"encoder_weights={weights!r} for {name} ({first})", (), (), ()) from error
        raise ModelArgumentError(
            f"{name} does not give features of several sizes, as convolutional encoders do: {first}"
        ) from error


def _cached_file(published: Any) -> Path:
    """Return the file of published weights that timm has downloaded before.

    Raises
    ------
    CheckpointNotFoundError
        If it has not.
    """
    from huggingface_hub import try_to_load_from_cache  # timm brings it

    name = f"{published.architecture}.{published.tag}" if published.tag else published.architecture
    for file in ("model.safetensors", "pytorch_model.bin") if published.hf_hub_id else ():
        found = try_to_load_from_cache(published.hf_hub_id, file)
        if isinstance(found, str):
            return Path(found)
    older = Path(torch.hub.get_dir(), "checkpoints", (published.url or "none").rpartition("/")[2])
    if older.is_file():
        return older
    raise CheckpointNotFoundError(
        f"the weights of {name} are not on this machine, and nothing is downloaded here; have timm do it once: "
        f"python -c \"import timm; timm.create_model('{name}', pretrained=True)\""
    )


SPECS = tuple(
    ModelSpec(
        name=f"{ndim}d_encoder_unet",
        builder=EncoderUNet,
        fixed={"ndim": ndim},
        summary=f"{ndim}D U-Net on an encoder of timm{', which sees plane by plane' if ndim == 3 else ''}",
        ndim=ndim,
        source="Wightman, PyTorch Image Models, https://doi.org/10.5281/zenodo.4414861",
        sizes=lambda _: SizeRule(minimum=1, efficient_multiple=_STRIDE),
        receptive_field=lambda _: None,  # timm does not say that of its encoders
        encoder=("backbone.",),
        extra=EXTRA,
    )
    for ndim in (2, 3)
)
