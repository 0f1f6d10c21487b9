"""Reading what an experiment file says of spatial transforms; all mistakes are named together."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any

from csc_data.errors import Problem, ProblemsError

_AXES = ("z", "y", "x")
_KNOWN = ("mirror", "transpose", "rotate", "scale", "elastic")
_ELASTIC = ("probability", "spacing_nm", "amplitude_nm")
_NOT_A_RANGE = object()

Reader = Callable[[Any], Any]
"""Returns what an axis' entry means, or raises a ValueError that says what was expected."""


def parse_spatial_transforms(value: Any) -> dict[str, Any]:
    """Return the attributes of `SpatialTransforms` for a mapping.

    Raises
    ------
    ProblemsError
        With everything that is wrong.
    """
    if not isinstance(value, Mapping):
        problem = Problem(where="value", what=f"expected a mapping of transforms, got {value!r}")
        raise ProblemsError("spatial_transforms", [problem])
    problems: list[Problem] = []
    options: dict[str, Any] = {}
    for name, entry in value.items():
        if name not in _KNOWN:
            problems.append(_unknown(str(name), "there is no such transform", _KNOWN))
        elif entry is None or entry is False or entry == {}:
            continue
        elif name == "elastic":
            options[name] = _parse_elastic(entry, problems)
        elif name == "transpose":
            options[name] = _parse_transpose(entry, problems)
        else:
            read, default, nothing = _READERS[name]
            axes = _axes_of(name, entry, default, problems)
            options[name] = tuple(
                _read(f"{name}.axes.{a}", axes[a], read, problems) if a in axes else nothing for a in _AXES
            )
    if problems:
        raise ProblemsError("spatial_transforms", problems)
    return options


def _unknown(name: str, what: str, known: tuple[str, ...]) -> Problem:
    near = difflib.get_close_matches(name.rpartition(".")[2], known, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return Problem(where=name, what=what, remedy=remedy)


def _axes_of(name: str, entry: Any, default: Any, problems: list[Problem]) -> dict[str, Any]:
    """Return the entry of each axis that is named; the default where there is none of its own."""
    axes = entry
    if isinstance(entry, Mapping) and "axes" in entry:
        axes = entry["axes"]
        problems += [_unknown(f"{name}.{key}", "there is no such option", ("axes",)) for key in entry if key != "axes"]
    if axes is True and default is not _NOT_A_RANGE:
        return dict.fromkeys(_AXES, default)
    if isinstance(axes, list | tuple) and default is not _NOT_A_RANGE:
        axes = dict.fromkeys(map(str, axes), default)
    if not isinstance(axes, Mapping):
        example = "['x', 'y']" if default is not _NOT_A_RANGE else "{'z': [low, high]}"
        problems.append(Problem(where=name, what=f"needs axes, such as {example}, got {entry!r}"))
        return {}
    problems += [
        Problem(where=f"{name}.axes", what=f"there is no axis {axis!r}", remedy="axes are z, y, x")
        for axis in axes
        if axis not in _AXES
    ]
    return {axis: default if value is True else value for axis, value in axes.items() if axis in _AXES}


def _read(where: str, value: Any, read: Reader, problems: list[Problem]) -> Any:
    try:
        return read(value)
    except ValueError as error:
        problems.append(Problem(where=where, what=f"{error}, got {value!r}"))
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _probability(value: Any) -> float:
    if value is False:
        return 0.0
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError("must be a probability from 0 to 1")
    return float(value)


def _pair(value: Any) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(map(_is_number, value)) or value[0] > value[1]:
        raise ValueError("must be two numbers, the smaller first")
    return float(value[0]), float(value[1])


def _degrees(value: Any) -> tuple[float, float]:
    return _pair([-abs(value), abs(value)] if _is_number(value) else value)


def _factors(value: Any) -> tuple[float, float]:
    low, high = _pair(value)
    if low <= 0:
        raise ValueError("must be factors above 0")
    return low, high


_READERS: Mapping[str, tuple[Reader, Any, Any]] = {
    "mirror": (_probability, 0.5, 0.0),
    "rotate": (_degrees, (-180.0, 180.0), None),
    "scale": (_factors, _NOT_A_RANGE, None),
}
"""For each transform: how an axis' entry is read, what it is where only the axis is named, and where it is not."""


def _parse_transpose(entry: Any, problems: list[Problem]) -> tuple[int, ...]:
    named = _axes_of("transpose", entry, True, problems)
    return tuple(number for number, axis in enumerate(_AXES) if named.get(axis))


def _parse_elastic(entry: Any, problems: list[Problem]) -> dict[str, float]:
    if entry is True:
        return {}
    if not isinstance(entry, Mapping):
        problems.append(Problem(where="elastic", what=f"needs {', '.join(_ELASTIC)}, got {entry!r}"))
        return {}
    options: dict[str, float] = {}
    for name, value in entry.items():
        where = f"elastic.{name}"
        if name not in _ELASTIC:
            problems.append(_unknown(where, "there is no such option", _ELASTIC))
        elif name == "probability":
            options[name] = _read(where, value, _probability, problems)
        elif not _is_number(value) or value <= 0:
            problems.append(Problem(where=where, what=f"must be nm above 0, got {value!r}"))
        else:
            options[name] = float(value)
    amplitude, spacing = options.get("amplitude_nm", 20.0), options.get("spacing_nm", 400.0)
    if not problems and amplitude * 4 > spacing:
        what = f"an amplitude of {amplitude:g} nm folds space at a spacing of {spacing:g} nm"
        problems.append(
            Problem(where="elastic", what=what, remedy="let the spacing be at least four times the amplitude")
        )
    return options
