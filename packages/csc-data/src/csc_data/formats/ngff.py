"""Metadata of scale levels: OME-NGFF multiscales read and written, and the attributes of plain arrays.

Read are versions 0.3 (axes as names), 0.4 (https://ngff.openmicroscopy.org/0.4/) and 0.5, which keeps the same under
``ome``; written is 0.4, which the challenge uses. This is the one place where units, transformations and attributes
become nm: `open_volume` and csc-eval both ask here, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csc_data.errors import CscError, QuestionableDataError, UnreadableDataError
from csc_data.geometry import LARGEST_NM, Grid, Triple, as_shape, as_triple

_NM_PER_UNIT = {
    name: size
    for size, names in (
        (0.1, ("angstrom", "Å")),
        (1.0, ("nm", "nanometer", "nanometers")),
        (1e3, ("um", "\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m", "micron", "micrometer", "micrometers")),
        (1e6, ("mm", "millimeter")),
        (1e9, ("m", "meter")),
    )
    for name in names
}
_SPATIAL = ("z", "y", "x")
_OLD_AXES = ("t", "c", *_SPATIAL)
"""What versions before 0.3 had, which named no axes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPlace:
    """What a multiscale group says of one level.

    Attributes
    ----------
    name : str
        Path of its array within the group.
    voxel_size, translation : tuple of float
        nm, z, y, x; the translation is that of the centre of voxel 0.
    other_axes : mapping of int to str
        Position and name of the axes that are not z, y and x; each must be of length 1.
    """

    name: str
    voxel_size: Triple
    translation: Triple
    other_axes: tuple[tuple[int, str], ...] = ()

    def grid(self, shape: Sequence[int]) -> Grid:
        """Return its grid, given the shape of its array."""
        return Grid(voxel_size=self.voxel_size, translation=self.translation, shape=as_shape(shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiscale:
    """The levels that a group names, and what it says of them; what that means is `place`.

    Attributes
    ----------
    path : str
        Of the group, for messages.
    axes : list or None
        As they are stored.
    outer : sequence of mapping
        The transformations of the group as a whole.
    datasets : tuple of (str, sequence of mapping)
        Path and transformations of each level.
    """

    path: str
    axes: Any
    outer: Sequence[Mapping[str, Any]]
    datasets: tuple[tuple[str, Sequence[Mapping[str, Any]]], ...]

    def place(self, name: str, steps: Sequence[Mapping[str, Any]]) -> LevelPlace | None:
        """Return where a level lies; None where no scale is given, as in versions before 0.4.

        Raises
        ------
        UnreadableDataError
            If its metadata are damaged, or say something that is not read here.
        """
        try:
            names, units = self._read_axes(steps)
            scaled, scale, translation = _compose([*steps, *self.outer], len(names))
            order = [names.index(axis) for axis in _SPATIAL]
            if not scaled:
                return None
            return LevelPlace(
                name=name,
                voxel_size=as_triple([scale[i] * units[i] for i in order], "scale"),
                translation=as_triple([translation[i] * units[i] for i in order], "translation"),
                other_axes=tuple((i, axis) for i, axis in enumerate(names) if axis not in _SPATIAL),
            )
        except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise _not_understood(self.path, error) from error

    def _read_axes(self, steps: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[float]]:
        """Return the names of the axes, and nm per unit of each (1 for those that are not in space)."""
        axes: Any = self.axes
        if axes is None:
            # Versions before 0.3 name no axes: they are the last of t, c, z, y, x, as many as a scale has numbers.
            count = next((len(step["scale"]) for step in [*steps, *self.outer] if step["type"] == "scale"), 3)
            axes = _OLD_AXES[-count:]
        names = [axis if isinstance(axis, str) else str(axis["name"]) for axis in axes]
        if [name for name in names if name in _SPATIAL] != list(_SPATIAL):
            raise ValueError(f"its axes are {names}, expected z, y, x")
        units = [None if isinstance(axis, str) else axis.get("unit") for axis in axes]
        return names, [
            nm_per_unit(unit) if name in _SPATIAL and unit is not None else 1.0
            for name, unit in zip(names, units, strict=True)
        ]


def nm_per_unit(unit: Any) -> float:
    """Return the nm of a unit of length.

    Raises
    ------
    ValueError
        If it is not known.

    Examples
    --------
    >>> nm_per_unit("micrometer"), nm_per_unit("angstrom")
    (1000.0, 0.1)
    """
    if not isinstance(unit, str) or unit not in _NM_PER_UNIT:
        raise ValueError(f"there is no {unit!r} among the units of length that are known: {', '.join(_NM_PER_UNIT)}")
    return _NM_PER_UNIT[unit]


def multiscales(attributes: Mapping[str, Any]) -> Any:
    """Return the multiscales entry of a group's attributes, of any version; None where there is none.

    Examples
    --------
    >>> multiscales({"multiscales": [{"version": "0.4"}]})
    [{'version': '0.4'}]
    >>> multiscales({"ome": {"version": "0.5", "multiscales": [{}]}})
    [{}]
    """
    ome = attributes.get("ome")
    if isinstance(ome, Mapping) and "multiscales" in ome:
        return ome["multiscales"]
    return attributes.get("multiscales")


def read_multiscale(path: str, attributes: Mapping[str, Any]) -> Multiscale:
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
        If they name no levels, or one outside of the group.

    Examples
    --------
    >>> from csc_data import Grid
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(10, 10, 10))
    >>> group = read_multiscale("raw", multiscale_attributes("raw", [("s0", grid)]))
    >>> [name for name, _ in group.datasets]
    ['s0']
    >>> group.place(*group.datasets[0]).voxel_size
    (8.0, 8.0, 8.0)
    """
    try:
        first = multiscales(attributes)[0]
        datasets = tuple(
            (str(dataset["path"]), tuple(dataset.get("coordinateTransformations") or ()))
            for dataset in first["datasets"]
        )
        outer = tuple(first.get("coordinateTransformations") or ())
        axes = first.get("axes")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise _not_understood(path, error) from error
    for name, _ in datasets:
        check_level_name(path, name)
    return Multiscale(path=path, axes=axes, outer=outer, datasets=datasets)


def _not_understood(path: str, error: Exception) -> UnreadableDataError:
    words = f"there is no {error}" if isinstance(error, KeyError) else str(error)
    return UnreadableDataError(f"{path}: its `multiscales` are not three-dimensional OME-NGFF 0.3 to 0.5: {words}")


def check_level_name(path: str, name: str) -> None:
    """Refuse the path of a level that leads out of its group.

    Raises
    ------
    UnreadableDataError
        If it does, or is empty.

    Examples
    --------
    >>> check_level_name("raw", "s0")
    >>> check_level_name("raw", "../other")
    Traceback (most recent call last):
        ...
    csc_data.errors.UnreadableDataError: raw names a level outside of itself: '../other'
    """
    if not name.strip("/.") or name.startswith("/") or "\\" in name or ":" in name[:2] or ".." in name.split("/"):
        raise UnreadableDataError(f"{path} names a level outside of itself: {name!r}")


def parse_multiscale(path: str, attributes: Mapping[str, Any]) -> tuple[LevelPlace, ...]:
    """Return where the levels of a multiscale group lie, in their order.

    Raises
    ------
    UnreadableDataError
        If they are not three-dimensional multiscales, or a level has no scale.

    Examples
    --------
    >>> from csc_data import Grid
    >>> fine = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(10, 10, 10))
    >>> coarse = Grid(voxel_size=(16, 16, 16), translation=(4, 4, 4), shape=(5, 5, 5))
    >>> attributes = multiscale_attributes("raw", [("s0", fine), ("s1", coarse)])
    >>> [(place.name, place.translation) for place in parse_multiscale("raw", attributes)]
    [('s0', (0.0, 0.0, 0.0)), ('s1', (4.0, 4.0, 4.0))]
    >>> parse_multiscale("raw", attributes)[1].grid((5, 5, 5)) == coarse
    True
    """
    group = read_multiscale(path, attributes)
    places = []
    for name, steps in group.datasets:
        place = group.place(name, steps)
        if place is None:
            raise UnreadableDataError(f"{path}: its `multiscales` give no scale of {name!r}, so its nm are not known")
        places.append(place)
    return tuple(places)


def _compose(transformations: Sequence[Mapping[str, Any]], axes: int) -> tuple[bool, list[float], list[float]]:
    """Chain scales and translations, in the order in which OME-NGFF applies them; tell whether there is a scale."""
    scaled, scale, translation = False, [1.0] * axes, [0.0] * axes
    for step in transformations:
        if step["type"] == "scale":
            scaled, factors = True, [float(value) for value in step["scale"]]
            scale = [a * b for a, b in zip(scale, factors, strict=True)]
            # What was shifted before is scaled as well: the order of the steps matters.
            translation = [a * b for a, b in zip(translation, factors, strict=True)]
        elif step["type"] == "translation":
            translation = [a + float(b) for a, b in zip(translation, step["translation"], strict=True)]
        elif step["type"] != "identity":
            raise ValueError(f"a transformation of type {step['type']!r}, expected scale or translation")
    if not all(value > 0 for value in scale):
        raise ValueError(f"a scale of {scale}, expected sizes above 0")
    return scaled, scale, translation


def stated_place(path: str, attributes: Mapping[str, Any]) -> tuple[Triple | None, Triple | None]:
    """Return voxel size and translation that a plain array's attributes give; None for what they do not say.

    Parameters
    ----------
    path : str
        Of the array; for messages.
    attributes : mapping
        With ``voxel_size`` (or ``resolution``, ``scale``) and ``translation`` (or ``offset``), in nm, z, y, x; of more
        than three numbers the last three count.

    Raises
    ------
    UnreadableDataError
        If they are not lengths in nm.

    Examples
    --------
    >>> stated_place("er", {"voxel_size": [8, 4, 4]})
    ((8.0, 4.0, 4.0), None)
    >>> stated_place("er", {"resolution": [8, 4, 4], "offset": [0, 100, 0]})
    ((8.0, 4.0, 4.0), (0.0, 100.0, 0.0))
    """
    size = next((attributes[name] for name in ("voxel_size", "resolution", "scale") if name in attributes), None)
    shift = next((attributes[name] for name in ("translation", "offset") if name in attributes), None)
    return as_voxel_size(size, path), as_lengths(shift, "translation", path)


def as_voxel_size(values: Any, path: str) -> Triple | None:
    """Return the last three of some numbers as nm per voxel; None for None.

    Raises
    ------
    UnreadableDataError
        If they are not three lengths above 0.

    Examples
    --------
    >>> as_voxel_size([1, 8, 4, 4], "er")
    (8.0, 4.0, 4.0)
    >>> as_voxel_size([0, 4, 4], "er")
    Traceback (most recent call last):
        ...
    csc_data.errors.QuestionableDataError: er has the voxel size [0, 4, 4]; expected lengths above 0 nm
    """
    triple = as_lengths(values, "voxel size", path)
    if triple is not None and min(triple) <= 0:
        raise QuestionableDataError(f"{path} has the voxel size {values!r}; expected lengths above 0 nm")
    return triple


def as_lengths(values: Any, name: str, path: str) -> Triple | None:
    """Return the last three of some numbers; None for None.

    Raises
    ------
    UnreadableDataError
        If they are not three lengths in nm.

    Examples
    --------
    >>> as_lengths([8, 4, 4], "offset", "er")
    (8.0, 4.0, 4.0)
    >>> as_lengths([8, 4], "offset", "er")
    Traceback (most recent call last):
        ...
    csc_data.errors.UnreadableDataError: er has the offset [8, 4]; expected three lengths in nm (z, y, x)
    """
    if values is None:
        return None
    try:
        numbers = [float(value) for value in values][-3:]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) == 1:  # NumPy takes one for all three
        raise QuestionableDataError(f"{path} has the {name} {values!r}; expected three lengths in nm (z, y, x)")
    if len(numbers) != 3 or not all(abs(number) <= LARGEST_NM for number in numbers):
        raise UnreadableDataError(f"{path} has the {name} {values!r}; expected three lengths in nm (z, y, x)")
    return numbers[0], numbers[1], numbers[2]


def grid_from_attributes(path: str, attributes: Mapping[str, Any], shape: Sequence[int]) -> Grid:
    """Return the grid that a plain array's attributes give, see `stated_place`.

    Raises
    ------
    UnreadableDataError
        If they give none.

    Examples
    --------
    >>> grid_from_attributes("er", {"voxel_size": [8, 4, 4], "translation": [0, 2, 2]}, (10, 10, 10)).bounds
    Roi(begin=(-4.0, 0.0, 0.0), end=(76.0, 40.0, 40.0))
    """
    size, translation = stated_place(path, attributes)
    if size is None:
        raise UnreadableDataError(
            f"{path} has neither `multiscales` with a scale nor a `voxel_size` attribute, so its place in nm is unknown"
        )
    try:
        return Grid(voxel_size=size, translation=translation or (0.0, 0.0, 0.0), shape=as_shape(shape))
    except CscError as error:
        raise UnreadableDataError(f"{path}: its attributes give no grid: {error}") from error


def grid_attributes(grid: Grid) -> dict[str, list[float] | list[int]]:
    """Return the attributes that a plain array carries: voxel_size, translation, shape.

    Examples
    --------
    >>> from csc_data import Grid
    >>> grid_attributes(Grid(voxel_size=(8, 4, 4), translation=(0, 0, 0), shape=(10, 10, 10)))
    {'voxel_size': [8.0, 4.0, 4.0], 'translation': [0.0, 0.0, 0.0], 'shape': [10, 10, 10]}
    """
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

    Examples
    --------
    >>> from csc_data import Grid
    >>> grid = Grid(voxel_size=(8, 4, 4), translation=(0, 0, 0), shape=(10, 10, 10))
    >>> multiscale_attributes("raw", [("s0", grid)])["multiscales"][0]["datasets"][0]["path"]
    's0'
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
