"""The crops that are loaded: 400^3 voxels of 4 nm, with an 8 nm level, and raw around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from csc_data.challenge import get_tested_classes
from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.volumes import downsampled_grid, write_multiscale
from loader.works import ALL_CLASSES_SPLIT, CLASSES, FEW_SPLIT, MANY_SPLIT

CROPS = 3
DISTINCT = 6  # crops that are written; the many are links to them
MANY_CROPS = 288
SIDE = 400  # voxels of 4 nm
MARGIN = 64  # raw around a crop, in voxels of 4 nm


def ensure_data(folder: Path, splits: Sequence[str]) -> None:
    """Write what is not there of the volumes that datasplits name."""
    writers = {FEW_SPLIT: write_few, MANY_SPLIT: write_many, ALL_CLASSES_SPLIT: write_all_classes}
    for split in splits:
        if not (folder / split).exists():
            writers[split](folder)


def write_few(folder: Path) -> None:
    """Write three crops with five classes."""
    rng = np.random.default_rng(0)
    write_datasplit(folder / FEW_SPLIT, [write_crop(folder, rng, n, CLASSES) for n in range(1, CROPS + 1)])


def write_many(folder: Path) -> None:
    """Write six crops, and link to them under names of their own, so that nothing that is cached is shared."""
    rng = np.random.default_rng(1)
    rows = [write_crop(folder, rng, 100 + n, CLASSES) for n in range(DISTINCT)]
    linked = []
    for number in range(MANY_CROPS):
        row = rows[number % DISTINCT]
        name = f"set{100 + number % DISTINCT}"
        link = folder / "data" / f"link{number}"
        link.mkdir(parents=True, exist_ok=True)
        (link / "volumes.zarr").symlink_to(folder / "data" / name / f"{name}.zarr", target_is_directory=True)
        own = f"{link.name}/volumes.zarr"
        linked.append(
            replace(
                row,
                raw=row.raw.replace(f"{name}/{name}.zarr", own),
                labels=row.labels.replace(f"{name}/{name}.zarr", own),
            )
        )
    write_datasplit(folder / MANY_SPLIT, linked)


def write_all_classes(folder: Path) -> None:
    """Write three crops with every class that is scored."""
    rng = np.random.default_rng(2)
    rows = [write_crop(folder, rng, 200 + n, get_tested_classes()) for n in range(CROPS)]
    write_datasplit(folder / ALL_CLASSES_SPLIT, rows)


def write_crop(
    folder: Path, rng: np.random.Generator, number: int, classes: Sequence[str], size: int = SIDE
) -> SplitRow:
    """Write a crop of so many voxels along each axis, with raw around it, and return its row of a datasplit."""
    margin = size * MARGIN // SIDE // 2 * 2  # even, so that levels have a common corner
    side = size + 2 * margin
    whole = Grid(voxel_size=(4, 4, 4), translation=(1000.0 * number, 0, 0), shape=(side, side, side))
    field = smooth_field(rng, side)
    raw = np.clip(field * 60 + 128 + rng.normal(0, 12, field.shape), 0, 255).astype(np.uint8)
    place = folder / "data" / f"set{number}" / f"set{number}.zarr" / "recon-1"
    image = place / "em" / "fibsem-uint8"
    labels = place / "labels" / "groundtruth" / f"crop{number}"
    coarse = raw.reshape(side // 2, 2, side // 2, 2, side // 2, 2).mean((1, 3, 5)).astype(np.uint8)
    write_multiscale(image, [raw, coarse], [whole, downsampled_grid(whole, (2, 2, 2))])
    box = whole.window((margin,) * 3, (size,) * 3)
    for name, mask in zip(classes, masks(field[(slice(margin, -margin),) * 3], len(classes)), strict=True):
        levels = [mask, np.ascontiguousarray(mask[::2, ::2, ::2])]
        write_multiscale(labels / name, levels, [box, downsampled_grid(box, (2, 2, 2))])
    return SplitRow(usage="train", raw=str(image), labels=str(labels), classes=tuple(classes))


def masks(field: npt.NDArray[np.float32], count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield where each class is: bands of the field that share it out, and beyond 36 groups of three of them."""
    parts = min(count, 36)
    shares = [0, 0.5, 0.7, 0.85, 0.95, 1] if parts == 5 else list(np.linspace(0, 1, parts + 1))
    edges = np.quantile(field[::8, ::8, ::8], shares)
    edges[0], edges[-1] = -np.inf, np.inf
    band = np.digitize(field, edges[1:-1]).astype(np.uint8)
    for number in range(count):
        first, last = (number, number) if number < parts else (3 * (number - parts), 3 * (number - parts) + 2)
        yield ((band >= first) & (band <= last)).astype(np.uint8)


def smooth_field(rng: np.random.Generator, side: int) -> npt.NDArray[np.float32]:
    """Return waves in all directions, float32 of unit variance."""
    axis = np.linspace(0, 1, side, dtype=np.float32)
    field = np.zeros((side, side, side), dtype=np.float32)
    for _ in range(12):
        z, y, x = rng.normal(0, 30, 3)
        phases = [np.exp(1j * k * axis).astype(np.complex64) for k in (z, y, x)]
        plane = np.exp(1j * rng.uniform(0, 6.28)) * phases[1][:, None] * phases[2]
        for index, phase in enumerate(phases[0]):
            field[index] += (phase * plane).real
    scaled: npt.NDArray[np.float32] = field / np.float32(np.sqrt(6))
    return scaled
