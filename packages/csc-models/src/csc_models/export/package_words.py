"""The words of a BioImage.IO package that follow from the model: description, documentation, tags."""

from __future__ import annotations

from collections.abc import Sequence

from csc_models.export.exportable import Exportable
from csc_models.export.package_details import PackageDetails


def package_description(source: Exportable) -> str:
    """Say in a sentence what the model does.

    Examples
    --------
    >>> from csc_models import create_model
    >>> from csc_models.export.exportable import DEFAULT_TRIAL, exportable
    >>> network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
    >>> package_description(exportable(network, None, DEFAULT_TRIAL))
    'Segmentation in electron microscopy by 2d_unet_s'
    """
    network = source.description.model_name or "a network"
    classes = ", ".join(source.description.classes)
    what = f"Segmentation of {classes}" if classes else "Segmentation"
    return f"{what} in electron microscopy by {network}"[:512]


def package_tags(source: Exportable) -> list[str]:
    """Words that people search for.

    Examples
    --------
    >>> from csc_models import create_model
    >>> from csc_models.export.exportable import DEFAULT_TRIAL, exportable
    >>> network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
    >>> package_tags(exportable(network, None, DEFAULT_TRIAL))[-3:]
    ['2d', 'pytorch', '2d_unet_s']
    """
    name = source.description.model_name
    return [
        "segmentation",
        "semantic-segmentation",
        "electron-microscopy",
        f"{len(source.axes)}d",
        "pytorch",
        *([name] if name else []),
    ]


def package_documentation(source: Exportable, details: PackageDetails, seams: Sequence[str]) -> str:
    """Write the documentation: what was given, or a page with what is known, `seams` among it."""
    if details.documentation:
        return details.documentation
    description = source.description
    lines = [f"# {details.name}", "", details.description or package_description(source) + ".", "", "## Model", ""]
    arguments = ", ".join(f"{name}={value!r}" for name, value in description.model_arguments.items())
    lines.append(f"- Network: {description.model_name or 'of its own'}" + (f" ({arguments})" if arguments else ""))
    if description.channels:
        lines.append(f"- Output channels: {', '.join(description.channels)}")
    for name, array in description.input_arrays.items():
        if "scale" in array:
            lines.append(
                f"- Voxel size of {name}: {' x '.join(f'{nm:g}' for nm in array['scale'])} nm ({', '.join('zyx')})"
            )
    lines.append(
        f"- Raw values of {details.raw_type} are mapped to {description.raw_range} before the network sees them."
    )
    lines += [f"- {text[0].upper()}{text[1:]}." for text in seams]
    lines += [
        "",
        "## Validation",
        "",
        "Predict crops that were not trained on, and compare with their annotations: intersection over union for "
        "semantic classes, and matched instances for classes that are counted.",
        "",
    ]
    return "\n".join(lines)
