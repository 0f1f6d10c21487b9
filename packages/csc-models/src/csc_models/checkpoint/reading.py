"""Read checkpoint files: ours, and weights that somebody else saved. No network is built here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal
from zipfile import is_zipfile

import torch
from torch import Tensor

from csc_models.checkpoint.contents import ENTRIES, FORMAT_VERSION, CheckpointDescription
from csc_models.checkpoint.digests import DIGESTS, FORMAT, check_digests
from csc_models.checkpoint.files import read_file
from csc_models.checkpoint.official.recognition import OFFICIAL_RAW_RANGE, recognise
from csc_models.checkpoint.safetensors_files import is_safetensors, read_safetensors
from csc_models.checkpoint.state_dicts import without_wrapper_prefixes
from csc_models.errors import CheckpointReadError
from csc_models.nets.cosem_setups import SETUPS

_UNVERIFIED = "it has no digests, and its format no checksums: damage to its weights cannot be told"

Origin = Literal["csc-models", "official", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCheckpoint:
    """What a file holds, before a network is built.

    Attributes
    ----------
    path : Path
        The file.
    state : dict
        Weights by key, without prefixes of wrappers.
    description : CheckpointDescription
        What the file says about them; empty for bare weights.
    extra : dict
        What the writer added.
    origin : {"csc-models", "official", "unknown"}
        Who wrote it: this package, the challenge's toolbox, or somebody whose network is not known.
    notes : tuple of str
        What was assumed about the file.
    asks : str
        Why the network has to be given, where the file does not determine it.
    """

    path: Path
    state: dict[str, Tensor]
    description: CheckpointDescription
    extra: dict[str, Any]
    origin: Origin
    notes: tuple[str, ...] = ()
    asks: str = "does not say which network its weights are for; give load_checkpoint that network, model=..."


def read_checkpoint(path: str | PathLike[str], *, map_location: str | torch.device = "cpu") -> StoredCheckpoint:
    """Read what a file holds without building a network.

    Raises
    ------
    CheckpointNotFoundError, CheckpointReadError
        As `load_checkpoint`.

    Examples
    --------
    >>> import tempfile
    >>> from csc_models import create_model
    >>> from csc_models.checkpoint import read_checkpoint, save_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
    ...     save_checkpoint(f"{folder}/mine.pth", network, extra={"epoch": 3})
    ...     stored = read_checkpoint(f"{folder}/mine.pth")
    >>> stored.extra, len(stored.state) == len(network.state_dict())
    ({'epoch': 3}, True)
    """
    file = Path(path)
    if file.is_file() and is_safetensors(file):
        contents: Any = read_safetensors(file, map_location)
    else:
        contents = read_file(file, map_location)
    if not isinstance(contents, Mapping):
        raise CheckpointReadError(f"{file} holds a {type(contents).__name__}, not a checkpoint")
    unverified = () if DIGESTS in contents or is_zipfile(file) else (_UNVERIFIED,)
    if "format" not in contents:
        return _bare_checkpoint(file, _state(file, contents), unverified)
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
    unknown = [str(name) for name in contents if name not in ENTRIES]
    if unknown:
        raise CheckpointReadError(f"{file} has entries of no known name, so that it is damaged: {', '.join(unknown)}")
    if DIGESTS in contents:
        check_digests(file, contents)
    return StoredCheckpoint(
        path=file,
        state=_state(file, contents["model"]),
        description=CheckpointDescription.from_plain(contents["description"]),
        extra=dict(contents["extra"]),
        origin="csc-models",
        notes=unverified,
    )


def _state(file: Path, contents: Mapping[str, Any]) -> dict[str, Tensor]:
    """Check that a mapping is a state dict; one in a dict under the usual names is found."""
    for name in ("model", "state_dict", "model_state_dict"):
        if isinstance(contents.get(name), Mapping):
            return _state(file, contents[name])
    wrong = [str(key) for key, value in contents.items() if not isinstance(value, Tensor)]
    if wrong or not contents:
        what = f"entries other than tensors: {', '.join(wrong[:6])}" if wrong else "nothing in it"
        raise CheckpointReadError(f"{file} is not a checkpoint: {what}")
    return without_wrapper_prefixes(contents)


def _bare_checkpoint(file: Path, state: dict[str, Tensor], notes: tuple[str, ...]) -> StoredCheckpoint:
    """Recognise what a bare state dict belongs to."""
    found = recognise(state)
    if found is None:
        return StoredCheckpoint(
            path=file, state=state, description=CheckpointDescription(), extra={}, origin="unknown",
            notes=(
                *notes, "bare weights: the network, the classes and raw_range have to be given", *_cosem_note(state)
            ),
        )  # fmt: skip
    description = CheckpointDescription(raw_range=OFFICIAL_RAW_RANGE)
    if not found.open:
        description = replace(description, model_name=found.name, model_arguments=found.arguments)
    notes += (
        f"recognised as a state dict of the challenge's toolbox for {found.name}, which trains on raw values of 0 to "
        "255; give raw_range if it was trained otherwise",
    )
    asks = (
        f"has weights of the challenge's {found.name}, which do not tell {', '.join(found.open)}; give load_checkpoint "
        f"the network with what it was trained with, such as model={found}"
    )
    return StoredCheckpoint(
        path=file, state=state, description=description, extra={}, origin="official", notes=notes, asks=asks
    )


def _cosem_note(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Say so if weights are those of one of the COSEM project's networks, whose files do not tell which."""
    head = state.get("prediction_head.weight")
    if head is None or not any(key.endswith("l_conv.0.conv_pass.0.weight") for key in state):
        return ()
    n_classes = head.shape[0]
    fitting = [f"cosem_setup{name}" for name, setup in SETUPS.items() if len(setup.classes) == n_classes]
    return (
        f"its keys are those of the COSEM project's networks, with {n_classes} classes "
        f"({' or '.join(fitting) or 'a replaced head'}): `csc models fetch` and load_pretrained fetch the published "
        f"ones by name; an experiment with architecture = {(fitting or ['cosem_setup04'])[0]!r} takes these",
    )
