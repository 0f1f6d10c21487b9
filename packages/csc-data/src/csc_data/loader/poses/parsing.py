"""Spatial transforms as experiment files say them, in all their shorter forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from csc_data.config.settings import POSITIVE, SHARE, Earlier, Given, Range, ReadBy, setting, settings
from csc_data.errors import Problem

Axis = Literal["z", "y", "x"]
AXES: tuple[Axis, ...] = ("z", "y", "x")
Number = int | float


def _unless_empty(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None or value is False or value == {} else read(value)


def _with_axes(value: Any) -> Any:
    return value if isinstance(value, Mapping) and "axes" in value else {"axes": value}


def _axes(default: Any = None, read: Callable[[Any], Any] = lambda value: value) -> Callable[[Any], Any]:
    """Return what makes a mapping from axes of a list of them, or of true; the default is that of axes only named."""

    def by_axis(value: Any) -> Any:
        if value is True and default is not None:
            value = AXES
        if isinstance(value, list | tuple) and default is not None:
            value = dict.fromkeys(map(str, value), True)
        if not isinstance(value, Mapping):
            example = "{'z': [low, high]}" if default is None else "['x', 'y']"
            raise ValueError(f"needs axes, such as {example}, got {value!r}")  # noqa: TRY004  # pydantic collects it
        named = {axis: default if entry is True else entry for axis, entry in value.items() if entry is not False}
        return {axis: read(entry) for axis, entry in named.items()}

    return by_axis


def _both_ways(degrees: Any) -> Any:
    return [-abs(degrees), abs(degrees)] if isinstance(degrees, Number) and not isinstance(degrees, bool) else degrees


Chances = Mapping[Axis, float | bool] | Sequence[Axis] | bool
Swaps = Mapping[Axis, bool] | Sequence[Axis] | bool
Angles = Mapping[Axis, Range | float | bool] | Sequence[Axis] | bool


@settings
class Mirror:
    """Along which axes patches are mirrored."""

    axes: Given[Mapping[Axis, float], Chances] = setting(
        "axes, each with a probability; 0.5 where they are only named", SHARE, ReadBy(_axes(0.5), Chances)
    )


@settings
class Transpose:
    """Which axes may change places."""

    axes: Given[Mapping[Axis, bool], Swaps] = setting("at least two axes", ReadBy(_axes(default=True), Swaps))


@settings
class Rotate:
    """About which axes patches are rotated."""

    axes: Given[Mapping[Axis, Range], Angles] = setting(
        "axes, each with the lowest and highest angle in degrees; one number is both ways, all angles by default",
        ReadBy(_axes((-180.0, 180.0), _both_ways), Angles),
    )


@settings
class Scale:
    """Along which axes patches are scaled."""

    axes: Given[Mapping[Axis, Range], Mapping[Axis, Sequence[float]]] = setting(
        "axes, each with the least and largest factor by which a patch covers more of the volume",
        POSITIVE,
        ReadBy(_axes(), Mapping[Axis, Range]),
    )


def _unfolded(amplitude_nm: float, earlier: Earlier) -> Iterator[Problem]:
    spacing_nm = earlier.get("spacing_nm")
    if spacing_nm is not None and amplitude_nm * 4 > spacing_nm:
        what = f"an amplitude of {amplitude_nm:g} nm folds space at a spacing of {spacing_nm:g} nm"
        yield Problem(where="", what=what, remedy="let the spacing be at least four times the amplitude")


@settings
class Elastic:
    """A smooth random displacement."""

    probability: float = setting("how often it is applied", SHARE, default=1.0)
    spacing_nm: float = setting("distance of the points whose displacement is drawn", POSITIVE, default=400.0)
    amplitude_nm: float = setting(
        "standard deviation of what is drawn, along each axis", POSITIVE, _unfolded, default=20.0
    )


@settings
class SpatialForm:
    """Spatial transforms as experiment files say them."""

    mirror: Mirror | None = setting("mirror images", ReadBy(_unless_empty(_with_axes), Mirror | Chances), default=None)
    transpose: Transpose | None = setting(
        "exchange of axes", ReadBy(_unless_empty(_with_axes), Transpose | Swaps), default=None
    )
    rotate: Rotate | None = setting("rotations", ReadBy(_unless_empty(_with_axes), Rotate | Angles), default=None)
    scale: Scale | None = setting(
        "scaling", ReadBy(_unless_empty(_with_axes), Scale | Mapping[Axis, Range]), default=None
    )
    elastic: Elastic | None = setting(
        "a smooth displacement",
        ReadBy(_unless_empty(lambda value: {} if value is True else value), Elastic | bool),
        default=None,
    )
