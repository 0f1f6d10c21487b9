"""Where the organelles lie: in tiles of an endless specimen, each found from the seed and its place alone.

Candidates are drawn in each tile, those that lie in the cytoplasm. One stays where it meets none of a kind that goes
before it, and no candidate of its own kind with a higher key: thinning that needs no order in which tiles are visited
(Matern, Spatial Variation, 1960).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from csc_data.geometry import Triple
from csc_data.synthetic.specimen.boxes import Box, Point
from csc_data.synthetic.specimen.cells import Cell, Cells, nucleus_depth_at
from csc_data.synthetic.specimen.kinds import CENTRIOLE_NM, FIRM, KINDS, Kind
from csc_data.synthetic.specimen.noise import derive

_MOST = 256  # of a kind in a tile
_IDS = 1 << 26  # of a kind

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
    low, high : tuple of float
        Corners of the volume in nm: ids are numbered by the tiles in it.
    """

    key: int
    cells: Cells
    low: Triple
    high: Triple

    @property
    def _candidates(self) -> dict[tuple[str, Tile], _Candidates]:
        return _memory(self.key)[0]

    @property
    def _survivors(self) -> dict[tuple[str, Tile], _Candidates]:
        return _memory(self.key)[1]

    def within(self, box: Box, kinds: Sequence[Kind] = KINDS) -> Iterator[Organelle]:
        """Yield the organelles that reach into a box, kind by kind."""
        for kind in kinds:
            low, high = box.low - kind.reach_nm, box.high + kind.reach_nm
            for tile in tiles_between(kind, low, high):
                found = self.survivors(kind, tile)
                ends = found.paths.min(axis=1), found.paths.max(axis=1)
                reach = found.radii[:, None] + 30.0
                near = ((ends[0] - reach < box.high) & (ends[1] + reach > box.low)).all(axis=1)
                for index in np.flatnonzero(near):
                    yield self._organelle(kind, tile, found, int(index))

    def _organelle(self, kind: Kind, tile: Tile, found: _Candidates, index: int) -> Organelle:
        first = np.floor((np.array(self.low) - kind.reach_nm) / kind.tile_nm).astype(int)
        counts = np.floor((np.array(self.high) + kind.reach_nm) / kind.tile_nm).astype(int) + 1 - first
        z, y, x = np.array(tile) - first
        number = KINDS.index(kind) * _IDS + int((z * counts[1] + y) * counts[2] + x) * _MOST * kind.ids
        return Organelle(
            kind=kind.name,
            number=1 + number + index * kind.ids,
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
                there = self.survivors if other.name in FIRM else self._candidates_of
                rivals = [there(other, near) for near in _around(kind, tile, other)]
                found = found.chosen(~_meet(found, rivals, max(kind.gap_nm, other.gap_nm), by_key=False))
        if len(found.keys):
            same = [self._candidates_of(kind, near) for near in _around(kind, tile, kind)]
            found = found.chosen(~_meet(found, same, kind.gap_nm, by_key=True))
        return found

    def _candidates_of(self, kind: Kind, tile: Tile) -> _Candidates:
        if (kind.name, tile) not in self._candidates:
            # All kinds that have the same tiles, as looking up cells and nuclei takes nearly as long for a few points.
            alike = [other for other in KINDS if other.tile_nm == kind.tile_nm]
            for other, found in zip(alike, self._draw(alike, tile), strict=True):
                self._candidates[other.name, tile] = found
        return self._candidates[kind.name, tile]

    def _draw(self, kinds: list[Kind], tile: Tile) -> list[_Candidates]:
        """Draw the candidates of a tile that lie in the cytoplasm."""
        casts = [_Cast.of(kind, tile, derive(self.key, *tile)) for kind in kinds]
        middles = np.concatenate([cast.middles for cast in casts])
        if len(middles):
            owner, depth, cells = self.cells.owner_at(middles)
            poles = np.array([cell.centrosome for cell in cells])[owner]
            ends = np.cumsum([len(cast.middles) for cast in casts])[:-1]
            parts = zip(casts, np.split(depth, ends), np.split(poles, ends), strict=True)
            found = [cast.paths(depth, poles) for cast, depth, poles in parts]
        else:
            found = [cast.paths(np.zeros(0), np.zeros((0, 3))) for cast in casts]
        found = [
            self._centrioles(kind, tile) if kind.name == "centriole" else one
            for kind, one in zip(kinds, found, strict=True)
        ]
        kept = self._in_cytoplasm(found)
        return [one.chosen(which) for one, which in zip(found, kept, strict=True)]

    def _in_cytoplasm(self, found: list[_Candidates]) -> list[npt.NDArray[np.bool_]]:
        points = np.concatenate([one.paths.reshape(-1, 3) for one in found])
        if not len(points):
            return [np.zeros(len(one.keys), bool) for one in found]
        owner, depth, cells = self.cells.owner_at(points)
        radii = np.concatenate([np.repeat(one.radii, one.paths.shape[1]) for one in found])
        inside = depth > radii + 60.0
        for number in np.unique(owner):
            own = owner == number
            inside[own] &= nucleus_depth_at(cells[number], points[own]) < -(radii[own] + 60.0)
        parts = np.split(inside, np.cumsum([one.paths.shape[0] * one.paths.shape[1] for one in found])[:-1])
        return [
            np.asarray(part.reshape(one.paths.shape[:2]).all(axis=1)) for part, one in zip(parts, found, strict=True)
        ]

    def _centrioles(self, kind: Kind, tile: Tile) -> _Candidates:
        """Return the centrioles of the cells whose centrosome lies in a tile: mother and daughter, at a right angle."""
        low = np.array(tile) * kind.tile_nm
        radius, length = CENTRIOLE_NM
        keys, paths = [], []
        for cell in self.cells.near(low, low + kind.tile_nm):
            place = cell.centrosome
            if not ((place >= low) & (place < low + kind.tile_nm)).all():
                continue
            first, second = _pair(cell)
            middles = place, place + first * (length / 2 + 2 * (radius + 93.0) + 60.0)
            for number, (middle, direction) in enumerate(zip(middles, (first, second), strict=True)):
                keys.append(2 * (cell.key >> 1) + number)
                paths.append(middle + direction * np.linspace(-0.5, 0.5, 3)[:, None] * length)
        return _Candidates(
            np.array(keys, np.int64), np.array(paths).reshape(-1, 3, 3), np.full(len(keys), radius + 93.0)
        )


@dataclass(frozen=True, slots=True)
class _Cast:
    """What was drawn by lot for the candidates of a kind in a tile."""

    kind: Kind
    keys: npt.NDArray[np.int64]
    middles: Point
    radii: Point
    lengths: Point
    directions: Point
    sides: Point
    bends: Point
    lots: Point

    @classmethod
    def of(cls, kind: Kind, tile: Tile, key: int) -> _Cast:
        rng = np.random.default_rng([key, KINDS.index(kind)])
        count = min(_MOST, int(rng.poisson(kind.per_um3 * (kind.tile_nm / 1000) ** 3)))
        return cls(
            kind,
            keys=np.sort(rng.integers(1, 2**31, count)),
            middles=(np.array(tile) + rng.random((count, 3))) * kind.tile_nm,
            radii=rng.uniform(*kind.radius_nm, count),
            lengths=rng.uniform(*kind.length_nm, count),
            directions=_directions(rng, count),
            sides=_directions(rng, count),
            bends=rng.uniform(-kind.bend, kind.bend, count),
            lots=rng.random(count),
        )

    def paths(self, depth: Point, poles: Point) -> _Candidates:
        """Return the candidates, but those too near to the cell's border, or left out far from its centrosome."""
        kind, directions = self.kind, self.directions
        from_pole = self.middles - poles
        away = np.sqrt((from_pole**2).sum(1))
        if kind.name == "mt":  # they start at the centrosome
            directions = _normalised(from_pole / np.maximum(away, 1.0)[:, None] + 0.35 * directions)
        kept = self.lots < 1 - kind.at_pole * (1 - 1 / (1 + (away / 2600.0) ** 4))
        kept &= depth > self.radii + 60.0
        share = np.linspace(-1, 1, kind.points) if kind.points > 1 else np.zeros(1)
        along = (share[None] * np.maximum(self.lengths / 2 - self.radii, 0.4 * self.radii)[:, None])[..., None]
        paths = self.middles[:, None, :] + directions[:, None, :] * along
        sides = _normalised(self.sides - directions * (self.sides * directions).sum(1)[:, None])
        paths += sides[:, None, :] * (self.bends * self.lengths)[:, None, None] * (share**2 - 0.33)[None, :, None]
        return _Candidates(self.keys, paths, self.radii).chosen(kept)


@functools.lru_cache(maxsize=2)
def _memory(key: int) -> tuple[dict[tuple[str, Tile], _Candidates], dict[tuple[str, Tile], _Candidates]]:
    """Return candidates and survivors of a specimen that were found already; all its volumes share them."""
    return {}, {}


def tiles_between(kind: Kind, low: Point, high: Point) -> Iterator[Tile]:
    """Yield the tiles of a kind that a box in nm touches."""
    first, last = np.floor(low / kind.tile_nm).astype(int), np.floor(high / kind.tile_nm).astype(int)
    for z, y, x in np.ndindex(*(last - first + 1)):
        yield int(first[0] + z), int(first[1] + y), int(first[2] + x)


def _around(kind: Kind, tile: Tile, other: Kind) -> Iterator[Tile]:
    """Yield the tiles of another kind whose organelles may meet those of a tile."""
    low, reach = np.array(tile) * kind.tile_nm, kind.reach_nm + other.reach_nm
    yield from tiles_between(other, low - reach, low + kind.tile_nm + reach)


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
