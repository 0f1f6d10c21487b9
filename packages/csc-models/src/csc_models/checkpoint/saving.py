"""Write checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from csc_models.checkpoint.contents import FORMAT, FORMAT_VERSION, CheckpointDescription, check_plain, described
from csc_models.checkpoint.files import write_file
from csc_models.checkpoint.weights import unwrapped


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
        Usually ``checkpoints/{model_name}_{epoch}.pth``; the folder exists.
    model : torch.nn.Module
        The network, wrapped (``torch.compile``, data-parallel) or not; its weights are saved without the wrapper's
        prefixes. A network that the catalogue does not know is saved, too; loading it then needs ``model=``.
    description : CheckpointDescription, optional
        What the network was trained for; name and arguments of the model are filled in.
    extra : mapping, optional
        What the caller needs to go on: tensors and plain data only.

    Raises
    ------
    CheckpointError
        The folder is missing, or something in `extra` or `description` is not plain data.
    """
    network = unwrapped(model)
    full = described(description or CheckpointDescription(), network).to_plain()
    additions = dict(extra or {})
    check_plain(full, "description")
    check_plain(additions, "extra")
    contents = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": network.state_dict(),
        "description": full,
        "extra": additions,
    }
    write_file(Path(path), contents)
