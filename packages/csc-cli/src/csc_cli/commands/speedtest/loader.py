"""How fast patches come from the data that is there, or from a small volume."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from csc_cli.commands.speedtest.limits import Limits, Speed

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.splits.split_file import SplitRow

PATCH = (64, 64, 64)
SCALE = (8.0, 8.0, 8.0)
BATCH = 2
MOST_CLASSES = 5
_EDGE = 96  # voxels of the volume that is made up
_ENDLESS = 10**6


def measure_loader(limits: Limits, config: Config) -> Speed:
    """Load batches of patches in this process, from the datasplit, or without one from a volume that is made up."""
    from csc_data.splits.split_file import read_datasplit

    file = config.path("datasplit")
    if file.is_file():
        return _measure(read_datasplit(file, config.root), str(file), limits)
    with tempfile.TemporaryDirectory(prefix="csc-speedtest-") as folder:
        return _measure([_make_crop(Path(folder))], "a volume that is made up", limits)


def _measure(rows: Sequence[SplitRow], where: str, limits: Limits) -> Speed:
    from csc_data.loader import get_dataloader

    training = [row for row in rows if row.usage == "train"] or list(rows)
    counts = Counter(name for row in training for name in row.classes)
    classes = [name for name, _ in counts.most_common(MOST_CLASSES)]
    loader = get_dataloader(
        rows,
        classes,
        batch_size=BATCH,
        input_array_info={"shape": PATCH, "scale": SCALE},
        iterations_per_epoch=_ENDLESS,
        cache_bytes=limits.bytes,
    ).train
    batches = iter(loader)
    next(batches)  # code is compiled, and files are opened
    began = time.perf_counter()
    taken = 0
    while time.perf_counter() - began < limits.seconds:
        next(batches)
        taken += BATCH
    rate = taken / (time.perf_counter() - began)
    shape = "x".join(map(str, PATCH))
    return Speed(
        part="loader",
        said=f"{rate:.1f} patches/s of {shape} at {SCALE[0]:g} nm by one process, {len(classes)} classes of {where}",
        details={"patches_per_second": rate, "patch": PATCH, "scale": SCALE, "classes": classes, "data": where},
    )


def _make_crop(folder: Path) -> SplitRow:
    import numpy as np

    from csc_data.geometry import Grid
    from csc_data.splits.split_file import SplitRow
    from csc_data.volumes import write_multiscale

    grid = Grid(voxel_size=SCALE, translation=(0, 0, 0), shape=(_EDGE, _EDGE, _EDGE))
    raw = np.random.default_rng(0).integers(0, 256, grid.shape, dtype=np.uint8)
    write_multiscale(folder / "x.zarr" / "raw", [raw], [grid])
    write_multiscale(folder / "x.zarr" / "crop1" / "mito", [(raw > 127).astype(np.uint8)], [grid])
    labels = str(folder / "x.zarr" / "crop1")
    return SplitRow(usage="train", raw=str(folder / "x.zarr" / "raw"), labels=labels, classes=("mito",))
