"""The voxel size in the metadata of a TIFF, where ImageJ or OME wrote all three lengths with their unit."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import Any

from csc_data.formats.ngff import nm_per_unit
from csc_data.geometry import LARGEST_NM, Triple


def tiff_voxel_size(file: Any) -> tuple[Triple | None, str]:
    """Return the voxel size in nm that an open file states, and who wrote it; None where it is not sure."""
    if file.is_imagej:
        return _imagej(file.imagej_metadata or {}, file.pages.first), "ImageJ"
    if file.is_ome and file.ome_metadata:
        return _ome(file.ome_metadata), "OME"
    return None, ""


def _imagej(metadata: Mapping[str, Any], page: Any) -> Triple | None:
    tags = {name: page.tags.get(name) for name in ("XResolution", "YResolution")}
    if "spacing" not in metadata or None in tags.values():
        return None
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "\N{MICRO SIGN}")
    try:
        # TIFF states pixels per unit, as a fraction.
        y, x = (tags[name].value[1] / tags[name].value[0] for name in ("YResolution", "XResolution"))
        return _checked(float(metadata["spacing"]), y, x, nm_per_unit(unit))
    except (ValueError, TypeError, ZeroDivisionError):
        return None


def _ome(text: str) -> Triple | None:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(text)  # noqa: S314
        pixels = next(element for element in root.iter() if element.tag.rpartition("}")[2] == "Pixels")
        z, y, x = (
            float(pixels.attrib[f"PhysicalSize{axis}"])
            * nm_per_unit(pixels.attrib.get(f"PhysicalSize{axis}Unit", "\N{MICRO SIGN}m"))
            for axis in "ZYX"
        )
        return _checked(z, y, x, 1.0)
    except (ElementTree.ParseError, StopIteration, KeyError, ValueError):
        return None


def _checked(z: float, y: float, x: float, nm: float) -> Triple | None:
    # Nine digits: a fraction of 32 bits has no more.
    size = tuple(float(f"{value * nm:.9g}") for value in (z, y, x))
    return (size[0], size[1], size[2]) if all(0 < value < LARGEST_NM for value in size) else None
