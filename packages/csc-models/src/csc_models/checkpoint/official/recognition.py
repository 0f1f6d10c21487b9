"""State dicts of the challenge's toolbox: bare weights, recognised by their keys and shapes.

The toolbox saves ``model.state_dict()`` and nothing else, and trains on raw intensities as they are (0 to 255).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from csc_models.catalog import create_model
from csc_models.errors import ModelArgumentError
from csc_models.nets.transformer import STRIDE
from csc_models.specification import without_weights
from csc_models.specification.arguments import plain_arguments

OFFICIAL_RAW_RANGE = (0.0, 255.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecognisedModel:
    """A network that weights belong to.

    Attributes
    ----------
    name : str
        Name in the catalogue.
    arguments : mapping
        Its arguments, as far as shapes tell them; the challenge's defaults elsewhere.
    assumptions : tuple of str
        What the weights do not tell.
    """

    name: str
    arguments: Mapping[str, Any]
    assumptions: tuple[str, ...] = ()


def recognise(state: Mapping[str, Tensor]) -> RecognisedModel | None:
    """Find which of the challenge's five networks weights belong to.

    Parameters
    ----------
    state : mapping
        Weights by key, without prefixes of wrappers.

    Returns
    -------
    RecognisedModel or None
        None unless all keys and shapes are those of one of the networks.
    """
    for guess in (_guess_unet, _guess_resnet, _guess_vitnet):
        found = guess(state)
        if found is not None and _fits(found, state):
            return found
    return None


def _fits(found: RecognisedModel, state: Mapping[str, Tensor]) -> bool:
    """Whether the network has exactly these keys and shapes; no memory is used for its weights."""
    try:
        with without_weights():
            expected = create_model(found.name, **found.arguments).state_dict()
    except ModelArgumentError:
        return False
    return {key: values.shape for key, values in expected.items()} == {key: t.shape for key, t in state.items()}


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
    blocks = {block for block, _ in block_layers}
    instance = f"model.{start}.bias" in state
    # A padding layer shifts all that follows by one; so does dropout inside the blocks.
    padded = start == 1
    second = max((layer for _, layer in block_layers), default=0)
    assumed = "reflect" if padded else "zeros"
    arguments = {
        "input_nc": first.shape[1],
        "output_nc": last.shape[0],
        "ngf": first.shape[0],
        "norm_layer": "instance" if instance else "batch",
        "use_dropout": bool(blocks) and second == (6 if padded else 4),
        "n_blocks": len(blocks),
        "padding_type": assumed,
        "n_downsampling": (len(convolutions) - 2) // 2,
    }
    other = "replicate" if padded else "valid"
    return RecognisedModel(
        name=f"{first.ndim - 2}d_resnet",
        arguments=arguments,
        assumptions=(f"padding_type={assumed!r} (could be {other!r})", "activation='relu'"),
    )


def _guess_vitnet(state: Mapping[str, Tensor]) -> RecognisedModel | None:
    positions = state.get("transformer.embeddings.position_embeddings")
    first = state.get("transformer.embeddings.hybrid_model.inc.double_conv.0.weight")
    last = state.get("reg_head.0.weight")
    if positions is None or first is None or last is None or positions.ndim != 3:
        return None
    edge = round(positions.shape[1] ** (1 / 3))
    if edge**3 != positions.shape[1]:
        return None
    arguments = {
        "out_channels": last.shape[0],
        "n_channels": first.shape[1],
        "img_size": (STRIDE * edge,) * 3,
    }
    return RecognisedModel(
        name="vitnet", arguments=plain_arguments(arguments), assumptions=("img_size is a cube, config='ViT-V-Net'",)
    )
