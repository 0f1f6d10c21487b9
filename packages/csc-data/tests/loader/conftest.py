"""Volumes that are known functions of the position in nm, annotated the way the challenge does it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow
from csc_data.volumes import write_multiscale

SLOPE = np.array([0.0011, 0.0017, 0.0023])
THRESHOLD = 0.5


def positions(grid: Grid) -> list[np.ndarray]:
    """Return the nm positions of all voxel centres as three broadcastable arrays."""
    return [grid.centres(axis).reshape([-1 if a == axis else 1 for a in range(3)]) for axis in range(3)]


class World:
    """raw(p) = slope . (p - origin), a float from 0 to 1; a class is present where raw is above a threshold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin = np.zeros(3)

    def raw(self, grid: Grid) -> np.ndarray:
        return sum(s * (p - o) for s, p, o in zip(SLOPE, positions(grid), self.origin, strict=True))

    def write_raw(self, grid: Grid) -> str:
        centre = np.array([grid.centres(axis).mean() for axis in range(3)])
        self.origin = centre - THRESHOLD / SLOPE.sum()  # raw is at the threshold in the middle
        path = self.folder / "x.zarr" / "raw"
        write_multiscale(path, [self.raw(grid).astype(np.float32)], [grid], chunks=(16, 16, 16))
        return str(path)

    def write_labels(self, name: str, grid: Grid, *, crop: str = "crop1", values=None, attributes=None) -> str:
        folder = self.folder / "x.zarr" / "labels" / crop
        data = (self.raw(grid) > THRESHOLD).astype(np.uint8) if values is None else values
        write_multiscale(folder / name, [data], [grid], chunks=(16, 16, 16), attributes=attributes)
        return str(folder)

    def row(self, classes, *, crop: str = "crop1", usage: str = "train") -> SplitRow:
        raw = str(self.folder / "x.zarr" / "raw")
        labels = str(self.folder / "x.zarr" / "labels" / crop)
        return SplitRow(usage=usage, raw=raw, labels=labels, classes=tuple(classes))


@pytest.fixture(autouse=True)
def counts_folder(tmp_path_factory, monkeypatch):
    """A cache of each test's own, where the user's would be."""
    folder = tmp_path_factory.mktemp("user_cache")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: folder)
    return folder / "counts"


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="session")
def make_world(tmp_path_factory):
    return lambda: World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def digest():
    def of(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return of
