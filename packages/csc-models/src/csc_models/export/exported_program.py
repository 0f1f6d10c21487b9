"""Export by ``torch.export``: a graph that torch loads, optimises and compiles ahead of time without our code.

Source: https://docs.pytorch.org/docs/stable/export.html
"""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

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

# Sizes beyond this have no meaning for a patch; without a bound, torch proves less about them.
_LARGEST_SIZE = 1 << 14
_LARGEST_BATCH = 1 << 12


def to_exported_program(
    model: nn.Module,
    path: str | PathLike[str],
    *,
    description: CheckpointDescription | None = None,
    trial: Trial = DEFAULT_TRIAL,
) -> ExportedFile:
    """Export a network by ``torch.export``, save it, and check that the file gives the network's outputs.

    ``torch.export.load(path, extra_files={"csc-models": ""}).module()`` reads it, and `metadata_text` beside it.

    Parameters
    ----------
    model, description, trial
        As for `to_torchscript`.
    path : path
        Ends in ``.pt2``; the folder exists.

    Returns
    -------
    ExportedFile
        Which axes are free. Spatial axes are where torch can prove that the network works for all multiples of its
        step; otherwise only the batch is, and `notes` says why.

    Raises
    ------
    ExportError
        The name does not end in ``.pt2``, the network cannot be exported, or the file does not agree.
    CheckpointError
        The folder does not exist.
    """
    target = Path(path)
    if target.suffix != ".pt2":
        raise ExportError(f"{target}: the name of an exported program has to end in .pt2, or torch does not read it")
    source = exportable(model, description, trial)
    source, program, dynamic, notes = export_program(source)
    with replacing(target) as temporary, quiet(), torch.no_grad():
        torch.export.save(program, temporary, extra_files={METADATA_KEY: metadata_text(source, dynamic)})
        found = check_agreement(source, torch.export.load(temporary).module(), dynamic)
    return ExportedFile(
        path=target, format="export", input_shape=source.example, dynamic_axes=dynamic, smallest=source.smallest,
        step=source.unit, largest_difference=found, notes=notes,
    )  # fmt: skip


def export_program(
    source: Exportable,
) -> tuple[Exportable, ExportedProgram, tuple[str, ...], tuple[str, ...]]:
    """Export with as many free axes as the network allows.

    Returns
    -------
    source : Exportable
        With the smallest size that the program takes.
    program : torch.export.ExportedProgram
    dynamic_axes : tuple of str
    notes : tuple of str
        Why spatial axes are fixed, where they are.

    Raises
    ------
    ExportError
        Not even with fixed sizes.
    """
    example = example_input(source.example)
    attempts: list[tuple[Exportable, tuple[str, ...], Any]] = []
    if source.sizes is not None:
        # Torch proves things about sizes larger than 1, and at the smallest size, the coarsest level may have 1 voxel.
        for smallest in (source.smallest, source.smallest + source.unit):
            candidate = replace(source, smallest=smallest)
            attempts.append((candidate, ("batch", *source.axes), ({0: _batch(), **_spatial_dims(candidate)},)))
    attempts += [(source, ("batch",), ({0: _batch()},)), (source, (), None)]
    failures: list[str] = []
    for candidate, axes, dims in attempts:
        try:
            with quiet(), torch.no_grad():
                program = torch.export.export(source.network, (example,), dynamic_shapes=dims)
                check_agreement(candidate, program.module(), axes)
        except (ExportError, *RUN_ERRORS) as error:
            fixed = "with free spatial axes" if len(axes) > 1 else "with a free batch axis" if axes else "at all"
            failures.append(f"torch.export does not take the network {fixed} ({reason(error)})")
            continue
        return candidate, program, axes, () if len(axes) > 1 else tuple(failures[-1:])
    raise ExportError(f"the network cannot be exported: {failures[-1]}")


def _batch() -> Any:
    return Dim("batch", min=1, max=_LARGEST_BATCH)


def _spatial_dims(source: Exportable) -> dict[int, Any]:
    """Sizes that need no padding inside: the smallest plus multiples of the step."""
    dims = {}
    offset = source.smallest % source.unit
    for index, axis in enumerate(source.axes):
        blocks = Dim(f"{axis}_blocks", min=source.smallest // source.unit, max=_LARGEST_SIZE // source.unit)
        # The type of such expressions is not public.
        size: Any = source.unit * blocks if source.unit > 1 else blocks
        dims[2 + index] = size + offset if offset else size
    return dims
