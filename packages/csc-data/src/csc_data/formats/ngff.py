"""Metadata of scale levels: OME-NGFF multiscales read and written, and the attributes of plain arrays.

Read are versions 0.4 (https://ngff.openmicroscopy.org/0.4/) and 0.5, which keeps the same under ``ome``; written is
0.4, which the challenge uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csc_data.errors import CscError, UnreadableDataError
from csc_data.geometry import Grid, Triple, as_shape, as_triple

_NM_PER_UNIT = {"nanometer": 1.0, "micrometer": 1e3, "millimeter": 1e6, "angstrom": 0.1, "meter": 1e9}


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPlace:
    """What a multiscale group says of one level.

    Attributes
    ----------
    name : str
        Path of its array within the group.
    voxel_size, translation : tuple of float
        nm, z, y, x; the translation is that of the centre of voxel 0.
    """

    name: str
    voxel_size: Triple
    translation: Triple

    def grid(self, shape: Sequence[int]) -> Grid:
        """Return its grid, given the shape of its array."""
        return Grid(voxel_size=self.voxel_size, translation=self.translation, shape=as_shape(shape))


def multiscales(attributes: Mapping[str, Any]) -> Any:
    """Return the multiscales entry of a group's attributes, of either version; None where there is none."""
    ome = attributes.get("ome")
    if isinstance(ome, Mapping) and "multiscales" in ome:
        return ome["multiscales"]
    return attributes.get("multiscales")


def parse_multiscale(path: str, attributes: Mapping[str, Any]) -> tuple[LevelPlace, ...]:
    """Return the levels that the attributes of a multiscale group name, in their order.

    Parameters
    ----------
    path : str
        Of the group; for messages.
    attributes : mapping
        Of the group.

    Raises
    ------
    UnreadableDataError
        If they are no three-dimensional multiscales of OME-NGFF 0.4 or 0.5 with the axes z, y, x.
    """
    try:
        first = multiscales(attributes)[0]
        units = [_NM_PER_UNIT[axis.get("unit", "nanometer")] for axis in first["axes"]]
        names = [axis["name"] for axis in first["axes"]]
        outer = first.get("coordinateTransformations") or []
        levels = []
        for dataset in first["datasets"]:
            scale, translation = _compose([*dataset["coordinateTransformations"], *outer])
            size = as_triple(_in_nm(scale, units), "scale")
            place = as_triple(_in_nm(translation, units), "translation")
            levels.append(LevelPlace(name=str(dataset["path"]), voxel_size=size, translation=place))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        words = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise UnreadableDataError(
            f"{path}: its `multiscales` are no three-dimensional OME-NGFF 0.4 or 0.5: {words}"
        ) from error
    if names != ["z", "y", "x"]:
        raise UnreadableDataError(f"{path}: its axes are {names}, expected z, y, x")
    return tuple(levels)


def _compose(transformations: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """Chain scales and translations, in the order in which OME-NGFF applies them."""
    scale, translation = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    for step in transformations:
        if step["type"] == "scale":
            scale = [a * b for a, b in zip(scale, step["scale"], strict=True)]
            translation = [a * b for a, b in zip(translation, step["scale"], strict=True)]
        elif step["type"] == "translation":
            translation = [a + b for a, b in zip(translation, step["translation"], strict=True)]
        elif step["type"] != "identity":
            raise ValueError(f"a transformation of type {step['type']!r}, expected scale or translation")
    if not all(value > 0 for value in scale):
        raise ValueError(f"a scale of {scale}, expected sizes above 0")
    return scale, translation


def _in_nm(values: Sequence[float], units: Sequence[float]) -> list[float]:
    return [float(value) * unit for value, unit in zip(values, units, strict=True)]


def grid_from_attributes(path: str, attributes: Mapping[str, Any], shape: Sequence[int]) -> Grid:
    """Return the grid that a plain array's attributes give.

    Parameters
    ----------
    path : str
        Of the array; for messages.
    attributes : mapping
        With ``voxel_size`` (or ``resolution``, ``scale``) and perhaps ``translation`` (or ``offset``), in nm, z, y, x.
    shape : sequence of int
        Of the array.

    Raises
    ------
    UnreadableDataError
        If they give none.
    """
    size = next((attributes[name] for name in ("voxel_size", "resolution", "scale") if name in attributes), None)
    if size is None:
        raise UnreadableDataError(
            f"{path} has neither `multiscales` nor a `voxel_size` attribute, so its place in nm is unknown"
        )
    translation = next((attributes[name] for name in ("translation", "offset") if name in attributes), (0, 0, 0))
    try:
        return Grid(voxel_size=tuple(size), translation=tuple(translation), shape=as_shape(shape))
    except (CscError, ValueError, TypeError) as error:
        raise UnreadableDataError(f"{path}: its attributes give no grid: {error}") from error


def grid_attributes(grid: Grid) -> dict[str, list[float] | list[int]]:
    """Return the attributes that a plain array carries: voxel_size, translation, shape."""
    return {
        "voxel_size": list(grid.voxel_size),
        "translation": list(grid.translation),
        "shape": list(grid.shape),
    }


def multiscale_attributes(name: str, levels: Sequence[tuple[str, Grid]]) -> dict[str, Any]:
    """Return the group attributes of a multiscale volume as OME-NGFF 0.4 wants them.

    Parameters
    ----------
    name : str
        Name of the image.
    levels : sequence of (str, Grid)
        Path within the group and grid of each level, finest first.
    """
    return {
        "multiscales": [
            {
                "version": "0.4",
                "name": name,
                "axes": [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"],
                "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}],
                "datasets": [
                    {
                        "path": path,
                        "coordinateTransformations": [
                            {"type": "scale", "scale": list(grid.voxel_size)},
                            {"type": "translation", "translation": list(grid.translation)},
                        ],
                    }
                    for path, grid in levels
                ],
            }
        ]
    }
