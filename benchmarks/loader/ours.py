"""Our loader, measured."""

from __future__ import annotations

import inspect
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from loader.measuring import (
    Result,
    clock,
    cpu_seconds,
    peak_gb,
    resident_bytes,
    tensor_bytes,
    tree_gb,
)
from loader.works import ALL_CLASSES_SPLIT, CLASSES, FEW_SPLIT, Work

MANY_CACHE_BYTES = 4 << 30


def make_loader(datasplit: Path, work: Work, **options: Any) -> Any:
    """Return our loader of a work's batches; with packed labels where it can give them and they are asked for."""
    from csc_data.loader import get_dataloader

    if options.get("packed") and "packed" not in inspect.signature(get_dataloader).parameters:
        raise NotImplementedError("this loader packs no labels")
    info = {"shape": work.shape, "scale": (8, 8, 8)}
    options = {
        "classes": CLASSES, "batch_size": work.batch_size, "iterations_per_epoch": 10**6, **options,
    }  # fmt: skip
    return get_dataloader(datasplit, input_array_info=info, spatial_transforms=work.transforms, **options).train


def can_pack() -> bool:
    """Tell whether our loader gives packed labels."""
    from csc_data.loader import get_dataloader

    return "packed" in inspect.signature(get_dataloader).parameters


def check(batch: dict[str, Any], work: Work, size: int, classes: int | None = len(CLASSES)) -> None:
    """Make sure that loaders give the same kind of batch; packed labels have a shape of their own."""
    space = tuple(n for n in work.shape if n > 1)
    assert tuple(batch["input"].shape) == (size, 1, *space), batch["input"].shape
    if classes is not None:
        assert tuple(batch["output"].shape) == (size, classes, *space), batch["output"].shape


def warm_up(batches: Iterator[Any], work: Work, *, workers: int = 0) -> None:
    """Draw until every process that loads has decoded every crop, but for a small chance."""
    for _ in range(-(-60 * max(1, workers) // work.batch_size)):
        next(batches)


def measure_warm(folder: Path, work: Work, datasplit: str = FEW_SPLIT, **options: Any) -> Result:
    """Measure with all crops decoded."""
    batches = iter(make_loader(folder / datasplit, work, **options))
    warm_up(batches, work, workers=options.get("num_workers", 0))
    classes = None if options.get("packed") else len(options.get("classes", CLASSES))
    return clock(batches, work.ours, work.batch_size, partial(check, work=work, size=work.batch_size, classes=classes))


def measure_packed(folder: Path, work: Work) -> Result:
    """Measure batches whose labels stay packed."""
    return measure_warm(folder, work, packed=True)


def measure_cold(folder: Path, work: Work, datasplit: str = FEW_SPLIT) -> Result:
    """Measure with nothing decoded before any patch."""
    work = replace(work, batch_size=1)
    loader = make_loader(folder / datasplit, work)
    batches = iter(loader)
    warm_up(batches, work)  # counts of classes and compiled loops stay
    return clock(batches, max(8, work.ours // 8), 1, partial(check, work=work, size=1), lambda: empty_caches(loader))


def empty_caches(loader: Any) -> None:
    """Make the loader of this process forget what it has decoded."""
    from csc_data.formats.cache import shared_cache

    loader.patches.reader.regions.clear()
    shared_cache().clear()


def measure_workers(folder: Path, work: Work, workers: str) -> Result:
    """Measure the wall time with worker processes, and the memory of all of them while they run."""
    loader = make_loader(folder / FEW_SPLIT, work, num_workers=int(workers))
    batches = iter(loader)
    warm_up(batches, work, workers=int(workers))
    checked = partial(check, work=work, size=work.batch_size)
    result = clock(batches, work.ours * 2, work.batch_size, checked)
    return replace(result, memory=tree_gb())


def measure_first(folder: Path, work: Work, datasplit: str = FEW_SPLIT) -> Result:
    """Measure the first batch from the start of the process: interpreter, imports, opening and reading."""
    batch = next(iter(make_loader(folder / datasplit, work)))
    wall = time.time() - float(os.environ["BENCHMARK_STARTED"])
    check(batch, work, work.batch_size)
    return Result(cpu=cpu_seconds(), wall=wall, memory=peak_gb())


def measure_imports(folder: Path, work: Work) -> Result:
    """Measure a process that imports what nobody can do without, and this script."""
    import numba  # noqa: F401
    import torch  # noqa: F401

    wall = time.time() - float(os.environ["BENCHMARK_STARTED"])
    return Result(cpu=cpu_seconds(), wall=wall, memory=peak_gb())


def measure_many(folder: Path, work: Work, datasplit: str) -> Result:
    """Measure while visits move on from crop to crop, as in an epoch that is not the first: all crops are counted."""
    loader = make_loader(folder / datasplit, work, cache_bytes=MANY_CACHE_BYTES)
    for crop in range(len(loader.patches.reader.crops)):
        loader.patches.draws.counts(crop)
    empty_caches(loader)
    batches = iter(loader)
    warm_up(batches, work)
    return clock(batches, work.ours, work.batch_size, partial(check, work=work, size=work.batch_size))


def measure_all_classes(folder: Path, work: Work, form: str) -> Result:
    """Measure 48 classes, dense or packed."""
    from csc_data.challenge import get_tested_classes

    packed = {"packed": True} if form == "packed" else {}
    return measure_warm(folder, work, ALL_CLASSES_SPLIT, classes=get_tested_classes(), **packed)


def measure_growth(folder: Path, work: Work) -> Result:
    """Measure the memory after a tenth of many samples, and at the end."""
    batches = iter(make_loader(folder / FEW_SPLIT, work))
    count = -(-work.ours // work.batch_size)
    early = 0
    start = cpu_seconds()
    for number in range(count):
        batch = next(batches)
        if number == count // 10:
            early = resident_bytes()
    end = resident_bytes()
    cpu = (cpu_seconds() - start) / (count * work.batch_size)
    return Result(cpu=cpu, memory=end / 1e9, grown=end / early, batch_bytes=tensor_bytes(batch))


def measure_requests(folder: Path, work: Work) -> Result:
    """Measure a patch from S3 with metadata and counts known, but nothing decoded."""
    import urllib.request

    loader = make_loader(folder / "s3.csv", replace(work, batch_size=1))
    batches = iter(loader)
    next(batches)
    empty_caches(loader)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    address = os.environ["FSSPEC_S3_ENDPOINT_URL"] + "/-/stats"

    def requests() -> dict[str, int]:
        with opener.open(address, timeout=60) as answer:
            found: dict[str, int] = json.load(answer)
            return found

    before = requests()
    start = time.perf_counter()
    next(batches)
    wall = time.perf_counter() - start
    after = requests()
    count = after["requests"] - before["requests"]
    return Result(wall=wall, memory=peak_gb(), requests=count, at_once=after["most_at_once"])
