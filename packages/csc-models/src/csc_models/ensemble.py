"""Several networks as one: their mean, given as logits, so that it can be used wherever a network can."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from csc_models.catalog import create_model, describe_model
from csc_models.errors import ModelArgumentError
from csc_models.specification import DESCRIPTION_ATTRIBUTE, ModelDescription

ENSEMBLE = "ensemble"
"""Name of an ensemble in a checkpoint, where other networks have their name in the catalogue."""

MeanOf = Literal["sigmoid", "softmax", "logits"]


class Ensemble(nn.Module):
    """The mean of several networks.

    One network runs after the other, and one sum is kept: the memory is that of all weights, of the activations of one
    network, and of two outputs. It is meant for prediction, in evaluation mode; gradients flow to all networks, so that
    they can also be tuned together.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        Networks with the same input and the same classes. Of a list of outputs (deep supervision), the first counts.
    mean_of : {"sigmoid", "softmax", "logits"}
        What is averaged: probabilities of classes that may overlap, as in the challenge; probabilities of classes that
        exclude each other; or the outputs as they are (distances, say). The result is given as logits again: its
        sigmoid, or softmax, is the mean of the networks'.
    weights : sequence of float, optional
        Shares of the networks, in any unit; equal if not given.

    Raises
    ------
    ModelArgumentError
        No networks, weights that are not one positive number per network, or an unknown `mean_of`.

    Examples
    --------
    >>> from csc_models import create_model
    >>> ensemble = Ensemble([create_model("2d_unet_s", n_channels=1, n_classes=2) for _ in range(3)]).eval()
    >>> ensemble(torch.rand(1, 1, 16, 16)).shape
    torch.Size([1, 2, 16, 16])
    """

    def __init__(
        self, models: Sequence[nn.Module], *, mean_of: MeanOf = "sigmoid", weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if mean_of not in get_args(MeanOf):
            raise ModelArgumentError(f"mean_of={mean_of!r} is not one of {', '.join(map(repr, get_args(MeanOf)))}")
        if not models:
            raise ModelArgumentError("an ensemble needs at least one network")
        self.members = nn.ModuleList(models)
        self.mean_of = mean_of
        self.weights = normalised_weights(weights, len(models))
        members = [describe_model(model) for model in models]
        if all(member is not None for member in members):
            arguments = {
                "members": [{"name": m.name, "arguments": dict(m.arguments)} for m in members if m is not None],
                "mean_of": mean_of,
                "weights": list(self.weights),
            }
            # As on networks of the catalogue: what `load_checkpoint` needs to build it again.
            object.__setattr__(self, DESCRIPTION_ATTRIBUTE, ModelDescription(name=ENSEMBLE, arguments=arguments))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, [z,] y, x) to logits (B, classes, [z,] y, x).

        Raises
        ------
        ModelArgumentError
            The networks give outputs of different shapes.
        """
        # Means of probabilities are taken as logarithms, of the class and of its absence: a probability that is 1
        # within rounding would have an infinite logit.
        present: Tensor | None = None
        absent: Tensor | None = None
        dtype = x.dtype
        for model, weight in zip(self.members, self.weights, strict=True):
            output = model(x)
            logits: Tensor = output[0] if isinstance(output, (list, tuple)) else output
            dtype = logits.dtype
            if dtype in (torch.float16, torch.bfloat16):
                logits = logits.float()
            if present is not None and present.shape != logits.shape:
                raise ModelArgumentError(
                    f"the networks of the ensemble give {tuple(present.shape)} and {tuple(logits.shape)}; they need "
                    "the same classes and the same size of output"
                )
            if self.mean_of == "logits":
                present = logits * weight if present is None else present + logits * weight
                continue
            share = math.log(weight)
            if self.mean_of == "softmax":
                present = _log_sum(present, functional.log_softmax(logits, dim=1) + share)
            else:
                present = _log_sum(present, functional.logsigmoid(logits) + share)
                absent = _log_sum(absent, functional.logsigmoid(-logits) + share)
        assert present is not None
        return (present if absent is None else present - absent).to(dtype)

    def extra_repr(self) -> str:
        """What `print` shows beside the members."""
        return f"mean_of={self.mean_of!r}, weights={tuple(round(weight, 4) for weight in self.weights)}"


def build_ensemble(arguments: Mapping[str, Any]) -> Ensemble:
    """Build an ensemble from what a checkpoint says of it, with fresh weights.

    Raises
    ------
    ModelArgumentError, UnknownModelError
        The description is damaged, or names a network that is not in the catalogue.

    Examples
    --------
    >>> member = {"name": "2d_unet_s", "arguments": {"n_channels": 1, "n_classes": 2, "width": 4, "depth": 2}}
    >>> build_ensemble({"members": [member, member]}).weights
    (0.5, 0.5)
    """
    members, mean_of, weights = (arguments.get(name) for name in ("members", "mean_of", "weights"))
    if not isinstance(members, (list, tuple)) or not all(
        isinstance(member, Mapping) and {"name", "arguments"} == set(member) for member in members
    ):
        raise ModelArgumentError("the description of an ensemble needs members, each with a name and arguments")
    models = [create_model(member["name"], **member["arguments"]) for member in members]
    return Ensemble(models, mean_of=mean_of or "sigmoid", weights=weights)


def normalised_weights(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """Shares that add up to 1.

    Raises
    ------
    ModelArgumentError
        Not one positive number each.

    Examples
    --------
    >>> normalised_weights([1, 3], 2)
    (0.25, 0.75)
    >>> normalised_weights(None, 2)
    (0.5, 0.5)
    """
    given = [1.0] * count if weights is None else list(weights)
    if len(given) != count or not all(isinstance(w, (int, float)) and w > 0 and math.isfinite(w) for w in given):
        raise ModelArgumentError(f"weights={weights!r}: give one positive number for each of {count}")
    total = math.fsum(given)
    return tuple(weight / total for weight in given)


def _log_sum(sum_so_far: Tensor | None, logarithms: Tensor) -> Tensor:
    return logarithms if sum_so_far is None else torch.logaddexp(sum_so_far, logarithms)
