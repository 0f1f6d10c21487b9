"""Build the network that a checkpoint describes."""

from __future__ import annotations

from torch import nn

from csc_models.catalog import create_model
from csc_models.checkpoint.contents import CheckpointDescription
from csc_models.ensemble import ENSEMBLE, build_ensemble


def build_network(description: CheckpointDescription) -> nn.Module:
    """Build a network of the catalogue, or an ensemble of them, with fresh weights.

    Raises
    ------
    UnknownModelError, ModelArgumentError
        The catalogue does not know the network, or it does not take the arguments.
    """
    if description.model_name == ENSEMBLE:
        return build_ensemble(description.model_arguments)
    return create_model(description.model_name or "", **description.model_arguments)
