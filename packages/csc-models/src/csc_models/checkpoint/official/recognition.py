"""State dicts of the challenge's toolbox: bare weights, recognised by their keys and shapes.

The toolbox saves ``model.state_dict()`` and nothing else, and trains on raw intensities as they are (0 to 255).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from csc_models.catalog import create_model
from csc_models.errors import ModelArgumentError
from csc_models.nets.transformer import STRIDE
from csc_models.specification import without_weights

OFFICIAL_RAW_RANGE = (0.0, 255.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecognisedModel:
    """A network that weights belong to.

    Attributes
    ----------
    name : str
        Name in the catalogue.
    arguments : mapping
        Its arguments, as far as the weights tell them.
    open : tuple of str
        What they do not tell although the output depends on it, for people; the network has to be given then.
    likely : mapping
        The values of these that are most usual.
    """

    name: str
    arguments: Mapping[str, Any]
    open: tuple[str, ...] = ()
    likely: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """As the call that builds it, with what is usual where the weights do not tell."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in {**self.arguments, **self.likely}.items())
        return f"create_model({self.name!r}, {arguments})"


def recognise(state: Mapping[str, Tensor]) -> RecognisedModel | None:
    """Find which of the challenge's five networks weights belong to.

    Parameters
    ----------
    state : mapping
        Weights by key, without prefixes of wrappers.

    Returns
    -------
    RecognisedModel or None
        None unless keys and shapes are those of one of the networks.

    Examples
    --------
    >>> from csc_models import create_model
    >>> found = recognise(create_model("2d_unet", n_channels=1, n_classes=3, width=4).state_dict())
    >>> found.name, found.arguments["n_classes"]
    ('2d_unet', 3)
    >>> recognise({}) is None
    True
    """
    for guess in (_guess_unet, _guess_resnet, _guess_vitnet):
        found = guess(state)
        if found is not None and _fits(found, state):
            return found
    return None


def _fits(found: RecognisedModel, state: Mapping[str, Tensor]) -> bool:
    """Whether the network has exactly these keys and shapes; where layers are open, those of its convolutions."""
    if found.name == "vitnet":  # its many sizes are seen in the keys
        return True
    try:
        with without_weights(2 * len(state) + 100):
            expected = create_model(found.name, **found.arguments, **found.likely).state_dict()
    except ModelArgumentError:
        return False
    return _shapes(expected, found) == _shapes(state, found)


def _shapes(state: Mapping[str, Tensor], found: RecognisedModel) -> dict[str, torch.Size]:
    return {key: values.shape for key, values in state.items() if not found.open or values.ndim > 1}


def _guess_unet(state: Mapping[str, Tensor]) -> RecognisedModel | None:
    first, last = state.get("inc.double_conv.0.weight"), state.get("outc.conv.weight")
    if first is None or last is None or first.ndim not in (4, 5):
        return None
    arguments = {
        "n_channels": first.shape[1],
        "n_classes": last.shape[0],
        "trilinear": "up1.up.weight" not in state,
        "width": first.shape[0],
    }
    return RecognisedModel(name=f"{first.ndim - 2}d_unet", arguments=arguments)


def _guess_resnet(state: Mapping[str, Tensor]) -> RecognisedModel | None:
    convolutions = {
        int(match[1]): values
        for key, values in state.items()
        if (match := re.fullmatch(r"model\.(\d+)\.weight", key)) and values.ndim in (4, 5)
    }
    if len(convolutions) < 2 or len(convolutions) % 2:
        return None
    start = min(convolutions)
    first, last = convolutions[start], convolutions[max(convolutions)]
    block_layers = [
        (int(match[1]), int(match[2]))
        for key, values in state.items()
        if (match := re.fullmatch(r"model\.(\d+)\.conv_block\.(\d+)\.weight", key)) and values.ndim == first.ndim
    ]
    # A padding layer shifts all that follows by one; so does dropout inside the blocks.
    padded = start == 1
    second = max((layer for _, layer in block_layers), default=0)
    paddings = ("reflect", "same", "replicate") if padded else ("zeros", "valid")
    norm = "instance" if f"model.{start}.bias" in state else "batch"
    return RecognisedModel(
        name=f"{first.ndim - 2}d_resnet",
        arguments={
            "input_nc": first.shape[1],
            "output_nc": last.shape[0],
            "ngf": first.shape[0],
            "use_dropout": second == (6 if padded else 4),
            "n_blocks": len({block for block, _ in block_layers}),
            "n_downsampling": (len(convolutions) - 2) // 2,
        },
        likely={"padding_type": paddings[0], "norm_layer": norm, "activation": "relu"},
        open=(
            f"padding_type ({' or '.join(map(repr, paddings))})",
            "activation ('relu' by default)",
            f"norm_layer and its options (of the usual ones {norm!r})",
        ),
    )


def _guess_vitnet(state: Mapping[str, Tensor]) -> RecognisedModel | None:
    positions = state.get("transformer.embeddings.position_embeddings")
    first = state.get("transformer.embeddings.hybrid_model.inc.double_conv.0.weight")
    last = state.get("reg_head.0.weight")
    parts = {key.split(".")[0] for key in state}
    if positions is None or first is None or last is None or parts != {"transformer", "decoder", "reg_head"}:
        return None
    return RecognisedModel(
        name="vitnet",
        arguments={"out_channels": last.shape[0], "n_channels": first.shape[1]},
        likely={"img_size": (128, 128, 128), "config": "ViT-V-Net"},
        open=(
            f"img_size ({positions.shape[1]} patches of {STRIDE} voxels an edge)",
            "num_heads of config (12 of 'ViT-V-Net')",
        ),
    )
