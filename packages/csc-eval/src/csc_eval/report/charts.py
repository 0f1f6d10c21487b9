"""Charts of a page: what they show, and where its points lie in an SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 10, 34
_ROW = 18
_MOST_POINTS = 600

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A curve.

    Attributes
    ----------
    name : str
    points : sequence of (float, float)
        In the order of x.
    colour : str
        As HTML writes it.
    """

    name: str
    points: Sequence[Point]
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Curves over one axis.

    Attributes
    ----------
    title, x_label : str
    series : sequence of Series
    from_zero : bool
        Whether the axis of y begins at 0.
    """

    title: str
    x_label: str
    series: Sequence[Series]
    from_zero: bool = False
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def across(self) -> Point:
        """Where along x the drawing begins and ends, beside the words of its axis."""
        return _LEFT, self.width - _RIGHT

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Place and words of the ticks along x."""
        low, high = self._x_range()
        return [(self._x(value), f"{value:g}") for value in ticks(low, high)]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Place and words of the ticks along y."""
        low, high = self._y_range()
        return [(self._y(value), f"{value:.6g}") for value in ticks(low, high)]

    @property
    def curves(self) -> list[tuple[Series, str]]:
        """Each series with the points of its polyline."""
        return [
            (one, " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in thinned(one.points))) for one in self.series
        ]

    def _x(self, value: float) -> float:
        low, high = self._x_range()
        return _LEFT + (value - low) / (high - low) * (self.width - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        low, high = self._y_range()
        return self.height - _BOTTOM - (value - low) / (high - low) * (self.height - _TOP - _BOTTOM)

    def _x_range(self) -> Point:
        return _widened([x for one in self.series for x, _ in one.points], from_zero=False)

    def _y_range(self) -> Point:
        return _widened([y for one in self.series for _, y in one.points], from_zero=self.from_zero)


@dataclass(frozen=True, slots=True, kw_only=True)
class DotRow:
    """A row of a `DotChart`: dots from 0 to 1, a mark, an interval around it, and words where nothing is counted."""

    name: str
    colour: str
    dots: Sequence[tuple[float, str]]
    mark: float
    interval: Point | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DotChart:
    """Scores of crops, a row for each class.

    Examples
    --------
    >>> chart = DotChart(title="scores", rows=[])
    >>> chart.x(0.0), chart.x(1.0), chart.y(0) < chart.y(1)
    (120.0, 626.0, True)
    """

    title: str
    rows: Sequence[DotRow]
    left: int = 120
    width: int = 640

    @property
    def height(self) -> int:
        """Of the drawing."""
        return _ROW * len(self.rows) + _BOTTOM

    def y(self, row: int) -> float:
        """Return the middle of a row."""
        return _ROW * (row + 0.5)

    def x(self, value: float) -> float:
        """Return where a score lies."""
        return round(self.left + min(max(value, 0.0), 1.0) * (self.width - self.left - 14), 1)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers between two, at most so many.

    >>> ticks(0, 1), ticks(3, 17)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [5.0, 10.0, 15.0])
    """
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def thinned(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """Return points of which no more are seen than would be anyway: the lowest and the highest of each stretch.

    >>> thinned([(x, x % 7) for x in range(14)], 4)
    [(0, 0), (6, 6), (7, 0), (13, 6)]
    """
    if len(points) <= most:
        return list(points)
    step = math.ceil(2 * len(points) / most)
    kept: list[Point] = []
    for begin in range(0, len(points), step):
        part = points[begin : begin + step]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return kept


def _widened(values: Sequence[float], *, from_zero: bool) -> Point:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low = min(low, 0.0) if from_zero else low
    if high <= low:
        return (low - 0.5, high + 0.5) if not from_zero else (low, low + 1.0)
    return low, high
