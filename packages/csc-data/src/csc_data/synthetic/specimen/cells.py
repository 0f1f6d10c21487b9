"""Cells that touch, and where their nuclei and centrosomes lie: functions of places, without an end."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from csc_data.synthetic.specimen.boxes import Axes, Box, Field, Point
from csc_data.synthetic.specimen.noise import SmoothNoise, derive

SPACING_NM = 14_000.0
JITTER = 0.12
WARPS_NM = ((260.0, 2600.0), (34.0, 480.0))
"""Amplitude and width of the folds of cell borders: a guess."""
ROUNDING_NM = 130.0
CLEFT_NM = (16.0, 30.0)
"""Half the width of the cleft between cells, and how far it varies; clefts of tissue are about 20 nm and wider, as in
brain (a guess for other tissue)."""
NUCLEUS_DIAMETER_NM = (5_000.0, 10_000.0)
"""Alberts et al., Molecular Biology of the Cell: 5 to 10 um."""
_REACH = 3.5  # of a warp, in standard deviations
_CAP = 700.0
_POLE_NM = 800.0  # centrosomes lie beside the nucleus: a guess


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell.

    Attributes
    ----------
    index : tuple of int
        Its place in the grid of cells.
    key : int
        For what is random in it.
    seed : numpy.ndarray
        The point around which it lies, nm.
    centre, axes : numpy.ndarray
        Of the nucleus: centre and three radii, nm.
    pole : numpy.ndarray
        The direction from the nucleus to the centrosome.
    """

    index: tuple[int, int, int]
    key: int
    seed: Point
    centre: Point
    axes: Point
    pole: Point

    @property
    def centrosome(self) -> Point:
        """Where it lies."""
        reach = 1.0 / np.sqrt(np.sum((self.pole / self.axes) ** 2))
        place: Point = self.centre + self.pole * (reach + _POLE_NM)
        return place


@dataclass(frozen=True, slots=True)
class Cells:
    """All cells of a specimen.

    Attributes
    ----------
    key : int
    """

    key: int
    _known: dict[tuple[int, int, int], Cell] = field(default_factory=dict, repr=False, compare=False)
    _seeds: dict[tuple[int, int, int], Point] = field(default_factory=dict, repr=False, compare=False)
    _around: dict[tuple[tuple[int, int, int], int], tuple[list[tuple[int, int, int]], Point]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def seed(self, index: tuple[int, int, int]) -> Point:
        """Return the point around which a cell lies."""
        if index not in self._seeds:
            rng = np.random.default_rng([derive(self.key, *index), 1])
            self._seeds[index] = (np.array(index) + 0.5 + rng.uniform(-JITTER, JITTER, 3)) * SPACING_NM
        return self._seeds[index]

    def cell(self, index: tuple[int, int, int]) -> Cell:
        """Return a cell: its nucleus is as large as there is room, off the middle."""
        if index not in self._known:
            self._known[index] = self._make(index)
        return self._known[index]

    def _make(self, index: tuple[int, int, int]) -> Cell:
        key, seed = derive(self.key, *index), self.seed(index)
        rng = np.random.default_rng([key, 2])
        others = [self.seed(self._shifted(index, step)) for step in np.ndindex(3, 3, 3) if step != (1, 1, 1)]
        room = min(float(np.linalg.norm(other - seed)) for other in others) / 2
        # Towards the nearest cell, so that a few micrometres hold nucleus, centrosome and both cells' membranes.
        pole = min(others, key=lambda other: float(np.linalg.norm(other - seed))) - seed
        pole = pole / np.sqrt(np.sum(pole**2))
        low, high = (diameter / 2 for diameter in NUCLEUS_DIAMETER_NM)
        radius = min(rng.uniform(low, high), room - 1500.0)
        axes = np.clip(radius * rng.uniform(0.9, 1.1, 3), low, min(high, room - 1000.0))
        away = min(300.0, room - 700.0 - float(axes.max()))
        return Cell(index=index, key=key, seed=seed, centre=seed - pole * away, axes=axes, pole=pole)

    @staticmethod
    def _shifted(index: tuple[int, int, int], step: tuple[int, ...]) -> tuple[int, int, int]:
        return index[0] + step[0] - 1, index[1] + step[1] - 1, index[2] + step[2] - 1

    def near(self, low: Point, high: Point, reach_nm: float = 0.0) -> list[Cell]:
        """Return the cells whose points may be the nearest, or within a reach of that, in a box."""
        centre, half = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
        half += sum(amplitude for amplitude, _ in WARPS_NM) * _REACH * 1.8
        first = np.floor(centre / SPACING_NM).astype(int)
        wide = 1 + int(1.5 + (half + reach_nm) / SPACING_NM)
        indices, seeds = self._seeds_around((int(first[0]), int(first[1]), int(first[2])), wide)
        distances = np.sqrt(((seeds - centre) ** 2).sum(1))
        most = float(distances.min()) + 2 * (half + reach_nm)
        return [self.cell(index) for index, distance in zip(indices, distances, strict=True) if distance <= most]

    def _seeds_around(self, first: tuple[int, int, int], wide: int) -> tuple[list[tuple[int, int, int]], Point]:
        if (first, wide) not in self._around:
            steps = np.ndindex(*(2 * wide + 1,) * 3)
            indices = [(first[0] + z - wide, first[1] + y - wide, first[2] + x - wide) for z, y, x in steps]
            self._around[first, wide] = indices, np.array([self.seed(index) for index in indices])
        return self._around[first, wide]

    def _warps(self) -> list[tuple[float, list[SmoothNoise]]]:
        return [
            (amplitude, [SmoothNoise(derive(self.key, 10 + number, axis), width) for axis in range(3)])
            for number, (amplitude, width) in enumerate(WARPS_NM)
        ]

    def _cleft(self) -> tuple[SmoothNoise, SmoothNoise]:
        return SmoothNoise(derive(self.key, 20), 700.0), SmoothNoise(derive(self.key, 21), 2400.0)

    def depth(self, box: Box) -> tuple[npt.NDArray[np.uint8], Field, list[Cell]]:
        """Return for each voxel which cell is nearest, and how deep in it, from its membrane's outer face.

        Returns
        -------
        owner : numpy.ndarray of uint8
            Number in the list.
        depth : numpy.ndarray of float32
            nm, below 0 in the cleft between cells; exact up to about 400 nm.
        cells : list of Cell
        """
        cells = self.near(box.low, box.high, _CAP)
        axes = box.axes
        if len(cells) == 1:
            return np.zeros(box.shape, np.uint8), np.full(box.shape, _CAP, np.float32), cells
        middle = np.array(box.origin)  # of all boxes, so that what is rounded is the same in all of them
        places = [
            (axis - middle[number]).astype(np.float32).reshape([-1 if number == n else 1 for n in range(3)])
            for number, axis in enumerate(axes)
        ]
        warped = [np.broadcast_to(place, box.shape).astype(np.float32) for place in places]
        for amplitude, noises in self._warps():
            for place, noise in zip(warped, noises, strict=True):
                place += np.float32(amplitude) * noise.on(axes)
        squares = []
        for cell in cells:
            z, y, x = (cell.seed - middle).astype(np.float32)
            squares.append(((warped[0] - z) ** 2 + (warped[1] - y) ** 2) + (warped[2] - x) ** 2)
        nearest = squares[0].copy()
        owner = np.zeros(box.shape, np.uint8)
        for number, square in enumerate(squares[1:], start=1):
            closer = square < nearest
            owner[closer] = number
            np.copyto(nearest, square, where=closer)
        depth = self._planes(owner, nearest, squares, cells)
        width, wide = (noise.on(axes) for noise in self._cleft())
        depth -= np.float32(CLEFT_NM[0]) + np.float32(CLEFT_NM[1]) * np.clip(width * np.float32(0.4) + wide, 0, 3)
        return owner, depth, cells

    @staticmethod
    def _planes(owner: npt.NDArray[np.uint8], nearest: Field, squares: list[Field], cells: list[Cell]) -> Field:
        """Return the distance from the nearest border, rounded where borders meet."""
        depth = np.full(owner.shape, np.float32(_CAP))
        apart = np.array([[np.linalg.norm(a.seed - b.seed) for b in cells] for a in cells])
        for number, square in enumerate(squares):
            half = np.where(apart[:, number] > 0, apart[:, number] * 2, np.inf).astype(np.float32)
            if len(cells) == 2:
                scale = half.min()
            else:
                scale = half[owner]
            plane = (square - nearest) / scale
            plane = np.where(owner == number, np.float32(10 * _CAP), plane)
            blend = np.clip(np.float32(ROUNDING_NM) - np.abs(depth - plane), 0, None)
            depth = np.minimum(depth, plane) - blend * blend * np.float32(0.25 / ROUNDING_NM)
        result: Field = np.minimum(depth, np.float32(_CAP - 2 * ROUNDING_NM))
        return result

    def owner_at(self, points: Point) -> tuple[npt.NDArray[np.intp], Point, list[Cell]]:
        """Return for points, shape (n, 3), which cell is nearest and how deep they lie in it, in nm.

        The depth is at most that of `depth`, but for small folds and rounded edges, and not cut off.
        """
        cells = self.near(points.min(0), points.max(0), 2500.0)
        warped = points.copy()
        for amplitude, noises in self._warps()[:1]:
            warped += amplitude * np.stack([noise.at(points) for noise in noises], axis=1)
        seeds = np.array([cell.seed for cell in cells])
        squares = ((warped[:, None, :] - seeds[None]) ** 2).sum(-1)
        owner = np.argmin(squares, axis=1)
        nearest = squares[np.arange(len(points)), owner]
        apart = np.sqrt(((seeds[owner][:, None, :] - seeds[None]) ** 2).sum(-1))
        with np.errstate(divide="ignore", invalid="ignore"):
            planes = np.where(apart > 0, (squares - nearest[:, None]) / (2 * apart), np.inf)
        return owner, planes.min(1) - CLEFT_NM[0] - 2 * CLEFT_NM[1], cells


def nucleus_folds(cell: Cell) -> list[tuple[float, SmoothNoise]]:
    """Return what makes a nucleus less of an ellipsoid: amplitudes in nm and noises."""
    return [
        (130.0, SmoothNoise(derive(cell.key, 3), 1900.0)),
        (22.0, SmoothNoise(derive(cell.key, 4), 420.0)),
    ]


def nucleus_depth(cell: Cell, axes: Axes) -> Field:
    """Return how deep voxels lie in a nucleus, from the outer face of its envelope, in nm."""
    shaped = [
        (axis - cell.centre[number]).reshape([-1 if number == n else 1 for n in range(3)])
        for number, axis in enumerate(axes)
    ]
    scaled = [(place / radius).astype(np.float32) for place, radius in zip(shaped, cell.axes, strict=True)]
    steeper = [(place / radius**2).astype(np.float32) for place, radius in zip(shaped, cell.axes, strict=True)]
    length = np.sqrt((scaled[0] ** 2 + scaled[1] ** 2) + scaled[2] ** 2)
    slope = np.sqrt((steeper[0] ** 2 + steeper[1] ** 2) + steeper[2] ** 2)
    depth: Field = length * (1 - length) / np.maximum(slope, np.float32(1e-9))
    for amplitude, noise in nucleus_folds(cell):
        depth += np.float32(amplitude) * noise.on(axes)
    return depth


def nucleus_depth_at(cell: Cell, points: Point) -> Point:
    """Return the same at points, shape (n, 3)."""
    place = points - cell.centre
    length = np.sqrt(((place / cell.axes) ** 2).sum(1))
    slope = np.sqrt(((place / cell.axes**2) ** 2).sum(1))
    depth: Point = length * (1 - length) / np.maximum(slope, 1e-9)
    for amplitude, noise in nucleus_folds(cell):
        depth = depth + amplitude * noise.at(points)
    return depth
