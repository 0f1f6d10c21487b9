"""Labels of the size and shape of the whole challenge: objects of real sizes at the voxel size of each test crop.

Objects are capsules (vesicles, mitochondria, microtubules, nuclei ...), cells divide space, semantic classes are
thresholds of smooth random fields. A prediction loses, splits, merges, moves and makes up objects. Small objects are
painted into a tile that is repeated with other ids; the chunk files of semantic classes are links to those of a tile.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numcodecs import get_codec
from scipy.ndimage import gaussian_filter

from csc_data.challenge import TestCrop, get_instance_classes
from csc_data.formats.writing import create_array

Array = npt.NDArray[Any]
Shape = tuple[int, int, int]

TRUTH_CHUNK, PREDICTION_CHUNK = 128, 64
FIELD = 256  # voxels of a tile of a semantic class
MOST_IN_TILE = 4000
SLAB_VOXELS = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Sizes of the objects of a class (nm), and how many there are in a cubic micrometre."""

    radius: tuple[float, float]
    length: tuple[float, float] = (0.0, 0.0)
    density: float


KINDS = {
    "nuc": Kind(radius=(2000, 3500), density=0.002),
    "mito": Kind(radius=(120, 250), length=(300, 2000), density=0.3),
    "endo": Kind(radius=(100, 250), density=0.5),
    "lyso": Kind(radius=(150, 400), density=0.2),
    "ld": Kind(radius=(100, 600), density=0.2),
    "perox": Kind(radius=(80, 300), density=0.3),
    "np": Kind(radius=(40, 60), density=3.0),
    "mt": Kind(radius=(12, 13), length=(600, 2000), density=5.0),
    "ves": Kind(radius=(20, 35), density=150.0),
}

WIDTHS = {"cyto": 300, "nucpl": 300, "ecs": 100, "er": 60, "chrom": 150, "hchrom": 100, "echrom": 150}
"""Half the width of what a semantic class is made of, nm; membranes and what is not listed: 25."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capsule:
    """All that is nearer than a radius to a line, in voxels; radii along the axes differ where voxel sizes do."""

    begin: Array
    end: Array
    radii: Array

    def paint(self, volume: Array, value: int) -> None:
        """Give background within it a value."""
        axis = self.end - self.begin
        pieces = max(1, math.ceil(float(np.max(np.abs(axis) / self.radii)) / 4))
        for number in range(pieces):
            ends = self.begin + axis * (number / pieces), self.begin + axis * ((number + 1) / pieces)
            self._paint_piece(volume, ends, value)

    def _paint_piece(self, volume: Array, ends: tuple[Array, Array], value: int) -> None:
        low = np.maximum(np.floor(np.minimum(*ends) - self.radii).astype(int), 0)
        high = np.minimum(np.ceil(np.maximum(*ends) + self.radii).astype(int) + 1, volume.shape)
        if np.any(high <= low):
            return
        step = max(1, SLAB_VOXELS // int((high - low)[1:].prod()))
        first, line = ends[0] / self.radii, (ends[1] - ends[0]) / self.radii
        length = float(line @ line) or 1.0
        for z in range(int(low[0]), int(high[0]), step):
            box = slice(z, min(z + step, int(high[0]))), *(slice(a, b) for a, b in zip(low[1:], high[1:], strict=True))
            at = [
                np.arange(part.start, part.stop, dtype=np.float32) / r - f
                for part, r, f in zip(box, self.radii, first, strict=True)
            ]
            at = np.ix_(*at)
            along = np.clip(sum(a * np.float32(v / length) for a, v in zip(at, line, strict=True)), 0, 1)
            away = sum((a - along * np.float32(v)) ** 2 for a, v in zip(at, line, strict=True))
            part = volume[box]
            part[(away <= 1) & (part == 0)] = value


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Truth and prediction of a part of a crop that is repeated, with the largest id of each."""

    truth: Array
    prediction: Array
    ids: tuple[int, int]


def draw_objects(kind: Kind, shape: Shape, voxel_size: Sequence[float], seed: int) -> Tile:
    """Paint objects of a class, and a prediction of them."""
    rng, size = np.random.default_rng(seed), np.array(voxel_size)
    volume_um3 = math.prod(shape) * float(size.prod()) / 1e9
    count = int(min(max(3, rng.poisson(kind.density * volume_um3)), MOST_IN_TILE))
    truth, prediction = (np.zeros(shape, np.uint16) for _ in range(2))
    objects = []
    for number in range(1, count + 1):
        radii = np.maximum(rng.uniform(*kind.radius) * rng.uniform(0.85, 1.15, 3) / size, 0.8)
        half = _direction(rng) * rng.uniform(*kind.length) / 2 / size
        # Objects lie within the tile where they fit; larger ones go on beyond the crop.
        margin = np.minimum(radii + np.abs(half) + 2, np.array(shape) * 0.45)
        centre = rng.uniform(margin, np.array(shape) - margin)
        objects.append(Capsule(begin=centre - half, end=centre + half, radii=radii))
        objects[-1].paint(truth, number)
    return Tile(truth=truth, prediction=prediction, ids=(count, _predict(objects, prediction, rng)))


def _direction(rng: np.random.Generator) -> Array:
    vector = rng.normal(size=3)
    return vector / float(np.linalg.norm(vector))


LOST, SPLIT, MERGED, FALSE = 0.08, 0.06, 0.04, 0.08


def _predict(objects: Sequence[Capsule], prediction: Array, rng: np.random.Generator) -> int:
    """Paint what a network would make of objects; returns the largest id."""
    value = 0
    for number, true in enumerate(objects):
        fate, move = rng.random(), rng.uniform(-0.15, 0.15, 3) * true.radii
        begin, end, radii = true.begin + move, true.end + move, np.maximum(true.radii * rng.uniform(0.85, 1.12), 0.8)
        value += 1
        if fate < LOST:
            continue
        if fate < LOST + SPLIT:
            away = np.where(np.arange(3) == rng.integers(3), radii * 0.6, 0)
            Capsule(begin=begin - away, end=(begin + end) / 2 - away, radii=radii * 0.5).paint(prediction, value)
            value += 1
            Capsule(begin=(begin + end) / 2 + away, end=end + away, radii=radii * 0.5).paint(prediction, value)
            continue
        Capsule(begin=begin, end=end, radii=radii).paint(prediction, value)
        if fate < LOST + SPLIT + MERGED:
            other = objects[(number + 1) % len(objects)]
            if np.all(np.abs(other.begin - end) < 12 * radii):
                Capsule(begin=end, end=other.begin, radii=np.maximum(radii * 0.4, 0.8)).paint(prediction, value)
    for _ in range(int(FALSE * len(objects)) + 20):
        like = objects[rng.integers(len(objects))]
        centre = rng.uniform(0, 1, 3) * prediction.shape
        value += 1
        Capsule(begin=centre, end=centre, radii=np.maximum(like.radii * rng.uniform(0.1, 0.6), 0.6)).paint(
            prediction, value
        )
    return value


def draw_coarsely(kind: Kind | None, shape: Shape, voxel_size: Sequence[float], seed: int) -> Tile:
    """Paint large objects, or cells, with half as many voxels along each axis, which takes an eighth of the time."""
    half = tuple(-(-n // 2) for n in shape)
    assert len(half) == 3
    size = [2 * v for v in voxel_size]
    tile = draw_cells(half, size, seed) if kind is None else draw_objects(kind, half, size, seed)
    box = tuple(map(slice, shape))
    whole = (values.repeat(2, 0).repeat(2, 1).repeat(2, 2)[box] for values in (tile.truth, tile.prediction))
    return Tile(truth=next(whole), prediction=next(whole), ids=tile.ids)


def draw_cells(shape: Shape, voxel_size: Sequence[float], seed: int) -> Tile:
    """Divide a crop among touching cells of about eight micrometres, at least three of them."""
    rng, size = np.random.default_rng(seed), np.array(voxel_size)
    extent = np.array(shape) * size
    count = max(3, round(float(extent.prod()) / 8000**3))
    centres = rng.uniform(-0.2, 1.2, (count, 3)) * extent
    moved = centres + rng.normal(0, 0.02, centres.shape) * extent
    return Tile(
        truth=_nearest(centres, shape, size), prediction=_nearest(moved[:-1], shape, size), ids=(count, count - 1)
    )


def _nearest(centres: Array, shape: Shape, size: Array) -> Array:
    cells = np.empty(shape, np.uint16)
    step = max(1, SLAB_VOXELS // (shape[1] * shape[2]))
    for z in range(0, shape[0], step):
        part = cells[z : z + step]
        grid = [np.arange(n, dtype=np.float32) for n in part.shape]
        grid[0] += z
        least, second = (np.full(part.shape, np.inf, np.float32) for _ in range(2))
        for number, centre in enumerate(centres, start=1):
            square = [((g * s - c) ** 2).astype(np.float32) for g, s, c in zip(grid, size, centre, strict=True)]
            away = np.sqrt(square[0][:, None, None] + square[1][:, None] + square[2])
            nearer = away < least
            np.minimum(second, np.maximum(away, least), out=second)
            least = np.where(nearer, away, least)
            part[nearer] = number
        part[second - least < 40] = 0  # nm between cells
    return cells


@cache
def _field(sigma: float, seed: int) -> Array:
    noise = np.random.default_rng(seed).standard_normal((FIELD,) * 3, dtype=np.float32)
    values = gaussian_filter(noise, sigma, mode="wrap")
    values /= values.std()
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Texture:
    """What a semantic class looks like: how fine it is, and above which level, or nearer than which to 0, it is."""

    sigma: float
    level: float
    membrane: bool

    @classmethod
    def of(cls, name: str, voxel_size: Sequence[float]) -> Texture:
        """Return that of a class."""
        width = WIDTHS.get(name, 25) / min(voxel_size)
        sigma = 1.5 * 2 ** round(math.log2(min(max(width / 2, 1.5), 24) / 1.5))
        if name.endswith(("_mem", "_mem_all")) or name in ("pm", "ne"):
            return cls(sigma=sigma, level=0.25, membrane=True)
        return cls(sigma=sigma, level={"cyto": -0.5, "nucpl": -0.2, "ecs": 0.8}.get(name, 1.2), membrane=False)

    def draw(self) -> Tile:
        """Threshold smooth noise; the prediction sees finer noise as well."""
        coarse = _field(self.sigma, 1)
        seen = coarse + 0.15 * _field(1.5, 2)
        if self.membrane:
            truth, prediction = np.abs(coarse) < self.level, np.abs(seen) < self.level + 0.03
        else:
            truth, prediction = coarse > self.level, seen > self.level - 0.05
        return Tile(truth=truth.view(np.uint8), prediction=prediction.view(np.uint8), ids=(0, 0))


def write_label(out: Path, crop: TestCrop, name: str) -> None:
    """Write truth and prediction of one label into ``ground_truth.zarr`` and ``submission.zarr``."""
    seed = zlib.crc32(f"{crop.id}/{name}".encode())
    shape: Shape = (crop.shape[0], crop.shape[1], crop.shape[2])
    place = {"voxel_size": list(crop.voxel_size), "translation": list(crop.translation)}
    stores = (("ground_truth.zarr", TRUTH_CHUNK), ("submission.zarr", PREDICTION_CHUNK))
    if name not in get_instance_classes():
        texture = Texture.of(name, crop.voxel_size)
        tiles = _texture_chunks(out, texture)
        for store, chunk in stores:
            folder = out / store / f"crop{crop.id}" / name
            _create(folder, shape, np.uint8, chunk, place)
            _link_chunks(folder, shape, tiles / store / "tile", chunk, seed)
        return
    tile = _draw(name, shape, crop.voxel_size, seed)
    for (store, chunk), values, ids in zip(stores, (tile.truth, tile.prediction), tile.ids, strict=True):
        most = ids * math.prod(-(-n // m) for n, m in zip(shape, values.shape, strict=True))
        dtype = np.uint8 if most < 256 else np.uint16 if most < 2**16 else np.uint32
        folder = out / store / f"crop{crop.id}" / name
        _create(folder, shape, dtype, chunk, place)
        _write_chunks(folder, shape, values.astype(dtype, copy=False), ids)


def _draw(name: str, shape: Shape, voxel_size: Sequence[float], seed: int) -> Tile:
    if name == "cell":
        return draw_coarsely(None, shape, voxel_size, seed)
    kind = KINDS[name]
    reach = (2 * kind.radius[1] + kind.length[1]) / min(voxel_size)
    edge = next((edge for edge in (256, 512) if 3 * reach < edge), max(shape))
    part = min(shape[0], edge), min(shape[1], edge), min(shape[2], edge)
    if kind.radius[0] / max(voxel_size) > 30:
        return draw_coarsely(kind, part, voxel_size, seed)
    return draw_objects(kind, part, voxel_size, seed)


def _create(folder: Path, shape: Shape, dtype: Any, chunk: int, place: dict[str, Any]) -> None:
    labels = chunk == PREDICTION_CHUNK  # as csc-submit packs; the truth as zarr does by itself
    create_array(folder, shape=shape, dtype=dtype, chunks=(chunk,) * 3, attributes=place, overwrite=True, labels=labels)


def _texture_chunks(out: Path, texture: Texture) -> Path:
    """Return where the chunk files of a texture lie, once they are written."""
    folder = out / "textures" / f"{texture.sigma:g}-{texture.level:g}-{texture.membrane:d}"
    if not (folder / "complete").exists():
        tile = texture.draw()
        for store, chunk, values in (
            ("ground_truth.zarr", TRUTH_CHUNK, tile.truth),
            ("submission.zarr", PREDICTION_CHUNK, tile.prediction),
        ):
            _create(folder / store / "tile", values.shape, np.uint8, chunk, {})
            _write_chunks(folder / store / "tile", values.shape, values, 0)
        (folder / "complete").touch()
    return folder


def _link_chunks(folder: Path, shape: Shape, tile: Path, chunk: int, seed: int) -> None:
    """Repeat a tile, from another of its places for each label."""
    step, per_edge = TRUTH_CHUNK // chunk, FIELD // chunk
    first = [step * ((seed >> n) & 1) for n in range(3)]  # truth and prediction begin at the same place
    for index in itertools.product(*(range(-(-n // chunk)) for n in shape)):
        source = tile.joinpath(*(str((i + f) % per_edge) for i, f in zip(index, first, strict=True)))
        place = folder.joinpath(*map(str, index))
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.exists():
            os.link(source, place)


def _write_chunks(folder: Path, shape: Shape, tile: Array, ids: int) -> None:
    metadata = json.loads((folder / ".zarray").read_text())
    codec, chunks = get_codec(metadata["compressor"]), metadata["chunks"]
    tiles = [-(-n // m) for n, m in zip(shape, tile.shape, strict=True)]
    parts: dict[tuple[int, ...], Array | None] = {}
    for index in itertools.product(*(range(-(-n // c)) for n, c in zip(shape, chunks, strict=True))):
        repeat, within = zip(
            *(divmod(i * c, m) for i, c, m in zip(index, chunks, tile.shape, strict=True)), strict=True
        )
        if within not in parts:
            part = _chunk(tile, within, chunks)
            parts[within] = part if part.any() else None
        values = parts[within]
        if values is None:
            continue
        number = int(np.ravel_multi_index(repeat, tiles))
        if number:
            values = np.where(values > 0, values + tile.dtype.type(number * ids), 0).astype(tile.dtype)
        place = folder.joinpath(*map(str, index))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(codec.encode(values))
        if max(tiles) == 1:
            del parts[within]  # it does not come again


def _chunk(tile: Array, begin: Sequence[int], chunks: Sequence[int]) -> Array:
    part = tile[tuple(slice(b, b + c) for b, c in zip(begin, chunks, strict=True))]
    return np.ascontiguousarray(np.pad(part, [(0, c - n) for c, n in zip(chunks, part.shape, strict=True)]))


def list_pairs(crops: Sequence[TestCrop]) -> Iterator[tuple[TestCrop, str]]:
    """Yield crops with their classes, crop by crop."""
    yield from ((crop, name) for crop in crops for name in crop.classes)
