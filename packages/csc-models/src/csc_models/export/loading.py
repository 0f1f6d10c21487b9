"""Exported files as networks again, for who has nothing else."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from csc_models.checkpoint.contents import CheckpointDescription
from csc_models.errors import CheckpointReadError, ExportError
from csc_models.export.metadata import METADATA_KEY
from csc_models.export.onnx import onnx_metadata, onnx_runner
from csc_models.export.verification import RUN_ERRORS, quiet, reason

_WEIGHTS = "weights.pt"  # in a BioImage.IO package


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedExport:
    """A network from an exported file.

    Attributes
    ----------
    model : torch.nn.Module
        In evaluation mode; it takes batches of any size.
    description : CheckpointDescription
        What the file says of it.
    """

    model: nn.Module
    description: CheckpointDescription


def is_exported(path: str | PathLike[str]) -> bool:
    """Tell whether a file is one that this package exports, by its name and what it holds.

    Examples
    --------
    >>> is_exported("mine.onnx"), is_exported("mine.pth")
    (True, False)
    """
    file = Path(path)
    if file.suffix in (".onnx", ".pt2", ".zip"):
        return True
    return zipfile.is_zipfile(file) and any(
        name.endswith(f"/extra/{METADATA_KEY}") for name in zipfile.ZipFile(file).namelist()
    )


def load_exported(path: str | PathLike[str]) -> LoadedExport:
    """Load a network from a file of `to_torchscript`, `to_exported_program`, `to_onnx` or `to_bioimageio`.

    ONNX runs on the CPU, the others where they are moved.

    Raises
    ------
    CheckpointReadError
        The file is not there, damaged, or does not say what it was trained for.
    MissingExtraError
        It is ONNX, and onnxruntime is not installed.
    """
    file = Path(path)
    try:
        with quiet():
            run, text = _open(file)
        said: dict[str, Any] = json.loads(text)
        known = {field.name for field in fields(CheckpointDescription)}
        description = CheckpointDescription.from_plain({name: said[name] for name in known & set(said)})
        shape, dynamic = tuple(said["input_shape"]), set(said["dynamic_axes"])
    except (OSError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError, ExportError, *RUN_ERRORS) as error:
        raise CheckpointReadError(f"{file} is not an exported network that can be used: {reason(error)}") from error
    batch = None if "batch" in dynamic else shape[0]
    return LoadedExport(model=_Exported(run, batch, shape if len(dynamic) < 2 else None), description=description)


def _open(file: Path) -> tuple[Callable[[Tensor], Tensor], str]:
    """Return what runs, and the metadata."""
    if file.suffix == ".onnx":
        return onnx_runner(file), onnx_metadata(file)
    if file.suffix == ".pt2":
        extra = {METADATA_KEY: ""}
        return torch.export.load(file, extra_files=extra).module(), extra[METADATA_KEY]
    jit: Any = torch.jit  # its functions have no types
    found = {METADATA_KEY: b""}
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as package, package.open(_WEIGHTS) as weights:
            run = jit.load(weights, map_location="cpu", _extra_files=found)
    else:
        run = jit.load(str(file), map_location="cpu", _extra_files=found)
    return run, bytes(found[METADATA_KEY]).decode()


class _Exported(nn.Module):
    """Runs an exported network on batches of any size.

    Parameters
    ----------
    run : callable
    batch : int or None
        Patches that it takes at a time; None for any number.
    shape : tuple of int or None
        Shape of its input, if it takes no other.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], batch: int | None, shape: tuple[int, ...] | None) -> None:
        super().__init__()
        self.run = run  # a module is moved with this one
        self._batch, self._shape = batch, shape
        self.training = False  # an exported program has no other mode, and says so by an error

    def train(self, mode: bool = True) -> _Exported:
        """Stay in evaluation mode."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Give what the network gives for a batch (B, C, [z,] y, x)."""
        if self._shape is not None and tuple(x.shape[2:]) != self._shape[2:]:
            taken, given = ("x".join(map(str, shape[2:])) for shape in (self._shape, x.shape))
            raise ExportError(f"the exported network takes patches of {taken} voxels and no others, got {given}")
        if self._batch is None or len(x) == self._batch:
            return self.run(x)
        missing = -len(x) % self._batch
        padded = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing else x
        return torch.cat([self.run(part) for part in torch.split(padded, self._batch)])[: len(x)]
