"""The network of an experiment, and how its output meets the target."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from csc_data.errors import InvalidArgumentError
from csc_models import create_model
from csc_models.checkpoint import CheckpointDescription
from csc_train.settings import TrainSettings


def build_network(settings: TrainSettings) -> nn.Module:
    """Return the network to train: the module that the settings hold, or one from the catalogue.

    Raises
    ------
    InvalidArgumentError
        If ``model`` is something else than a torch module.
    csc_models.ModelError
        If the catalogue has no such network, or it does not take the arguments.
    """
    if settings.model is None:
        arguments = {"n_channels": 1, "n_classes": len(settings.classes), **settings.model_kwargs}
        return create_model(settings.architecture or settings.model_name, **arguments)
    if not isinstance(settings.model, nn.Module):
        raise InvalidArgumentError(f"model must be a torch module, got {settings.model!r}")
    return settings.model


def describe_network(settings: TrainSettings) -> CheckpointDescription:
    """Return what a checkpoint says of the network beside its name and arguments."""
    return CheckpointDescription(
        classes=settings.classes,
        input_arrays={"raw": settings.input_array_info.to_plain()},
        target_arrays={"labels": settings.target.to_plain()},
        raw_range=settings.raw_range,
    )


def fit_output(logits: Tensor, target: Tensor) -> Tensor:
    """Cut the centre out of an output that is larger than the target.

    Raises
    ------
    InvalidArgumentError
        If channels or sizes cannot fit.
    """
    if logits.shape[:2] != target.shape[:2] or logits.ndim != target.ndim:
        raise InvalidArgumentError(
            f"the network gives {tuple(logits.shape)} where targets are {tuple(target.shape)} (batch, classes, voxels)"
        )
    return crop_centre(logits, tuple(target.shape[2:]))


def crop_centre(values: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Cut the centre out of the last axes.

    Raises
    ------
    InvalidArgumentError
        If an axis is shorter than asked, or cannot be cut alike on both sides.
    """
    found = tuple(values.shape[-len(sizes) :])
    if found == sizes:
        return values
    if any(have < want or (have - want) % 2 for have, want in zip(found, sizes, strict=True)):
        raise InvalidArgumentError(
            f"the network gives {found} voxels where {sizes} are wanted; set target_array_info to what it gives"
        )
    for axis, (have, want) in enumerate(zip(found, sizes, strict=True)):
        values = values.narrow(values.ndim - len(sizes) + axis, (have - want) // 2, want)
    return values


class WeightAverage:
    """A running mean of a network's weights (EMA); buffers are those of the network.

    Parameters
    ----------
    network : torch.nn.Module
    decay : float
        Share of the mean that a step keeps; in the first steps less, so that it does not stay at the random weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        import copy

        self.module = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after an optimizer step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        for mean, new in zip(self.module.parameters(), network.parameters(), strict=True):
            mean.lerp_(new.detach(), 1 - decay)
        for held, buffer in zip(self.module.buffers(), network.buffers(), strict=True):
            held.copy_(buffer)
