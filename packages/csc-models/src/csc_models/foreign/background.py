"""Take the background out of a softmax: the last layer gives each class relative to it instead.

A softmax over a background and classes is that of 0 and of each class's logit less the background's, which is what
``values="exclusive"`` means in a `CheckpointDescription`. The last layer is linear, so its weights can be subtracted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from csc_models.catalog import create_model, model_card, model_spec
from csc_models.errors import CheckpointError
from csc_models.nets.layers import CONVOLUTION
from csc_models.specification import without_weights


def without_background(
    state: Mapping[str, Tensor], model: str, arguments: Mapping[str, Any], background: int
) -> dict[str, Tensor]:
    """Rewrite the weights of a network's heads, so that they give no background.

    Parameters
    ----------
    state : mapping
        Weights by key.
    model : str
    arguments : mapping
        Of the network that these weights are of.
    background : int
        Its channel.

    Returns
    -------
    dict
        Weights of the same network with a class less.

    Raises
    ------
    CheckpointError
        The network does something to what its last layer gives.
    """
    heads = _heads(model, arguments)
    if not heads:
        raise CheckpointError(
            f"the background cannot be taken out of {model}: it does not end in a convolution; import its classes as "
            "logits, with the background as one of them (--values logit)"
        )
    changed = dict(state)
    for head in heads:
        for name in (f"{head}.weight", f"{head}.bias"):
            if name in state:
                values = state[name].double()
                others = [channel for channel in range(len(values)) if channel != background]
                changed[name] = (values[others] - values[background]).to(state[name].dtype)
    return changed


def _heads(model: str, arguments: Mapping[str, Any]) -> list[str]:
    """Return the names of the convolutions whose results are what the network returns."""
    card = model_card(model, **arguments)
    with without_weights():
        network = create_model(model, **arguments).eval()
        size = card.sizes.fit(card.sizes.minimum)
        raw = torch.zeros(1, card.arguments[model_spec(model).channels], *[size] * card.ndim)
    given: dict[int, str] = {}
    results: list[Tensor] = []  # kept, so that no other tensor gets the identity of one of them

    def keep(name: str) -> Any:
        def hook(_: nn.Module, _inputs: Any, result: Tensor) -> None:
            results.append(result)
            given[id(result)] = name

        return hook

    kinds = tuple(CONVOLUTION.values())
    for name, part in network.named_modules():
        if isinstance(part, kinds):
            part.register_forward_hook(keep(name))
    with torch.no_grad(), torch.device("meta"):
        outputs = network(raw)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [given[id(output)] for output in outputs] if all(id(output) in given for output in outputs) else []
