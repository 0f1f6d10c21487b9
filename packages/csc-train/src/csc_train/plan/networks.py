"""The networks to choose from, and what they cost."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from csc_models import create_model, model_card
from csc_models.specification.models import without_weights

_PROBE = 64  # voxels along an edge, for which costs are counted
_BYTES_OF_A_WEIGHT = 16  # float32: itself, its gradient, two moments of Adam
_GRADIENTS = 2.0  # memory in the backward pass, and what kernels work in, for what is saved for it
_PASSES = 3.0  # a backward pass computes twice what a forward pass does


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of the catalogue, as it may be planned.

    Attributes
    ----------
    name : str
    arguments : mapping
    learning_rate : float
        With AdamW and a cosine schedule; tried on the synthetic challenge for the small ones, else usual.
    least_crops : int
        Crops that train, below which it learns them by heart.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float
    least_crops: int


NETWORKS = (
    Network(name="3d_unet_s", arguments={"width": 16, "depth": 4, "norm": "batch"}, learning_rate=5e-3, least_crops=0),
    Network(name="3d_unet_s", arguments={"width": 32, "depth": 4, "norm": "batch"}, learning_rate=3e-3, least_crops=0),
    Network(name="3d_unet", arguments={"width": 32}, learning_rate=1e-3, least_crops=8),
    Network(name="3d_resenc_unet", learning_rate=5e-4, least_crops=16),
)
"""From the smallest to the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """What a network costs in training.

    Attributes
    ----------
    parameters : int
    flops, saved_bytes : float
        For each voxel of a patch: operations of a forward and a backward pass, and what is kept between them.
    multiple : int
        Edges of patches that need no padding are multiples of this.
    least : int
        The shortest edge.

    Examples
    --------
    >>> cost = NetworkCost(parameters=1000, flops=1e6, saved_bytes=100.0, multiple=8, least=16)
    >>> cost.memory_bytes(32**3) < cost.memory_bytes(64**3)
    True
    """

    parameters: int
    flops: float
    saved_bytes: float
    multiple: int
    least: int

    def memory_bytes(self, voxels: int) -> int:
        """Return the memory for so many voxels of a batch, in float32."""
        return int(self.parameters * _BYTES_OF_A_WEIGHT + voxels * self.saved_bytes * _GRADIENTS)


def network_cost(network: Network, n_classes: int) -> NetworkCost:
    """Count what a network costs, without making its weights.

    Parameters
    ----------
    network : Network
    n_classes : int

    Raises
    ------
    csc_models.ModelError
        If the catalogue does not have it.
    """
    return _network_cost(network.name, tuple(sorted(network.arguments.items())), n_classes)


@functools.cache
def _network_cost(name: str, arguments: tuple[tuple[str, Any], ...], n_classes: int) -> NetworkCost:
    given = {"n_channels": 1, "n_classes": n_classes, **dict(arguments)}
    card = model_card(name, **given)
    with without_weights():
        model = create_model(name, **given)
    flops, saved = _count(model, card.sizes.fit(_PROBE))
    voxels = card.sizes.fit(_PROBE) ** 3
    return NetworkCost(
        parameters=card.parameters,
        flops=_PASSES * flops / voxels,
        saved_bytes=saved / voxels,
        multiple=math.lcm(card.sizes.efficient_multiple, 8),
        least=card.sizes.fit(card.sizes.minimum),
    )


def _count(model: nn.Module, edge: int) -> tuple[int, int]:
    """Return the operations of a forward pass over a cube, and the bytes that are kept for the backward pass."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), FlopCounterMode(display=False) as flops:
        model(torch.empty(2, 1, edge, edge, edge, device="meta"))  # a batch of one may be refused
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    saved = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights)
    return flops.get_total_flops() // 2, saved // 2
