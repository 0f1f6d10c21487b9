"""Load checkpoints into networks."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from csc_models.catalog import create_model
from csc_models.checkpoint.contents import CheckpointDescription, check_raw_range
from csc_models.checkpoint.reading import Origin, StoredCheckpoint, read_checkpoint
from csc_models.checkpoint.state_dicts import LeftOut, load_weights
from csc_models.ensemble import ENSEMBLE, build_ensemble
from csc_models.errors import CheckpointError, MissingExtraError, UnknownModelError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedCheckpoint:
    """A network with its weights, and what the file says about it.

    Attributes
    ----------
    path : Path
        The file.
    model : torch.nn.Module
        The network with the weights of the file, in evaluation mode if it was built here.
    description : CheckpointDescription
        Model, classes, arrays and raw range.
    extra : dict
        What the writer added, such as optimiser state and epoch.
    left_out : LeftOut
        Keys that were passed over; empty for a strict load.
    origin : {"csc-models", "official", "unknown"}
        Who wrote it: this package, the challenge's toolbox, or somebody whose network is not known.
    notes : tuple of str
        What was assumed about the file, for people; it is in the log as well.
    """

    path: Path
    model: nn.Module
    description: CheckpointDescription
    extra: dict[str, Any]
    left_out: LeftOut
    origin: Origin
    notes: tuple[str, ...]


def load_checkpoint(
    path: str | PathLike[str],
    *,
    model: nn.Module | None = None,
    strict: bool = True,
    raw_range: tuple[float, float] | None = None,
    map_location: str | torch.device = "cpu",
) -> LoadedCheckpoint:
    """Load a checkpoint, and build its network.

    Parameters
    ----------
    path : path
        A file by `save_checkpoint`, or a bare state dict; one of the challenge's toolbox is recognised, and gets the
        raw range 0 to 255 that it was trained on.
    model : torch.nn.Module, optional
        Load into this network, in place, instead of building the one that the file describes.
    strict : bool
        All keys and shapes must agree. Otherwise what fits is loaded, and `LoadedCheckpoint.left_out`, and a warning
        in the log, name the rest.
    raw_range : tuple of float, optional
        For files that do not store it, see `CheckpointDescription`; for recognised files, it replaces 0 to 255.
    map_location : str or torch.device
        Where the tensors go.

    Returns
    -------
    LoadedCheckpoint
        The network and what is known about it.

    Raises
    ------
    CheckpointNotFoundError
        There is no such file.
    CheckpointReadError
        The file is truncated, is not a checkpoint, or of a newer format.
    CheckpointMismatchError
        The weights do not fit the network; the text names missing and surplus keys.
    CheckpointError
        The file does not say which network it is for, and `model` was not given; or it stores another raw range.
    """
    stored = read_checkpoint(path, map_location=map_location)
    description = _with_raw_range(stored, raw_range)
    if model is None:
        if description.model_name is None:
            raise CheckpointError(
                f"{stored.path} does not say which network its weights are for; give load_checkpoint that network, "
                "model=..., and commands an experiment file that names it (`csc predict CONFIG --checkpoint FILE`)"
            )
        model = build_network(description).to(map_location).eval()
    left_out = load_weights(model, stored.state, strict=strict, source=str(stored.path))
    if left_out:
        logger.warning(
            "%s: not loaded: missing %s, surplus %s, of another shape %s",
            stored.path, list(left_out.missing), list(left_out.surplus), list(left_out.reshaped),
        )  # fmt: skip
    for note in stored.notes:
        logger.info("%s: %s", stored.path, note)
    return LoadedCheckpoint(
        path=stored.path,
        model=model,
        description=description,
        extra=stored.extra,
        left_out=left_out,
        origin=stored.origin,
        notes=stored.notes,
    )


def build_network(description: CheckpointDescription) -> nn.Module:
    """Build a network of the catalogue, or an ensemble of them, with fresh weights.

    Raises
    ------
    UnknownModelError, ModelArgumentError
        The catalogue does not know the network, or it does not take the arguments.
    MissingExtraError
        The package that brings the network is not installed.
    """
    try:
        if description.model_name == ENSEMBLE:
            return build_ensemble(description.model_arguments)
        return create_model(description.model_name or "", **description.model_arguments)
    except UnknownModelError as error:
        if not description.packages:
            raise
        raise MissingExtraError(
            f"the network {error.name!r} is from {' or '.join(description.packages)}: install that package"
        ) from error


def _with_raw_range(stored: StoredCheckpoint, raw_range: tuple[float, float] | None) -> CheckpointDescription:
    if raw_range is None:
        return stored.description
    given = check_raw_range(raw_range)
    if stored.origin == "csc-models" and stored.description.raw_range not in (None, given):
        raise CheckpointError(
            f"{stored.path} was trained with raw_range={stored.description.raw_range}, not {given}; leave raw_range out"
        )
    return replace(stored.description, raw_range=given)
