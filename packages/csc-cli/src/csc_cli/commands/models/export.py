"""``csc models export``: a network for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import say
from csc_data.wording import format_bytes

if TYPE_CHECKING:
    from csc_models.checkpoint import LoadedCheckpoint
    from csc_models.export import ExportedFile, PackageDetails

SUFFIXES = {"torchscript": ".pt", "export": ".pt2", "onnx": ".onnx", "bioimageio": ".zip"}
_READERS = {
    "torchscript": 'torch.jit.load("{path}")',
    "export": 'torch.export.load("{path}").module()',
    "onnx": 'onnxruntime.InferenceSession("{path}")',
    "bioimageio": "bioimageio test {path}",
}


@click.command()
@click.argument("checkpoint", type=click.Path())
@click.option("-f", "--format", "format_", type=click.Choice(list(SUFFIXES)), required=True, help="Kind of the file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file; beside CHECKPOINT unless given.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.option("--opset", type=click.IntRange(min=18), help="ONNX: version of the operators.")
@click.option("--raw-range", type=(float, float), help="What raw was scaled to, where CHECKPOINT does not say it.")
@click.option("--name", help="BioImage.IO: what people call the model.")
@click.option("--author", "authors", multiple=True, help="BioImage.IO: who made it; may be given several times.")
@click.option("--license", "license_", help="BioImage.IO: an SPDX identifier, such as CC-BY-4.0.")
@click.option(
    "--cite", "citations", multiple=True, help="BioImage.IO: a DOI or an address; may be given several times."
)
@click.option("--description", default="", help="BioImage.IO: a sentence about the model.")
@click.option("--documentation", type=click.Path(exists=True, path_type=Path), help="BioImage.IO: a Markdown file.")
@click.option(
    "--activation",
    type=click.Choice(["sigmoid", "none"]),
    help="BioImage.IO: how outputs become values; sigmoid (probabilities) unless given, none for distances.",
)
@click.option("--with-onnx", is_flag=True, help="BioImage.IO: add the weights as ONNX.")
def export(
    checkpoint: str,
    format_: str,
    output: Path | None,
    overwrite: bool,
    raw_range: tuple[float, float] | None,
    **package: Any,
) -> None:
    """Export the network of CHECKPOINT for other programs, and check that the file gives the network's outputs.

    \b
    torchscript  for C++ and old torch; .pt
    export       torch.export, for torch without this toolbox; .pt2
    onnx         for onnxruntime and others; .onnx
    bioimageio   a BioImage.IO model package for ilastik, deepImageJ and others; .zip
    """  # noqa: D301 - \b, the character, keeps click from joining lines
    from csc_models.checkpoint import load_checkpoint

    opset: int | None = package.pop("opset")  # all others are for BioImage.IO
    target = output or Path(checkpoint).with_suffix(SUFFIXES[format_])
    if opset is not None and format_ != "onnx":
        raise click.UsageError("--opset is for --format onnx")
    given = [name for name, value in package.items() if value]
    if given and format_ != "bioimageio":
        options = ", ".join(_option(name) for name in given)
        raise click.UsageError(f"{options}: for --format bioimageio only")
    details = _details(package) if format_ == "bioimageio" else None
    if target.exists() and (not overwrite or target.resolve() == Path(checkpoint).resolve()):
        raise click.ClickException(f"{target} exists; choose another name by -o, or replace it by --overwrite")
    if not target.resolve().parent.is_dir():
        raise click.ClickException(f"there is no folder {target.resolve().parent}; make it first")
    loaded = load_checkpoint(checkpoint, raw_range=raw_range)
    for note in loaded.notes:
        say(f"note: {note}")
    exported = _export(loaded, format_, target, opset, details)
    say(_report(exported))
    say(f"Open it with: {_READERS[format_].format(path=target)}")


def _export(
    loaded: LoadedCheckpoint, format_: str, target: Path, opset: int | None, details: PackageDetails | None
) -> ExportedFile:
    from csc_models import export as library

    if format_ == "torchscript":
        return library.to_torchscript(loaded.model, target, description=loaded.description)
    if format_ == "export":
        return library.to_exported_program(loaded.model, target, description=loaded.description)
    if format_ == "onnx":
        return library.to_onnx(loaded.model, target, description=loaded.description, opset=opset)
    assert details is not None
    return library.to_bioimageio(loaded.model, target, details, description=loaded.description)


def _details(package: dict[str, Any]) -> PackageDetails:
    from csc_models.export import PackageDetails

    needed = ("name", "authors", "license_", "citations")
    lacking = [_option(name) for name in needed if not package[name]]
    if lacking:
        raise click.UsageError(f"a BioImage.IO package needs {', '.join(lacking)}")
    documentation: Path | None = package["documentation"]
    return PackageDetails(
        name=package["name"],
        authors=package["authors"],
        license=package["license_"],
        cite=package["citations"],
        description=package["description"],
        documentation=documentation.read_text(encoding="utf-8") if documentation else "",
        activation="none" if package["activation"] == "none" else "sigmoid",
        with_onnx=package["with_onnx"],
    )


def _option(name: str) -> str:
    words = {"authors": "author", "license_": "license", "citations": "cite"}.get(name, name)
    return "--" + words.replace("_", "-")


def _report(exported: ExportedFile) -> str:
    spatial = [axis for axis in exported.dynamic_axes if axis != "batch"]
    if spatial:
        sizes = [str(exported.smallest + count * exported.step) for count in range(3)]
        free = f"{', '.join(spatial)} may be {', '.join(sizes)}, ..."
    else:
        free = f"patches have the size {' x '.join(map(str, exported.input_shape[2:]))}"
    batch = "any batch size" if "batch" in exported.dynamic_axes else f"batches of {exported.input_shape[0]}"
    lines = [
        f"Wrote {exported.path} ({format_bytes(exported.path.stat().st_size)}).",
        f"It was run: its outputs differ from the network's by {exported.largest_difference:.1g} of the largest one.",
        f"Inputs: {batch}; {free} voxels.",
        *(f"note: {note}" for note in exported.notes),
    ]
    return "\n".join(lines)
