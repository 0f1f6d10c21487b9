"""Write checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from csc_models.checkpoint.contents import (
    FORMAT_VERSION,
    CheckpointDescription,
    check_channels,
    check_plain,
    described,
)
from csc_models.checkpoint.digests import DIGESTS, FORMAT, digests_of
from csc_models.checkpoint.files import write_file
from csc_models.checkpoint.safetensors_files import SUFFIX, write_safetensors
from csc_models.checkpoint.state_dicts import unwrapped


def save_checkpoint(
    path: str | PathLike[str],
    model: nn.Module,
    *,
    description: CheckpointDescription | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Save a network so that `load_checkpoint` can build it again from the file alone.

    The file appears under its name when it is complete; a run that dies while writing leaves the old one.

    Parameters
    ----------
    path : path
        Usually ``checkpoints/{model_name}_{epoch}.pth``; the folder exists. A name that ends in ``.safetensors`` gives
        a file of that format, which other languages and tools read as well (extra ``[safetensors]``).
    model : torch.nn.Module
        The network, wrapped (``torch.compile``, data-parallel) or not; its weights are saved without the wrapper's
        prefixes. A network that the catalogue does not know is saved, too; loading it then needs ``model=``.
    description : CheckpointDescription, optional
        What the network was trained for; name and arguments of the model are filled in.
    extra : mapping, optional
        What the caller needs to go on: tensors and plain data only; no tensors in ``.safetensors``, so that the state
        of optimisers and trainers needs ``.pth``.

    Raises
    ------
    CheckpointError
        The folder is missing, something in `extra` or `description` is not plain data, or there are not as many
        classes as the network has channels.
    MissingExtraError
        ``.safetensors`` was asked for, and safetensors is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from csc_models import create_model
    >>> from csc_models.checkpoint import load_checkpoint, save_checkpoint
    >>> network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(f"{folder}/mine.pth", network)
    ...     load_checkpoint(f"{folder}/mine.pth").description.model_name
    '2d_unet_s'
    """
    network = unwrapped(model)
    full = described(description or CheckpointDescription(), network)
    write_checkpoint(Path(path), network.state_dict(), full, extra or {})


def write_checkpoint(
    path: Path, state: Mapping[str, Tensor], description: CheckpointDescription, extra: Mapping[str, Any]
) -> None:
    """Write weights and what belongs to them; the suffix of the name chooses the format.

    Raises
    ------
    CheckpointError, MissingExtraError
        As `save_checkpoint`.
    """
    check_channels(description, str(path))
    contents: dict[str, Any] = {"model": dict(state), "description": description.to_plain(), "extra": dict(extra)}
    suffix = SUFFIX if path.suffix == SUFFIX else ".pth"
    for name in ("description", "extra"):
        check_plain(contents[name], name, suffix)
    contents = {"format": FORMAT, "format_version": FORMAT_VERSION, **contents, DIGESTS: digests_of(contents)}
    (write_safetensors if suffix == SUFFIX else write_file)(path, contents)
