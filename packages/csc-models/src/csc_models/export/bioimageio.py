"""Export as a BioImage.IO model package: weights, axes, preprocessing, test tensors and words in one zip file.

ilastik, deepImageJ, QuPath and bioimageio.core run such packages, and https://bioimage.io publishes them.
Source: https://bioimage-io.github.io/spec-bioimage-io, model description 0.5
"""

from __future__ import annotations

import gc
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from csc_models.checkpoint.contents import CheckpointDescription
from csc_models.checkpoint.files import replacing
from csc_models.errors import ExportError
from csc_models.export.exportable import DEFAULT_TRIAL, Exportable, Trial, exportable
from csc_models.export.metadata import METADATA_KEY
from csc_models.export.onnx import check_onnx_installed, write_onnx
from csc_models.export.package_details import PackageDetails
from csc_models.export.package_words import package_description, package_documentation, package_tags
from csc_models.export.tiles import choose_halo, seams
from csc_models.export.torchscript import free_axes, save_trace, trace
from csc_models.export.verification import ExportedFile, reason
from csc_models.optional import import_extra

_EXTRA = "bioimageio"
_RAW_END = {"uint8": 255, "uint16": 65535}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Weights:
    """Files of a package, how well they agree with the network, and the smallest size that all of them take."""

    smallest: int
    torchscript: Path
    onnx: Path | None
    dynamic_axes: tuple[str, ...]
    largest_difference: float
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What the axes of a package are.

    `smallest` and `step` are voxels of free spatial axes; `sizes` the fixed ones, or those of the test input; `seams`
    says why tiles can differ from the whole.
    """

    smallest: int
    step: int
    free: bool
    sizes: tuple[int, ...]
    halo: int
    seams: tuple[str, ...]


def to_bioimageio(
    model: nn.Module,
    path: str | PathLike[str],
    details: PackageDetails,
    *,
    description: CheckpointDescription | None = None,
    trial: Trial = DEFAULT_TRIAL,
) -> ExportedFile:
    """Write a BioImage.IO model package, and check it with the validator of bioimageio.spec.

    Tools give raw data as it is stored; the package scales it to the `raw_range` that the network was trained on, and
    turns logits into probabilities.

    Parameters
    ----------
    model, trial
        As for `to_torchscript`.
    path : path
        Ends in ``.zip``; the folder exists.
    details : PackageDetails
        Name, authors, license and citations.
    description : CheckpointDescription
        As `load_checkpoint` gives it; `raw_range` is needed, classes and voxel sizes are written if they are known.

    Returns
    -------
    ExportedFile
        Which axes are free, how well the weights agree, and in its `notes` why tiles can differ from the whole image.

    Raises
    ------
    MissingExtraError
        bioimageio.spec, or a part of the extra ``[onnx]`` if ONNX is wanted, is not installed.
    ExportError
        There is no raw range, the details are not what the specification asks for, or the network cannot be exported.
    CheckpointError
        The folder does not exist.
    """
    import_extra("bioimageio.spec.model.v0_5", extra=_EXTRA, purpose=f"exporting {path}")
    if details.with_onnx:
        check_onnx_installed(f"exporting {path}")
    target = Path(path)
    if target.suffix != ".zip":
        raise ExportError(f"{target}: the name of a package has to end in .zip")
    source = exportable(model, description, trial)
    if source.description.raw_range is None:
        raise ExportError(
            "the checkpoint does not say what raw was scaled to, and a package has to; give raw_range: (0, 1) for raw "
            "scaled to [0, 1], (0, 255) for uint8 as it is"
        )
    with tempfile.TemporaryDirectory(prefix="csc-models-") as folder_name, replacing(target) as temporary:
        folder = Path(folder_name)
        weights = _write_weights(source, details, folder)
        plan = _plan(source, details, weights)
        _write_tests(source, details, plan, folder)
        (folder / "README.md").write_text(package_documentation(source, details, plan.seams), encoding="utf-8")
        with _unclosed_files():
            _write_package(source, details, plan, weights, temporary)
    return ExportedFile(
        path=target, format="bioimageio", input_shape=source.example, dynamic_axes=weights.dynamic_axes,
        smallest=plan.smallest, step=plan.step, largest_difference=weights.largest_difference,
        notes=(*weights.notes, *plan.seams),
    )  # fmt: skip


def _write_weights(source: Exportable, details: PackageDetails, folder: Path) -> _Weights:
    traced = trace(source)
    source, dynamic = free_axes(source, traced)
    torchscript = folder / "weights.pt"
    onnx: Path | None = None
    notes: tuple[str, ...] = ()
    found = 0.0
    if details.with_onnx:
        onnx = folder / "weights.onnx"
        source, onnx_axes, found, notes = write_onnx(source, onnx, None)
        dynamic = tuple(axis for axis in dynamic if axis in onnx_axes)
    found = max(found, save_trace(source, traced, dynamic, torchscript))
    return _Weights(
        smallest=source.smallest,
        torchscript=torchscript,
        onnx=onnx,
        dynamic_axes=dynamic,
        largest_difference=found,
        notes=notes,
    )


def _plan(source: Exportable, details: PackageDetails, weights: _Weights) -> _Plan:
    free = set(source.axes) <= set(weights.dynamic_axes)
    halo = choose_halo(source, details.halo, free=free)
    smallest = weights.smallest
    while free and source.output.size(smallest) <= 2 * halo:
        smallest += source.unit
    sizes = tuple([smallest] * (len(source.axes) - 1) + [smallest + source.unit]) if free else source.example[2:]
    return _Plan(
        smallest=smallest, step=source.unit, free=free, sizes=sizes, halo=halo, seams=seams(source, halo)
    )  # fmt: skip


def _write_tests(source: Exportable, details: PackageDetails, plan: _Plan, folder: Path) -> None:
    """Raw as it is stored, and what the package makes of it."""
    import numpy as np

    gain, offset = _scaling(source, details)
    generator = torch.Generator().manual_seed(0)
    shape = (1, source.channels, *plan.sizes)
    raw = torch.randint(0, _RAW_END[details.raw_type] + 1, shape, generator=generator)
    with torch.no_grad():
        output: Tensor = source.network(raw.float() * gain + offset)
    if details.activation == "sigmoid":
        output = output.sigmoid()
    np.save(folder / "test_input.npy", raw.numpy().astype(details.raw_type))
    np.save(folder / "test_output.npy", output.numpy())


def _scaling(source: Exportable, details: PackageDetails) -> tuple[float, float]:
    """Gain and offset that map the range of the raw type to the raw range."""
    assert source.description.raw_range is not None
    low, high = source.description.raw_range
    return (high - low) / _RAW_END[details.raw_type], low


def _write_package(source: Exportable, details: PackageDetails, plan: _Plan, weights: _Weights, path: Path) -> None:
    """Describe the model, pack it, and validate the zip file as a reader would.

    Raises
    ------
    ExportError
        With everything that the specification does not allow.
    """
    spec: Any = import_extra("bioimageio.spec", extra=_EXTRA, purpose="exporting a package")
    v5: Any = import_extra("bioimageio.spec.model.v0_5", extra=_EXTRA, purpose="exporting a package")
    pydantic: Any = import_extra("pydantic", extra=_EXTRA, purpose="exporting a package")
    folder = weights.torchscript.parent
    try:
        content = v5.ModelDescr(
            name=details.name,
            description=details.description or package_description(source),
            authors=[v5.Author(**_given(author)) for author in details.authors],
            license=details.license,
            cite=[v5.CiteEntry(**_given(entry)) for entry in details.cite],
            documentation=v5.FileDescr(source=folder / "README.md"),
            tags=[*package_tags(source), *details.tags],
            inputs=[_input(v5, source, details, plan, folder)],
            outputs=[_output(v5, source, details, plan, folder)],
            weights=_weights_entry(v5, weights),
            config={METADATA_KEY: {"receptive_field": source.receptive_field, "notes": list(plan.seams)}},
            **({"version": v5.Version(details.version)} if details.version else {}),
        )
        spec.save_bioimageio_package(content, output_path=path)
    except pydantic.ValidationError as error:
        findings = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ExportError(f"the package does not fit the BioImage.IO specification: {findings}") from error
    except ValueError as error:
        raise ExportError(f"the package does not fit the BioImage.IO specification: {reason(error)}") from error
    loaded = spec.load_description(path)
    if isinstance(loaded, spec.InvalidDescr):
        raise ExportError(f"the package is not valid: {loaded.validation_summary.format()}")


@contextmanager
def _unclosed_files() -> Iterator[None]:
    """Let bioimageio.spec, which leaves the files that it reads to the garbage collector, do so without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def _given(entry: Any) -> dict[str, str]:
    """Fields of a dataclass that are not None."""
    return {name: value for name, value in asdict(entry).items() if value is not None}


def _weights_entry(v5: Any, weights: _Weights) -> Any:
    version = torch.__version__.split("+")[0]
    entries: dict[str, Any] = {
        "torchscript": v5.TorchscriptWeightsDescr(source=weights.torchscript, pytorch_version=v5.Version(version))
    }
    if weights.onnx is not None:
        onnx: Any = import_extra("onnx", extra="onnx", purpose="exporting a package")
        opset = onnx.load(str(weights.onnx), load_external_data=False).opset_import[0].version
        entries["onnx"] = v5.OnnxWeightsDescr(source=weights.onnx, opset_version=opset, parent="torchscript")
    return v5.WeightsDescr(**entries)


def _input(v5: Any, source: Exportable, details: PackageDetails, plan: _Plan, folder: Path) -> Any:
    names = ["raw"] if source.channels == 1 else [f"raw{channel}" for channel in range(source.channels)]
    scale, unit = _voxel_size(source)
    axes = [v5.BatchAxis(), v5.ChannelAxis(channel_names=names)]
    for name, size, nm in zip(source.axes, plan.sizes, scale, strict=True):
        allowed = v5.ParameterizedSize(min=plan.smallest, step=plan.step) if plan.free else size
        axes.append(v5.SpaceInputAxis(id=v5.AxisId(name), size=allowed, scale=nm, unit=unit))
    gain, offset = _scaling(source, details)
    preprocessing = [v5.EnsureDtypeDescr(kwargs=v5.EnsureDtypeKwargs(dtype="float32"))]
    if (gain, offset) != (1.0, 0.0):
        # In float32 before and after: a list that ends with another step is completed with a cast to the raw type.
        scaling = v5.ScaleLinearDescr(kwargs=v5.ScaleLinearKwargs(gain=gain, offset=offset))
        preprocessing += [scaling, v5.EnsureDtypeDescr(kwargs=v5.EnsureDtypeKwargs(dtype="float32"))]
    return v5.InputTensorDescr(
        id=v5.TensorId("raw"),
        description="electron microscopy, as it is stored",
        axes=axes,
        data=v5.IntervalOrRatioDataDescr(type=details.raw_type, range=(0, _RAW_END[details.raw_type])),
        preprocessing=preprocessing,
        test_tensor=v5.FileDescr(source=folder / "test_input.npy"),
    )


def _output(v5: Any, source: Exportable, details: PackageDetails, plan: _Plan, folder: Path) -> Any:
    with torch.no_grad():
        channels = source.network(torch.zeros(source.example)).shape[1]
    names = list(source.description.channels) or [f"class{channel}" for channel in range(channels)]
    scale, unit = _voxel_size(source)
    axes = [v5.BatchAxis(), v5.ChannelAxis(channel_names=names)]
    for name, nm in zip(source.axes, scale, strict=True):
        size = v5.SizeReference(tensor_id=v5.TensorId("raw"), axis_id=v5.AxisId(name), offset=-source.output.lost)
        common = {"id": v5.AxisId(name), "size": size, "scale": nm / source.output.scale_factor, "unit": unit}
        axes.append(v5.SpaceOutputAxisWithHalo(**common, halo=plan.halo) if plan.halo else v5.SpaceOutputAxis(**common))
    probabilities = details.activation == "sigmoid"
    return v5.OutputTensorDescr(
        id=v5.TensorId("probabilities" if probabilities else "values"),
        description="probability of each class" if probabilities else "output of the network",
        axes=axes,
        data=v5.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0) if probabilities else (None, None)),
        postprocessing=[v5.SigmoidDescr()] if probabilities else [],
        test_tensor=v5.FileDescr(source=folder / "test_output.npy"),
    )


def _voxel_size(source: Exportable) -> tuple[tuple[float, ...], str | None]:
    """Voxel size of the input per axis with its unit; ones without a unit if it is not known."""
    arrays = list(source.description.input_arrays.values())
    scale = list(arrays[0].get("scale", ())) if arrays else []
    if len(scale) < len(source.axes):
        return (1.0,) * len(source.axes), None
    return tuple(float(nm) for nm in scale[-len(source.axes) :]), "nanometer"
