"""Read checkpoints: ours, and weights that somebody else saved."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from csc_models.catalog import create_model
from csc_models.checkpoint.contents import FORMAT, FORMAT_VERSION, CheckpointDescription, check_raw_range
from csc_models.checkpoint.files import read_file
from csc_models.checkpoint.weights import LeftOut, load_weights
from csc_models.errors import CheckpointError, CheckpointReadError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCheckpoint:
    """What a file holds, before a network is built.

    Attributes
    ----------
    path : Path
        The file.
    state : dict
        Weights by key.
    description : CheckpointDescription
        What the file says about them; empty for bare weights.
    extra : dict
        What the writer added.
    """

    path: Path
    state: dict[str, Tensor]
    description: CheckpointDescription
    extra: dict[str, Any]


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
    """

    path: Path
    model: nn.Module
    description: CheckpointDescription
    extra: dict[str, Any]
    left_out: LeftOut


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
        A file by `save_checkpoint`, or a bare state dict.
    model : torch.nn.Module, optional
        Load into this network, in place, instead of building the one that the file describes.
    strict : bool
        All keys and shapes must agree. Otherwise what fits is loaded, and `LoadedCheckpoint.left_out`, and a warning
        in the log, name the rest.
    raw_range : tuple of float, optional
        For files that do not store it, see `CheckpointDescription`.
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
        The file is truncated, is no checkpoint, or of a newer format.
    CheckpointMismatchError
        The weights do not fit the network; the text names missing and surplus keys.
    CheckpointError
        The file does not say which network it is for, and `model` was not given; or it stores another raw range.
    """
    stored = read_checkpoint(path, map_location=map_location)
    description = _with_raw_range(stored, raw_range)
    if model is None:
        if description.model_name is None:
            raise CheckpointError(f"{stored.path} does not say which network its weights are for; give model=")
        model = create_model(description.model_name, **description.model_arguments).to(map_location).eval()
    left_out = load_weights(model, stored.state, strict=strict, source=str(stored.path))
    if left_out:
        logger.warning(
            "%s: not loaded: missing %s, surplus %s, of another shape %s",
            stored.path, list(left_out.missing), list(left_out.surplus), list(left_out.reshaped),
        )  # fmt: skip
    return LoadedCheckpoint(
        path=stored.path, model=model, description=description, extra=stored.extra, left_out=left_out
    )


def read_checkpoint(path: str | PathLike[str], *, map_location: str | torch.device = "cpu") -> StoredCheckpoint:
    """Read what a file holds without building a network.

    Raises
    ------
    CheckpointNotFoundError, CheckpointReadError
        As `load_checkpoint`.
    """
    file = Path(path)
    contents = read_file(file, map_location)
    if not isinstance(contents, Mapping):
        raise CheckpointReadError(f"{file} holds a {type(contents).__name__}, not a checkpoint")
    if "format" not in contents:
        return StoredCheckpoint(
            path=file, state=_bare_state(file, contents), description=CheckpointDescription(), extra={}
        )
    if contents["format"] != FORMAT:
        raise CheckpointReadError(f"{file} is of format {contents['format']!r}, not {FORMAT!r}")
    version = contents.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointReadError(
            f"{file} has format version {version}; this csc-models reads up to {FORMAT_VERSION}: install a newer one"
        )
    lacking = [name for name in ("model", "description", "extra") if not isinstance(contents.get(name), Mapping)]
    if lacking:
        raise CheckpointReadError(f"{file} is incomplete: it lacks {', '.join(lacking)}")
    return StoredCheckpoint(
        path=file,
        state=_bare_state(file, contents["model"]),
        description=CheckpointDescription.from_plain(contents["description"]),
        extra=dict(contents["extra"]),
    )


def _bare_state(file: Path, contents: Mapping[str, Any]) -> dict[str, Tensor]:
    """Check that a mapping is a state dict; one in a dict under the usual names is found."""
    for name in ("model", "state_dict", "model_state_dict"):
        if isinstance(contents.get(name), Mapping):
            return _bare_state(file, contents[name])
    wrong = [str(key) for key, value in contents.items() if not isinstance(value, Tensor)]
    if wrong or not contents:
        what = f"entries that are no tensors: {', '.join(wrong[:6])}" if wrong else "nothing in it"
        raise CheckpointReadError(f"{file} is not a checkpoint: {what}")
    return dict(contents)


def _with_raw_range(stored: StoredCheckpoint, raw_range: tuple[float, float] | None) -> CheckpointDescription:
    if raw_range is None:
        return stored.description
    given = check_raw_range(raw_range)
    if stored.description.raw_range not in (None, given):
        raise CheckpointError(
            f"{stored.path} was trained with raw_range={stored.description.raw_range}, not {given}; leave raw_range out"
        )
    return replace(stored.description, raw_range=given)
