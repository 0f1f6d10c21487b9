"""Crops for the benchmark of csc-eval: challenge-like truths and disturbed predictions, from fixed seeds.

The official scorer's numbers for the same arrays are in `OFFICIAL`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from csc_data.formats.writing import create_array

Array = npt.NDArray[Any]
Blob = tuple[int, Array, Array]
"""Id, centre and radii of an ellipsoid, in voxels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label of a crop: truth, prediction, and their voxel sizes in nm."""

    crop: str
    class_name: str
    truth: Array
    prediction: Array
    voxel_size: tuple[float, float, float]
    prediction_voxel_size: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What scoring a case may take: CPU seconds and bytes of the process tree; and the seconds of earlier versions.

    CPU seconds are those above `python -c "import click, numpy"`: ``before`` of csc-eval as it was in November 2026,
    ``official`` of the official scorer, where it comes to an end.
    """

    seconds: float
    gigabytes: float
    before: float = math.nan
    official: str = "-"


OFFICIAL = {
    "m1": {"cell": (31, 4, 3, 32.65058308891409), "ecs": (206423, 192657, 249058, 0.0)},
    "m3": {"ves": (363, 227, 37, 433.7438082235277)},
    "l1": {"ves": (901, 423, 99, 886.3068839866479)},
    "l2": {"ves": (2765, 1372, 235, 2302.880333154918)},
    "l3": {"er": (30607392, 9310208, 4203072, 0.0)},
    "l5": {"mito": (12, 18, 0, 13.05844251234624)},
}
"""tp, fp, fn and the sum of normalised distances, by the official scorer of 2026-06-30 (l4: it leaves seams)."""

BARS = {
    "m1": Bar(seconds=0.12, gigabytes=0.2, before=0.31, official="13 s"),
    "m3": Bar(seconds=0.15, gigabytes=0.2, before=0.43, official="520 s"),
    "l1": Bar(seconds=0.35, gigabytes=0.3, before=1.09, official="> 20 GB"),
    "l5": Bar(seconds=0.50, gigabytes=0.3, before=0.72, official="> 20 GB"),
    "l2": Bar(seconds=0.65, gigabytes=0.45, before=1.71, official="20 h"),
    "l3": Bar(seconds=0.40, gigabytes=0.15, before=0.82, official="4.9 s"),
    "l4": Bar(seconds=2.5, gigabytes=0.6, before=4.20, official="15.3 s"),
    "speckle5": Bar(seconds=10.0, gigabytes=2.0),
    "speckle30": Bar(seconds=40.0, gigabytes=2.0),
}


def paint(volume: Array, centre: Array, radii: Array, value: int) -> int:
    """Paint an ellipsoid where there is background; returns how many voxels it got."""
    box, squares = [], []
    for axis in range(3):
        low = max(0, int(np.floor(centre[axis] - radii[axis])))
        high = min(volume.shape[axis], int(np.ceil(centre[axis] + radii[axis])) + 1)
        if high <= low:
            return 0
        box.append(slice(low, high))
        squares.append(((np.arange(low, high) - centre[axis]) / radii[axis]) ** 2)
    inside = squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= 1.0
    part = volume[tuple(box)]
    inside &= part == 0
    part[inside] = value
    return int(inside.sum())


def vesicles(edge: int, count: int, rng: np.random.Generator, radii: tuple[float, float]) -> tuple[Array, list[Blob]]:
    """Paint nearly packed vesicles, most of them in clusters."""
    volume, blobs = np.zeros((edge,) * 3, np.uint16), []
    clusters = rng.uniform(0.1, 0.9, (12, 3)) * volume.shape
    for _ in range(60 * count):
        if len(blobs) == count:
            break
        if rng.random() < 0.7:
            centre = clusters[rng.integers(12)] + rng.normal(0, 0.16, 3) * volume.shape
        else:
            centre = rng.uniform(0, 1, 3) * volume.shape
        if np.any(centre < 0) or np.any(centre >= edge) or volume[tuple(centre.astype(int))]:
            continue
        size = rng.uniform(*radii) * rng.uniform(0.85, 1.15, 3)
        core = tuple(slice(max(0, int(c - r * 0.8)), int(c + r * 0.8) + 1) for c, r in zip(centre, size, strict=True))
        if volume[core].any():
            continue
        if paint(volume, centre, size, len(blobs) + 1):
            blobs.append((len(blobs) + 1, centre, size))
    return volume, blobs


class Disturber:
    """Draws a prediction of blobs: some lost, split or merged, all displaced, with false ones and noise added."""

    LOST, SPLIT, MERGED, FALSE = 0.08, 0.06, 0.04, 0.08

    def __init__(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        self.volume = np.zeros(shape, np.uint32)
        self.rng = rng
        self.next_id = 1

    def _add(self, centre: Array, radii: Array) -> None:
        paint(self.volume, centre, radii, self.next_id)
        self.next_id += 1

    def draw(self, blobs: list[Blob], *, shift: float, noise: int) -> Array:
        """Return the prediction."""
        rng, order = self.rng, self.rng.permutation(len(blobs))
        for place, number in enumerate(order):
            fate = rng.random()
            if fate < self.LOST:
                continue
            _, centre, radii = blobs[number]
            centre = centre + rng.uniform(-shift, shift, 3)
            radii = radii * rng.uniform(0.82, 1.12)
            if fate < self.LOST + self.SPLIT:
                self._split(centre, radii)
            elif fate < self.LOST + self.SPLIT + self.MERGED:
                self._merge(centre, radii, blobs[order[(place + 1) % len(order)]][1])
            else:
                self._add(centre, radii)
        for _ in range(int(self.FALSE * len(blobs))):
            self._add(rng.uniform(0, 1, 3) * self.volume.shape, rng.uniform(2.5, 8, 3))
        for _ in range(noise):
            voxel = tuple(int(rng.integers(0, n)) for n in self.volume.shape)
            if self.volume[voxel] == 0:
                self.volume[voxel] = self.next_id
                self.next_id += 1
        return self.volume

    def _split(self, centre: Array, radii: Array) -> None:
        axis = self.rng.integers(3)
        away, half = np.zeros(3), radii.copy()
        away[axis] = radii[axis] * 0.6
        half[axis] *= 0.45
        self._add(centre - away, half)
        self._add(centre + away, half)

    def _merge(self, centre: Array, radii: Array, other: Array) -> None:
        paint(self.volume, centre, radii, self.next_id)
        if np.linalg.norm(other - centre) < 40:
            for part in np.linspace(0, 1, 24):
                paint(self.volume, centre + part * (other - centre), np.full(3, 2.5), self.next_id)
        self.next_id += 1


def touching_cells() -> Iterator[Label]:
    """128^3: 34 touching cells, and the space between them."""
    rng, edge = np.random.default_rng(101), 128
    seeds = rng.uniform(0, edge, (34, 3))
    points = np.indices((edge,) * 3).reshape(3, -1).T.astype(np.float32)

    def cells(centres: Array, gap: float) -> Array:
        distance, nearest = cKDTree(centres).query(points, k=2, workers=-1)
        labels = (nearest[:, 0] + 1).astype(np.uint16)
        labels[distance[:, 1] - distance[:, 0] < gap] = 0
        return labels.reshape((edge,) * 3)

    truth = cells(seeds, 3.0)
    kept = np.delete(np.arange(34), [3, 17, 25])
    moved = np.vstack([seeds[kept] + rng.normal(0, 2.5, (31, 3)), rng.uniform(0, edge, (4, 3))])
    place = {"crop": "crop562", "voxel_size": (8.0, 8.0, 8.0)}
    yield Label(class_name="cell", truth=truth, prediction=cells(moved, 2.0), **place)
    between = (cells(moved, 2.5) == 0).astype(np.uint8)
    yield Label(class_name="ecs", truth=(truth == 0).astype(np.uint8), prediction=between, **place)


def vesicle_crop(
    seed: int, edge: int, count: int, radii: tuple[float, float], noise: int, voxel_size: tuple[float, float, float]
) -> Iterator[Label]:
    """Vesicles, and a disturbed prediction of them with single voxels of noise."""
    rng = np.random.default_rng(seed)
    truth, blobs = vesicles(edge, count, rng, radii)
    prediction = Disturber(truth.shape, rng).draw(blobs, shift=1.5, noise=noise)
    yield Label(crop="crop557", class_name="ves", truth=truth, prediction=prediction, voxel_size=voxel_size)


def semantic_crop() -> Iterator[Label]:
    """600^3: a network of foreground, semantic."""
    rng = np.random.default_rng(606)

    def field(sigma: float) -> Array:
        noise = rng.standard_normal((300,) * 3, dtype=np.float32)
        values = np.tile(gaussian_filter(noise, sigma, mode="wrap"), (2, 2, 2))
        values /= values.std()
        return values

    coarse, fine = field(5), field(2.5)
    truth = (coarse > 1.0).astype(np.uint8)
    fine *= 0.3
    fine += coarse
    prediction = (fine > 0.95).astype(np.uint8)
    yield Label(crop="crop558", class_name="er", truth=truth, prediction=prediction, voxel_size=(4.0, 4.0, 4.0))


def twice(volume: Array) -> Array:
    """Repeat every voxel along each axis."""
    return np.repeat(np.repeat(np.repeat(volume, 2, 0), 2, 1), 2, 2)


def finer_crop() -> Iterator[Label]:
    """300^3 at 8 nm, predicted at 4 nm: a random field, and one large box."""
    rng = np.random.default_rng(808)
    noise = rng.standard_normal((300,) * 3, dtype=np.float32)
    field = (gaussian_filter(noise, 4, mode="wrap") > 0).astype(np.uint8)
    box = np.zeros((300,) * 3, np.uint8)
    box[20:299, 20:299, 20:299] = 1
    for name, truth in (("er", field), ("nuc", box)):
        yield Label(
            crop="crop562",
            class_name=name,
            truth=truth,
            prediction=twice(truth),
            voxel_size=(8.0, 8.0, 8.0),
            prediction_voxel_size=(4.0, 4.0, 4.0),
        )


def large_objects() -> Iterator[Label]:
    """400^3: 12 large objects."""
    rng, edge = np.random.default_rng(707), 400
    truth, blobs = np.zeros((edge,) * 3, np.uint16), []
    for number in range(1, 13):
        for _ in range(200):
            radii, centre = rng.uniform(30, 75, 3), rng.uniform(0.1, 0.9, 3) * edge
            box = (slice(max(0, int(c - r)), int(c + r)) for c, r in zip(centre, radii, strict=True))
            if not truth[tuple(box)].any():
                break
        paint(truth, centre, radii, number)
        blobs.append((number, centre, radii))
    prediction = Disturber(truth.shape, rng).draw(blobs, shift=4, noise=20)
    yield Label(crop="crop988", class_name="mito", truth=truth, prediction=prediction, voxel_size=(32.0, 32.0, 32.0))


def speckle(share: float, cube: int, *, random_ids: bool) -> Iterator[Label]:
    """256^3 of noise against a truth of so many cubes that it is still matched."""
    rng, edge = np.random.default_rng(1), 256
    index, per_axis = np.arange(edge) // cube, -(-edge // cube)
    truth = (index[:, None, None] * per_axis + index[None, :, None]) * per_axis + index[None, None, :] + 1
    foreground = rng.random((edge,) * 3) < share
    ids = rng.integers(1, 2**31, (edge,) * 3) if random_ids else 1
    prediction = np.where(foreground, ids, 0).astype(np.uint32)
    yield Label(
        crop="crop1",
        class_name="mito",
        truth=truth.astype(np.uint32),
        prediction=prediction,
        voxel_size=(8.0, 8.0, 8.0),
    )


CASES: dict[str, Callable[[], Iterator[Label]]] = {
    "m1": touching_cells,
    "m3": lambda: vesicle_crop(303, 256, 400, (5, 11), 200, (1.74, 2.0, 2.0)),
    "l1": lambda: vesicle_crop(404, 400, 1000, (6, 13), 300, (2.0, 2.0, 2.0)),
    "l5": large_objects,
    "l2": lambda: vesicle_crop(505, 600, 3000, (6, 13), 1000, (4.0, 4.0, 4.0)),
    "l3": semantic_crop,
    "l4": finer_crop,
    "speckle5": lambda: speckle(0.05, 7, random_ids=False),
    "speckle30": lambda: speckle(0.2955, 3, random_ids=True),
}


def write_case(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a case's submission and truth, unless they are there; returns both paths."""
    submission, truth = folder / name / "submission.zarr", folder / name / "ground_truth.zarr"
    if not (folder / name / "complete").exists():
        for label in CASES[name]():
            finer = label.prediction_voxel_size or label.voxel_size
            for root, volume, voxel_size in (
                (truth, label.truth, label.voxel_size),
                (submission, label.prediction, finer),
            ):
                array = create_array(
                    root / label.crop / label.class_name,
                    shape=volume.shape,
                    dtype=volume.dtype,
                    chunks=(128, 128, 128),
                    attributes={"voxel_size": list(voxel_size), "translation": [0.0, 0.0, 0.0]},
                    overwrite=True,
                )
                array[:] = volume
        (folder / name / "complete").touch()
    return submission, truth


if __name__ == "__main__":
    # A process of its own, so that making a case leaves no memory behind in the one that measures.
    write_case(sys.argv[1], Path(sys.argv[2]))
