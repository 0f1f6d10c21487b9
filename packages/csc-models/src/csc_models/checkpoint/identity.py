"""Say what a checkpoint file is, and whether it loads."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from csc_models.checkpoint.contents import CheckpointDescription, check_channels
from csc_models.checkpoint.loading import check_network
from csc_models.checkpoint.reading import Origin, StoredCheckpoint, read_checkpoint
from csc_models.errors import ModelError


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointIdentity:
    """What a checkpoint file is.

    Attributes
    ----------
    path : Path
        The file.
    origin : {"csc-models", "official", "unknown"}
        Who wrote it: this package, the challenge's toolbox, or somebody whose network is not known.
    description : CheckpointDescription
        Network, classes, arrays and raw range, as far as they are known.
    tensors, values : int
        Number of arrays in the state dict, and of numbers in them.
    notes : tuple of str
        What was assumed, and what has to be given.
    problem : str
        Why `load_checkpoint` fails without further arguments; empty if it works.
    """

    path: Path
    origin: Origin
    description: CheckpointDescription
    tensors: int
    values: int
    notes: tuple[str, ...]
    problem: str

    def __str__(self) -> str:
        description = self.description
        arguments = ", ".join(f"{name}={value!r}" for name, value in description.model_arguments.items())
        source = f" of {', '.join(description.packages)}" if description.packages else ""
        lines = [
            f"{self.path}: {_WORDS[self.origin]}",
            f"  network    {description.model_name or 'unknown'}{source}" + (f" ({arguments})" if arguments else ""),
            f"  weights    {self.values:,} numbers in {self.tensors} arrays",
            f"  classes    {', '.join(description.classes) or 'not stored'}",
            *([f"  channels   {', '.join(description.channels)}"] if description.outputs else []),
            f"  raw_range  {description.raw_range or 'not stored'}",
            *([f"  output     {_OUTPUTS[description.values]}"] if description.values in _OUTPUTS else []),
            *(f"  note       {note}" for note in self.notes),
            f"  loads      {'no: ' + self.problem if self.problem else 'yes'}",
        ]
        return "\n".join(lines)


_OUTPUTS = {
    "distance": "signed distances, above 0 inside",
    "exclusive": "logits of classes that exclude each other, and of 0 for none",
}
_WORDS: dict[Origin, str] = {
    "csc-models": "a checkpoint of csc-models",
    "official": "a state dict of the challenge's toolbox",
    "unknown": "weights of a network that is not known here",
}


def identify(path: str | PathLike[str]) -> CheckpointIdentity:
    """Say what a file is, and try whether its weights fit the network that it describes.

    Parameters
    ----------
    path : path
        Any file.

    Returns
    -------
    CheckpointIdentity
        Printed, it is a short report.

    Raises
    ------
    CheckpointNotFoundError
        There is no such file.
    CheckpointReadError
        The file is truncated, or is not a checkpoint.

    Examples
    --------
    >>> import tempfile
    >>> from csc_models import create_model
    >>> from csc_models.checkpoint import identify, save_checkpoint
    >>> network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(f"{folder}/mine.pth", network)
    ...     found = identify(f"{folder}/mine.pth")
    ...     print(found.description.model_name, found.problem or "nothing is wrong")
    2d_unet_s nothing is wrong
    """
    stored = read_checkpoint(path)
    return CheckpointIdentity(
        path=stored.path,
        origin=stored.origin,
        description=stored.description,
        tensors=len(stored.state),
        values=sum(tensor.numel() for tensor in stored.state.values()),
        notes=stored.notes,
        problem=_problem(stored),
    )


def _problem(stored: StoredCheckpoint) -> str:
    if stored.description.model_name is None:
        return f"it {stored.asks}, or an experiment file that names it"
    try:
        check_channels(stored.description, str(stored.path))
        check_network(stored.description, stored.state, str(stored.path))
    except ModelError as error:
        return str(error)
    return ""
