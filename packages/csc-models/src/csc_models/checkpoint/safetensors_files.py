"""Checkpoints as ``.safetensors``: weights, and the same description in the header.

Layout: tensors by key; in the header's metadata ``format`` is ``pt``, as tools that read weights for torch expect, and
``csc-models`` holds JSON with the fields of a ``.pth`` file other than the weights. The format has no place for tensors
with a meaning of their own, so that the state of optimisers and trainers stays in ``.pth``.
Source: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from csc_models.checkpoint.digests import FORMAT
from csc_models.checkpoint.files import replacing
from csc_models.errors import CheckpointError, CheckpointNotFoundError, CheckpointReadError
from csc_models.optional import import_extra

SUFFIX = ".safetensors"
# Eight bytes give the length of the header, which is JSON; the format's own reader refuses longer ones.
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000


def is_safetensors(path: Path) -> bool:
    """Whether a file is of this format by its first bytes; a file that is too short for them, by its name.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.pth").write_bytes((2).to_bytes(8, "little") + b"{}")
    ...     is_safetensors(Path(folder, "a.pth"))
    True
    """
    with path.open("rb") as stream:
        start = stream.read(_LENGTH_BYTES + 1)
    if len(start) <= _LENGTH_BYTES:
        return path.suffix == SUFFIX
    return start.endswith(b"{") and int.from_bytes(start[:_LENGTH_BYTES], "little") <= _LONGEST_HEADER


def write_safetensors(path: Path, contents: Mapping[str, Any]) -> None:
    """Write the contents of a checkpoint, whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    contents : mapping
        ``model``, a state dict, and what JSON can hold by further names.

    Raises
    ------
    CheckpointError
        The folder does not exist, or the disk is full.
    MissingExtraError
        safetensors is not installed.
    """
    library = import_extra("safetensors", extra="safetensors", purpose=f"writing {path}")
    library_torch = import_extra("safetensors.torch", extra="safetensors", purpose=f"writing {path}")
    described = {name: value for name, value in contents.items() if name != "model"}
    metadata = {"format": "pt", FORMAT: json.dumps(described)}
    with replacing(path) as temporary:
        try:
            library_torch.save_file(_separate(contents["model"]), temporary, metadata=metadata)
        except library.SafetensorError as error:
            raise CheckpointError(f"cannot write {path}: {error}") from error


def read_safetensors(path: Path, map_location: str | torch.device) -> dict[str, Any]:
    """Read a file: the contents of a checkpoint, or bare weights if somebody else wrote it.

    Raises
    ------
    CheckpointNotFoundError
        There is no such file.
    CheckpointReadError
        The file is truncated or damaged.
    MissingExtraError
        safetensors is not installed.
    """
    if not path.is_file():
        raise CheckpointNotFoundError(f"there is no checkpoint {path}")
    library = import_extra("safetensors", extra="safetensors", purpose=f"reading {path}")
    try:
        with library.safe_open(path, framework="pt", device="cpu") as stored:
            metadata = stored.metadata() or {}
            # Copies: the tensors of the library may lie in the file, which another process may write to.
            state = {key: stored.get_tensor(key).clone().to(map_location) for key in stored.keys()}  # noqa: SIM118
    except (library.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointReadError(
            f"{path} ({path.stat().st_size:,} bytes) cannot be read: it is truncated or damaged ({error})"
        ) from error
    if FORMAT not in metadata:
        if any(f'"format": "{FORMAT}"' in value for value in metadata.values()):
            raise CheckpointReadError(f"{path}: the header is damaged; copy or download the file again")
        return state
    try:
        described = json.loads(metadata[FORMAT])
    except ValueError as error:
        raise CheckpointReadError(f"{path}: its description is not JSON ({error})") from error
    if not isinstance(described, dict) or "format" not in described:
        raise CheckpointReadError(f"{path}: its description is not one of a checkpoint: {str(described)[:100]}")
    return {**described, "model": state}


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give every key memory of its own, in the order of its axes: the format knows neither ties nor strides."""
    seen: set[int] = set()
    separate = {}
    for key, values in state.items():
        tensor = values.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        # A view of something larger would be written with all of it.
        whole = tensor.untyped_storage().nbytes() == tensor.nbytes
        separate[key] = tensor if whole and memory not in seen else tensor.clone()
        seen.add(memory)
    return separate
