"""Where the organelles lie: in tiles of an endless specimen, each found from the seed and its place alone.

Candidates are drawn in each tile, those that lie in the cytoplasm. One stays where it meets no candidate of a kind that goes
before it, and none of its own kind with a higher key: thinning that needs no order in which tiles are visited, and nothing but
the neighbours of a tile, as nothing reaches beyond half of one (Matern, Spatial Variation, 1960).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from csc_data.synthetic.specimen.boxes import Box, Point
from csc_data.synthetic.specimen.cells import Cell, Cells, nucleus_depth_at
from csc_data.synthetic.specimen.kinds import CENTRIOLE_NM, KIND_NAMES, KINDS, Kind
from csc_data.synthetic.specimen.noise import derive

TILE_NM = 3400.0
_STRIDE = 1 << 14  # ids of a tile
_FIRST_IDS = dict(zip(KIND_NAMES, (0, 64, 2048, 3072, 3584, 4096, 4608, 5120, 7168, 10240), strict=True))

Tile = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Organelle:
    """One of them.

    Attributes
    ----------
    kind : str
    number : int
        Its first id, unique in the volume.
    key : int
        For what is random in it.
    path : numpy.ndarray
        Points of its middle line, shape (n, 3), nm.
    radius : float
        Around them.
    """

    kind: str
    number: int
    key: int
    path: Point
    radius: float

    @property
    def centre(self) -> Point:
        """The middle of its line."""
        point: Point = self.path[len(self.path) // 2]
        return point


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Those of one kind in a tile: paths of shape (n, points, 3)."""

    keys: npt.NDArray[np.int64]
    paths: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]

    def chosen(self, which: npt.NDArray[np.bool_]) -> _Candidates:
        return _Candidates(self.keys[which], self.paths[which], self.radii[which])


@dataclass(frozen=True, slots=True)
class Places:
    """The organelles of a specimen.

    Attributes
    ----------
    key : int
    cells : Cells
    first, counts : tuple of int
        The first tile of the volume, and how many it has per axis: ids are numbered by them.
    """

    key: int
    cells: Cells
    first: Tile
    counts: tuple[int, int, int]
    _candidates: dict[tuple[str, Tile], _Candidates] = field(default_factory=dict, repr=False, compare=False)
    _survivors: dict[tuple[str, Tile], _Candidates] = field(default_factory=dict, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[Places], tuple[int, Cells, Tile, tuple[int, int, int]]]:
        return type(self), (self.key, self.cells, self.first, self.counts)

    @classmethod
    def of_volume(cls, key: int, cells: Cells, low: Point, high: Point) -> Places:
        """Return the organelles around a volume, given by its corners in nm."""
        first = np.floor(low / TILE_NM).astype(int) - 1
        z, y, x = (int(n) for n in np.floor(high / TILE_NM).astype(int) + 2 - first)
        return cls(key, cells, (int(first[0]), int(first[1]), int(first[2])), (z, y, x))

    def within(self, box: Box) -> Iterator[Organelle]:
        """Yield the organelles that reach into a box, kind by kind."""
        for kind in KINDS:
            low, high = box.low - kind.reach_nm, box.high + kind.reach_nm
            for tile in tiles_between(low, high):
                found = self.survivors(kind, tile)
                ends = found.paths.min(axis=1), found.paths.max(axis=1)
                reach = found.radii[:, None] + 30.0
                near = ((ends[0] - reach < box.high) & (ends[1] + reach > box.low)).all(axis=1)
                for index in np.flatnonzero(near):
                    yield self._organelle(kind, tile, found, int(index))

    def _organelle(self, kind: Kind, tile: Tile, found: _Candidates, index: int) -> Organelle:
        z, y, x = (t - f for t, f in zip(tile, self.first, strict=True))
        _, ny, nx = self.counts
        first = ((z * ny + y) * nx + x) * _STRIDE + _FIRST_IDS[kind.name]
        return Organelle(
            kind=kind.name,
            number=1 + first + index * kind.ids,
            key=int(found.keys[index]),
            path=found.paths[index],
            radius=float(found.radii[index]),
        )

    def survivors(self, kind: Kind, tile: Tile) -> _Candidates:
        """Return those of a kind whose middles lie in a tile."""
        known = self._survivors.get((kind.name, tile))
        if known is None:
            known = self._survivors[kind.name, tile] = self._thin(kind, tile)
        return known

    def _thin(self, kind: Kind, tile: Tile) -> _Candidates:
        found = self._candidates_of(kind, tile)
        for other in KINDS[: KINDS.index(kind)]:
            if len(found.keys):
                rivals = [self._candidates_of(other, near) for near in _neighbours(tile)]
                found = found.chosen(~_meet(found, rivals, max(kind.gap_nm, other.gap_nm), by_key=False))
        if len(found.keys):
            same = [self._candidates_of(kind, near) for near in _neighbours(tile)]
            found = found.chosen(~_meet(found, same, kind.gap_nm, by_key=True))
        return found

    def _candidates_of(self, kind: Kind, tile: Tile) -> _Candidates:
        known = self._candidates.get((kind.name, tile))
        if known is None:
            known = self._centrioles(tile) if kind.name == "centriole" else self._draw(kind, tile)
            self._candidates[kind.name, tile] = known
        return known

    def _draw(self, kind: Kind, tile: Tile) -> _Candidates:
        """Draw the candidates of a tile that lie in the cytoplasm."""
        rng = np.random.default_rng([derive(self.key, *tile), KINDS.index(kind)])
        count = int(rng.poisson(kind.per_um3 * (TILE_NM / 1000) ** 3))
        middles = (np.array(tile) + rng.random((count, 3))) * TILE_NM
        radii = rng.uniform(*kind.radius_nm, count)
        lengths = rng.uniform(*kind.length_nm, count)
        directions, sides = _directions(rng, count), _directions(rng, count)
        bends, lots = rng.uniform(-kind.bend, kind.bend, count), rng.random(count)
        keys = np.sort(rng.integers(1, 2**31, count))
        if not count:
            return _Candidates(keys, np.zeros((0, kind.points, 3)), radii)
        owner, depth, cells = self.cells.owner_at(middles)
        from_pole = middles - np.array([cell.centrosome for cell in cells])[owner]
        away = np.sqrt((from_pole**2).sum(1))
        if kind.name == "mt":  # they start at the centrosome
            directions = _normalised(from_pole / np.maximum(away, 1.0)[:, None] + 0.35 * directions)
        kept = lots < 1 - kind.at_pole * (1 - 1 / (1 + (away / 2600.0) ** 4))
        kept &= depth > radii + 60.0
        share = np.linspace(-1, 1, kind.points) if kind.points > 1 else np.zeros(1)
        along = (share[None] * (lengths / 2 - radii * (kind.points > 1)).clip(0)[:, None])[..., None]
        paths = middles[:, None, :] + directions[:, None, :] * along
        sides = _normalised(sides - directions * (sides * directions).sum(1)[:, None])
        paths += sides[:, None, :] * (bends * lengths)[:, None, None] * (share**2 - 0.33)[None, :, None]
        found = _Candidates(keys, paths, radii).chosen(kept)
        return found.chosen(self._in_cytoplasm(found)) if len(found.keys) else found

    def _in_cytoplasm(self, found: _Candidates) -> npt.NDArray[np.bool_]:
        points = found.paths.reshape(-1, 3)
        owner, depth, cells = self.cells.owner_at(points)
        radii = np.repeat(found.radii, found.paths.shape[1])
        inside = depth > radii + 60.0
        for number in np.unique(owner):
            own = owner == number
            inside[own] &= nucleus_depth_at(cells[number], points[own]) < -(radii[own] + 60.0)
        return inside.reshape(found.paths.shape[:2]).all(axis=1)

    def _centrioles(self, tile: Tile) -> _Candidates:
        """Return the centrioles of the cells whose centrosome lies in a tile: mother and daughter, at a right angle."""
        low = np.array(tile) * TILE_NM
        radius, length = CENTRIOLE_NM
        keys, paths = [], []
        for cell in self.cells.near(low, low + TILE_NM):
            place = cell.centrosome
            if not ((place >= low) & (place < low + TILE_NM)).all():
                continue
            first, second = _pair(cell)
            middles = place, place + first * (length / 2 + 2 * radius + 120.0)
            for number, (middle, direction) in enumerate(zip(middles, (first, second), strict=True)):
                keys.append(2 * (cell.key >> 1) + number)
                paths.append(middle + direction * np.linspace(-0.5, 0.5, 3)[:, None] * length)
        return _Candidates(
            np.array(keys, np.int64), np.array(paths).reshape(-1, 3, 3), np.full(len(keys), radius + 93.0)
        )


def tiles_between(low: Point, high: Point) -> Iterator[Tile]:
    """Yield the tiles that a box in nm touches."""
    first, last = np.floor(low / TILE_NM).astype(int), np.floor(high / TILE_NM).astype(int)
    for z, y, x in np.ndindex(*(last - first + 1)):
        yield int(first[0] + z), int(first[1] + y), int(first[2] + x)


def _neighbours(tile: Tile) -> list[Tile]:
    z, y, x = tile
    return [(z + a - 1, y + b - 1, x + c - 1) for a, b, c in np.ndindex(3, 3, 3)]


def _meet(found: _Candidates, others: list[_Candidates], gap_nm: float, *, by_key: bool) -> npt.NDArray[np.bool_]:
    """Tell which candidates come nearer to others than a gap; by key, only of those with a higher one."""
    keys = np.concatenate([np.repeat(other.keys, other.paths.shape[1]) for other in others])
    points = np.concatenate([other.paths.reshape(-1, 3) for other in others])
    radii = np.concatenate([np.repeat(other.radii, other.paths.shape[1]) for other in others])
    meets = np.zeros(len(found.keys), bool)
    if not len(points):
        return meets
    length = found.paths.shape[1]
    own, own_radii = found.paths.reshape(-1, 3), np.repeat(found.radii, length)
    lists = cKDTree(own).query_ball_point(points, radii + found.radii.max() + gap_nm)
    here = np.fromiter(itertools.chain.from_iterable(lists), np.intp)
    there = np.repeat(np.arange(len(points)), [len(one) for one in lists])
    close = ((own[here] - points[there]) ** 2).sum(1) < (own_radii[here] + radii[there] + gap_nm) ** 2
    if by_key:
        close &= keys[there] > found.keys[here // length]
    meets[here[close] // length] = True
    return meets


def _directions(rng: np.random.Generator, count: int) -> Point:
    return _normalised(rng.standard_normal((count, 3)))


def _normalised(vectors: Point) -> Point:
    result: Point = vectors / np.sqrt((vectors**2).sum(-1, keepdims=True)).clip(1e-9)
    return result


def _pair(cell: Cell) -> tuple[Point, Point]:
    """Return the directions of mother and daughter; the mother lies across the pole."""
    rng = np.random.default_rng([cell.key, 5])
    first, second = _directions(rng, 2)
    first = _normalised(first - cell.pole * (first @ cell.pole))
    second = _normalised(second - first * (first @ second))
    return first, second
