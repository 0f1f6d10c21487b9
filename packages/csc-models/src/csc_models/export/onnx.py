"""Export to ONNX: a file that onnxruntime, OpenVINO, TensorRT and many viewers run.

Source: https://docs.pytorch.org/docs/stable/onnx.html
"""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from csc_models.checkpoint.contents import CheckpointDescription
from csc_models.checkpoint.files import replacing
from csc_models.errors import ExportError
from csc_models.export.exportable import DEFAULT_TRIAL, Exportable, Trial, exportable
from csc_models.export.exported_program import export_program
from csc_models.export.metadata import METADATA_KEY, metadata_text
from csc_models.export.verification import RUN_ERRORS, ExportedFile, check_agreement, quiet, reason
from csc_models.optional import import_extra

_EXTRA = "onnx"
# One protobuf message holds less than two gigabytes.
_LARGEST_FILE = 2_000_000_000


def to_onnx(
    model: nn.Module,
    path: str | PathLike[str],
    *,
    description: CheckpointDescription | None = None,
    trial: Trial = DEFAULT_TRIAL,
    opset: int | None = None,
) -> ExportedFile:
    """Export a network to ONNX, and check with onnxruntime that the file gives the network's outputs.

    The input is called ``input``, the output ``output``; `metadata_text` is in the file's ``metadata_props``
    under ``csc-models``.

    Parameters
    ----------
    model, description, trial
        As for `to_torchscript`.
    path : path
        Usually ends in ``.onnx``; the folder exists.
    opset : int, optional
        Version of the operators, 18 or newer; older runtimes need older ones. Torch chooses if it is not given.

    Returns
    -------
    ExportedFile
        Which axes are free, and how well it agrees.

    Raises
    ------
    MissingExtraError
        onnx, onnxscript or onnxruntime is not installed.
    ExportError
        The network cannot be exported, is larger than two gigabytes, or the file does not agree.
    CheckpointError
        The folder does not exist.
    """
    check_onnx_installed(f"exporting {path}")
    source = exportable(model, description, trial)
    target = Path(path)
    with replacing(target) as temporary:
        source, dynamic, found, notes = write_onnx(source, temporary, opset)
    return ExportedFile(
        path=target, format="onnx", input_shape=source.example, dynamic_axes=dynamic, smallest=source.smallest,
        step=source.unit, largest_difference=found, notes=notes,
    )  # fmt: skip


def check_onnx_installed(purpose: str) -> None:
    """Raise `MissingExtraError` before any work is done."""
    for module in ("onnx", "onnxscript"):
        import_extra(module, extra=_EXTRA, purpose=purpose)
    _import_runtime(purpose)


def write_onnx(
    source: Exportable, path: Path, opset: int | None
) -> tuple[Exportable, tuple[str, ...], float, tuple[str, ...]]:
    """Write the file and run it.

    Returns
    -------
    source : Exportable
        With the smallest size that the file takes.
    dynamic_axes : tuple of str
    largest_difference : float
    notes : tuple of str

    Raises
    ------
    ExportError
        See `to_onnx`.
    """
    weights = sum(values.nbytes for values in source.network.state_dict().values())
    if weights > _LARGEST_FILE:
        raise ExportError(f"the network has {weights:,} bytes of weights; an ONNX file holds up to {_LARGEST_FILE:,}")
    source, program, dynamic, notes = export_program(source)
    try:
        with quiet():
            converted = torch.onnx.export(
                program, (), input_names=["input"], output_names=["output"], opset_version=opset, dynamo=True,
                verbose=False,
            )  # fmt: skip
            assert converted is not None
            written = converted.model.opset_imports[""]
            if opset is not None and written != opset:
                raise ExportError(f"torch cannot write this network in opset {opset}, only in {written}")
            converted.model.metadata_props[METADATA_KEY] = metadata_text(source, dynamic)
            converted.save(path)
    except (*RUN_ERRORS, torch.onnx.OnnxExporterError) as error:
        raise ExportError(f"the network cannot be exported to ONNX: {reason(error)}") from error
    return source, dynamic, check_agreement(source, onnx_runner(path), dynamic), notes


def onnx_runner(path: Path) -> Callable[[Tensor], Tensor]:
    """Open a file with onnxruntime on the CPU.

    Raises
    ------
    ExportError
        onnxruntime refuses the file.
    """
    runtime: Any = _import_runtime(f"running {path}")
    failures = runtime.capi.onnxruntime_pybind11_state
    errors = (failures.Fail, failures.InvalidGraph, failures.InvalidArgument, failures.NotImplemented, *RUN_ERRORS)
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # fatal only; errors are raised
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except errors as error:
        raise ExportError(f"onnxruntime cannot run the network: {reason(error)}") from error

    def run(x: Tensor) -> Tensor:
        try:
            return torch.from_numpy(session.run(None, {"input": x.numpy()})[0])
        except errors as error:
            raise ExportError(f"onnxruntime cannot run the network on {tuple(x.shape)}: {reason(error)}") from error

    return run


def onnx_metadata(path: Path) -> str:
    """Return the text that a file has under `METADATA_KEY`."""
    runtime: Any = _import_runtime(f"running {path}")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    text: str = session.get_modelmeta().custom_metadata_map[METADATA_KEY]
    return text


def _import_runtime(purpose: str) -> Any:
    """Import onnxruntime so that it reports to nobody.

    From 1.29 on it writes a device id into the user's cache when it is imported, and sends names and hashes of models
    to its maker. It reads the variable that forbids that once, at import; where a program has imported it before,
    that program has decided.
    """
    name = "ORT_DISABLE_TELEMETRY"
    before = os.environ.get(name)
    os.environ[name] = before or "1"
    try:
        return import_extra("onnxruntime", extra=_EXTRA, purpose=purpose)
    finally:
        if before is None:
            del os.environ[name]
