"""Export to TorchScript: a file that C++, Fiji, ilastik and old torch versions run without Python code of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from csc_models.checkpoint.contents import CheckpointDescription
from csc_models.checkpoint.files import replacing
from csc_models.errors import ExportError
from csc_models.export.exportable import DEFAULT_TRIAL, Exportable, Trial, exportable
from csc_models.export.metadata import METADATA_KEY, metadata_text
from csc_models.export.verification import (
    RUN_ERRORS,
    ExportedFile,
    check_agreement,
    example_input,
    quiet,
    reason,
)


def to_torchscript(
    model: nn.Module,
    path: str | PathLike[str],
    *,
    description: CheckpointDescription | None = None,
    trial: Trial = DEFAULT_TRIAL,
) -> ExportedFile:
    """Trace a network, save the trace, and check that the file gives the network's outputs.

    ``torch.jit.load(path, _extra_files={"csc-models": ""})`` reads it, and `metadata_text` beside it.

    Parameters
    ----------
    model : torch.nn.Module
        From the catalogue, an ensemble, or one's own; it stays as it is.
    path : path
        Usually ends in ``.pt``; the folder exists.
    description : CheckpointDescription, optional
        What the network was trained for, as `load_checkpoint` gives it.
    trial : Trial
        Which input the network is traced with, and how far the outputs of the file may be from its own.

    Returns
    -------
    ExportedFile
        Which axes are free, and how well it agrees. A trace fixes what depends on sizes, so that spatial axes are free
        where the network works on multiples of its step without padding, and fixed elsewhere.

    Raises
    ------
    ExportError
        The network cannot be traced, or the file does not agree.
    CheckpointError
        The folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from csc_models import create_model
    >>> from csc_models.export import Trial, load_exported, to_torchscript
    >>> network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = to_torchscript(network, f"{folder}/mine.pt", trial=Trial(shape=(1, 1, 16, 16)))
    ...     print(file.dynamic_axes, load_exported(file.path).description.model_name)
    ('batch', 'y', 'x') 2d_unet_s
    """
    source = exportable(model, description, trial)
    target = Path(path)
    traced = trace(source)
    source, dynamic = free_axes(source, traced)
    with replacing(target) as temporary:
        found = save_trace(source, traced, dynamic, temporary)
    return ExportedFile(
        path=target, format="torchscript", input_shape=source.example, dynamic_axes=dynamic, smallest=source.smallest,
        step=source.unit, largest_difference=found,
    )  # fmt: skip


def trace(source: Exportable) -> Any:
    """Record the operations of a network on its example.

    Raises
    ------
    ExportError
        That is not possible.
    """
    jit: Any = torch.jit  # its functions have no types
    with quiet(), torch.no_grad():
        try:
            return jit.trace(source.network, example_input(source.example), check_trace=False)
        except RUN_ERRORS as error:
            raise ExportError(f"the network cannot be exported to TorchScript: {reason(error)}") from error


def free_axes(source: Exportable, traced: Any) -> tuple[Exportable, tuple[str, ...]]:
    """Find out by trying which axes of a trace take other sizes, and which is the smallest size."""
    choices: list[tuple[Exportable, tuple[str, ...]]] = [(source, ("batch",))]
    if source.sizes is not None:
        larger = replace(source, smallest=source.smallest + source.unit)
        choices = [(candidate, ("batch", *source.axes)) for candidate in (source, larger)] + choices
    for candidate, axes in choices:
        with quiet(), torch.no_grad():
            try:
                check_agreement(candidate, traced, axes)
            except ExportError:
                continue
        return candidate, axes
    return source, ()


def save_trace(source: Exportable, traced: Any, dynamic: Sequence[str], path: Path) -> float:
    """Save a trace with its description, read it back, and return how far its outputs are from the network's.

    Raises
    ------
    ExportError
        Further than the tolerance.
    """
    jit: Any = torch.jit
    with quiet(), torch.no_grad():
        jit.save(traced, str(path), _extra_files={METADATA_KEY: metadata_text(source, dynamic)})
        return check_agreement(source, jit.load(str(path), map_location="cpu"), dynamic)
