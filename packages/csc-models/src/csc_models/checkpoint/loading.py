"""Load checkpoints into networks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from csc_models.catalog import create_model
from csc_models.checkpoint.contents import CheckpointDescription, check_channels, check_raw_range, described
from csc_models.checkpoint.reading import Origin, StoredCheckpoint, read_checkpoint
from csc_models.checkpoint.state_dicts import LeftOut, fitting_weights, load_weights, unwrapped
from csc_models.ensemble import ENSEMBLE, build_ensemble
from csc_models.errors import CheckpointError, CheckpointMismatchError, MissingExtraError, ModelError, UnknownModelError
from csc_models.specification import without_values, without_weights

logger = logging.getLogger(__name__)

# A number of a description that is larger than this and than every axis of the weights is none of their network.
_LARGEST = 4096


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
        The file is truncated or damaged, is not a checkpoint, or of a newer format.
    CheckpointMismatchError
        The weights do not fit the network; the text names missing and surplus keys.
    CheckpointError
        The file does not say which network it is for, and `model` was not given; it stores another raw range; or it
        names more or fewer classes than its network has channels.

    Examples
    --------
    >>> import tempfile
    >>> from csc_models import create_model
    >>> from csc_models.checkpoint import CheckpointDescription, load_checkpoint, save_checkpoint
    >>> network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     description = CheckpointDescription(classes=("nuc", "mito"), raw_range=(0.0, 1.0))
    ...     save_checkpoint(f"{folder}/mine.pth", network, description=description)
    ...     loaded = load_checkpoint(f"{folder}/mine.pth")
    >>> type(loaded.model).__name__, loaded.description.classes
    ('CompactUNet', ('nuc', 'mito'))
    """
    stored = read_checkpoint(path, map_location=map_location)
    description = _with_raw_range(stored, raw_range)
    check_channels(description, str(stored.path))
    if model is None:
        if description.model_name is None:
            raise CheckpointError(
                f"{stored.path} {stored.asks}, and commands an experiment file that names it (`csc predict CONFIG "
                "--checkpoint FILE`)"
            )
        model = check_network(description, stored.state, str(stored.path), strict=strict)
        # What would be drawn at random is replaced by the weights.
        with without_values() if strict and _is_all_stored(model) else nullcontext():
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
        description=described(description, unwrapped(model)),
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

    Examples
    --------
    >>> arguments = {"n_channels": 1, "n_classes": 2, "width": 4, "depth": 2}
    >>> network = build_network(CheckpointDescription(model_name="2d_unet_s", model_arguments=arguments))
    >>> network.n_classes
    2
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


def check_network(
    description: CheckpointDescription, state: Mapping[str, Tensor], source: str, *, strict: bool = True
) -> nn.Module:
    """Build a network of shapes alone, and check that it would take the weights of its file: no memory is asked for.

    Raises
    ------
    CheckpointMismatchError
        It would not.
    CheckpointError
        It cannot be built, or is far larger than its file.
    UnknownModelError, ModelArgumentError
        As `build_network`.

    Examples
    --------
    >>> from csc_models import create_model
    >>> arguments = {"n_channels": 1, "n_classes": 2, "width": 4, "depth": 2}
    >>> state = create_model("2d_unet_s", **arguments).state_dict()
    >>> description = CheckpointDescription(model_name="2d_unet_s", model_arguments=arguments)
    >>> next(check_network(description, state, "mine.pth").parameters()).device.type
    'meta'
    """
    limit = max([_LARGEST, *(size for tensor in state.values() for size in tensor.shape)])
    too_large = next((number for number in _numbers(description.model_arguments) if abs(number) > limit), None)
    if too_large is not None:
        raise CheckpointError(
            f"{source}: {too_large} in the description of its network is larger than anything in its weights"
        )
    try:
        with without_weights(2 * len(state) + 100):
            network = build_network(description)
        shapes = {key: value.to("meta") for key, value in state.items()}
        _, left_out = fitting_weights(network, shapes, strict=strict, source=source)
    except ModelError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if "meta" in str(error):  # it reads values of its own while it is built
            return nn.Module()
        raise CheckpointError(f"{source}: its network cannot be built: {error}") from error
    if left_out and _count(network.state_dict()) > 4 * _count(state) + 1_000_000:
        raise CheckpointMismatchError(source, left_out.missing, left_out.surplus, left_out.reshaped)
    return network


def _is_all_stored(network: nn.Module) -> bool:
    """Whether a network of shapes becomes that of its file by the weights alone: nothing is shared, or kept beside."""
    held = dict([*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)])
    kept = (value for module in network.modules() for value in vars(module).values())
    return (
        0 < len(held) == len({id(tensor) for tensor in held.values()})
        and held.keys() == network.state_dict().keys()
        and not any(isinstance(value, (Tensor, torch.device)) for value in kept)
    )


def _count(state: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in state.values())


def _numbers(value: Any) -> Iterator[float]:
    """Yield the numbers in plain data."""
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(item)


def _with_raw_range(stored: StoredCheckpoint, raw_range: tuple[float, float] | None) -> CheckpointDescription:
    if raw_range is None:
        return stored.description
    given = check_raw_range(raw_range)
    if stored.origin == "csc-models" and stored.description.raw_range not in (None, given):
        raise CheckpointError(
            f"{stored.path} was trained with raw_range={stored.description.raw_range}, not {given}; leave raw_range out"
        )
    return replace(stored.description, raw_range=given)
