"""Weights of a file for a network that may have other classes: of the head what fits by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from csc_data.errors import InvalidArgumentError
from csc_data.wording import listed
from csc_models.catalog import encoder_parts
from csc_models.checkpoint import load_weights
from csc_train.description import describe_network
from csc_train.network import network_with_channels
from csc_train.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingWeights:
    """Weights that a run begins with.

    Attributes
    ----------
    source : str
        Where they come from, for people.
    state : mapping
        Weights by key.
    channels : tuple of str
        What the channels of the head stand for, classes and what lies beside them; empty where that is not known.
    """

    source: str
    state: Mapping[str, Tensor]
    channels: tuple[str, ...] = ()


def begin_with_weights(network: nn.Module, weights: StartingWeights, settings: TrainSettings) -> str:
    """Put weights into a network, and return in words what was taken over.

    Everything but the head must fit. Channels of the head are taken over where both have one of that name; without
    names, if there are as many.

    Raises
    ------
    csc_models.ModelError
        If the weights are not for this network.
    """
    own, state = network.state_dict(), dict(weights.state)
    head = _head(own, state, settings)
    sizes = {own[key].shape[axis] for key, axis in head.items()}
    stored = {state[key].shape[axis] for key, axis in head.items()}
    wanted, there = describe_network(settings).channels, weights.channels
    if not head or (there in ((), wanted) and sizes == stored):
        load_weights(network, state, source=weights.source)
        return ""
    named = sizes == {len(wanted)} and stored == {len(there)}
    taken = [name for name in wanted if named and name in there]
    for key, axis in head.items():
        fresh = own[key].clone()
        for name in taken:
            fresh.select(axis, wanted.index(name)).copy_(state[key].select(axis, there.index(name)))
        state[key] = fresh
    load_weights(network, state, source=weights.source)
    new = [name for name in wanted if name not in taken]
    words = f"with a new head for {listed(new)}" if new else "its head in another order"
    return f"{words}; that of {listed(taken)} is taken over" if taken and new else words


def put_in_encoder(network: nn.Module, state: Mapping[str, Tensor], source: str) -> tuple[str, ...]:
    """Put the weights of an encoder into that of a network, and return what their names begin with.

    All else of the network stays as it is.

    Raises
    ------
    InvalidArgumentError
        If the network is not known to have an encoder.
    csc_models.CheckpointMismatchError
        If the encoder is another one.
    """
    parts = encoder_parts(network)
    if not parts:
        raise InvalidArgumentError(
            f"pretrained = {source!r}: {type(network).__name__} has no encoder apart from other weights; load_model "
            "begins with all weights of a file. A model of your own says by an attribute encoder_parts what the names "
            "of the weights of its encoder begin with"
        )
    rest = {key: value for key, value in network.state_dict().items() if not key.startswith(parts)}
    load_weights(network, {**rest, **{k: v for k, v in state.items() if k.startswith(parts)}}, source=source)
    return parts


def _head(own: Mapping[str, Tensor], state: Mapping[str, Tensor], settings: TrainSettings) -> dict[str, int]:
    """Return the weights of the head that both have, and which axis of each is that of the classes."""
    shapes = [_shapes(settings, more) for more in (0, 1)] if settings.model is None else []
    if shapes:
        found = {key: _differing(shape, shapes[1][key]) for key, shape in shapes[0].items()}
    else:  # of a network that is not known: what has other channels, and is alike otherwise
        found = {key: _differing(value.shape, state[key].shape) for key, value in own.items() if key in state}
    axes = {key: axis for key, axis in found.items() if axis is not None and key in state and key in own}
    return {
        key: axis for key, axis in axes.items() if _without(own[key].shape, axis) == _without(state[key].shape, axis)
    }


def _shapes(settings: TrainSettings, more: int) -> dict[str, torch.Size]:
    with torch.device("meta"):  # shapes are what is asked for, not the memory
        return {key: value.shape for key, value in network_with_channels(settings, more).state_dict().items()}


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _differing(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Return the only axis along which two shapes differ; None where there is none, or several."""
    if len(one) != len(other):
        return None
    axes = [axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    return axes[0] if len(axes) == 1 else None
