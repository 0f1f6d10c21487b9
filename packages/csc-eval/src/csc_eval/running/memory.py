"""What a machine has left, what scoring a label takes, and how many labels fit at once."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from csc_data.errors import CscError, InvalidArgumentError
from csc_data.storage.nodes import is_array
from csc_eval.placing.align import is_resampled
from csc_eval.placing.predictions import CropGrid, Prediction, open_prediction
from csc_eval.scoring.labels import CACHE_BYTES, LabelTask, open_truth
from csc_eval.voxels.arrays import LIMITS, VoxelSource, open_stored
from csc_eval.voxels.runs import BYTES_PER_RUN

FALLBACK_MEMORY = 4 * 1024**3
"""Assumed where the system does not say what is free."""

PROCESS_BYTES = 120 * 1024**2
"""A process with its libraries loaded."""

LEAST_RUNS = 100_000
VOXELS_PER_RUN = 400
"""How fragmented a label may be that the plan makes room for; a more fragmented one is scored again, alone."""

INSTANCES_TAKE = 2
"""How many times longer a voxel of an instance class takes than one of a semantic class."""

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def parse_size(text: str) -> int:
    """Return a size like ``8GB``, ``500M`` or ``1.5 GiB`` in bytes.

    >>> parse_size("1.5GB")
    1610612736

    Raises
    ------
    InvalidArgumentError
        If it is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise InvalidArgumentError(f"{text!r} is not a size; expected something like 8GB or 500MB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def available_memory() -> int:
    """Return the bytes that may still be taken: what is free, or what the container's limit leaves.

    Examples
    --------
    >>> available_memory() > 0
    True
    """
    free = _meminfo_available()
    for limit, used in _cgroup_limits():
        free = min(free, max(0, limit - used))
    return free


def _meminfo_available() -> int:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        if match:
            return int(match[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return FALLBACK_MEMORY


def _cgroup_limits(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[tuple[int, int]]:
    """Memory limits of the control groups that this process is in (versions 2 and 1), with what is used of each."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names, base = ("memory.max", "memory.current"), root
        elif "memory" in controllers.split(","):
            names, base = ("memory.limit_in_bytes", "memory.usage_in_bytes"), root / "memory"
        else:
            continue
        folder = base / path.lstrip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(base):
                break
            limit, used = (_read_number(group / name) for name in names)
            if limit is not None and limit < 2**60:
                yield limit, used or 0


def _read_number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def available_cpus() -> int:
    """Return how many CPUs this process may use.

    Examples
    --------
    >>> available_cpus() >= 1
    True
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota.isdigit():
            count = min(count, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return count


def fixed_bytes(task: LabelTask) -> int:
    """Return what scoring a label takes beside its run lengths: slabs, caches and tiles, from metadata alone."""
    truth, grid = open_truth(task)
    total = _slab_bytes(truth)
    mask = f"{task.truth_key}_mask"
    if is_array(task.truth, mask, limits=LIMITS):
        total += _slab_bytes(truth) + _chunk_bytes(open_stored(task.truth, mask)[0])
    if task.submission is not None:
        try:
            prediction = open_prediction(task.submission, task.key, grid)
        except CscError:
            return total  # scored as missing
        total += _prediction_bytes(prediction, grid)
    return total


def _slab_bytes(source: VoxelSource) -> int:
    nz, ny, nx = source.shape
    slab = min(nz, source.chunks[0]) * ny * nx * source.dtype.itemsize
    # The slab, and a converted copy of it.
    return 2 * slab + _chunk_bytes(source)


def _chunk_bytes(source: VoxelSource) -> int:
    """The chunk that is being decoded, its coded bytes, and the chunks that are kept."""
    chunk = math.prod(source.chunks) * source.dtype.itemsize
    kept = math.prod(-(-n // c) for n, c in zip(source.shape, source.chunks, strict=True)) * chunk
    return 2 * chunk + max(chunk, min(CACHE_BYTES, kept))


def _prediction_bytes(prediction: Prediction, grid: CropGrid) -> int:
    source = prediction.voxels
    plane = math.prod(grid.shape[1:])
    if not is_resampled(prediction, grid):
        return 2 * min(grid.shape[0], source.chunks[0]) * plane * source.dtype.itemsize + _chunk_bytes(source)
    from csc_eval.placing.resample import TILE

    sizes = zip(source.shape, prediction.voxel_size or grid.voxel_size, grid.voxel_size, strict=True)
    tile = math.prod(min(n, TILE + 8 * max(1.0, v / s)) for n, s, v in sizes)
    # A tile as doubles, filtered, with the filter's buffers; and the slab that it goes into.
    return int(tile * 8 * 4) + 2 * min(grid.shape[0], 64) * plane * 8 + _chunk_bytes(source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the work is laid out.

    Attributes
    ----------
    tasks : tuple of LabelTask
        In the order given, each with the memory that it may take for run lengths.
    workers : int
        How many run at once.
    refused : mapping of int to str
        Tasks that do not fit even alone, by position, with the reason.
    alone : tuple of LabelTask
        The tasks with what each may take when nothing else runs.
    """

    tasks: tuple[LabelTask, ...]
    workers: int = 1
    refused: Mapping[int, str] = field(default_factory=dict)
    alone: tuple[LabelTask, ...] = ()


def plan_work(tasks: Sequence[LabelTask], *, workers: int, memory: int | None) -> Plan:
    """Share memory among labels, and choose how many run at once.

    Parameters
    ----------
    tasks : sequence of LabelTask
        The work.
    workers : int
        How many may run at once; 0: as many as there are CPUs.
    memory : int, optional
        Bytes for all; by default what is free.
    """
    if workers < 0:
        raise InvalidArgumentError(f"workers is {workers}; expected 0 (as many as fit) or more")
    granted = int(available_memory() * 0.9) if memory is None else memory
    wanted = min(workers or available_cpus(), max(1, len(tasks)))
    fixed = [_fixed_or_zero(task) for task in tasks]
    least = [PROCESS_BYTES + size + 2 * LEAST_RUNS * BYTES_PER_RUN for size in fixed]
    refused = {
        number: f"reading it takes {_megabytes(need)} MB, more than the {_megabytes(granted)} MB granted: "
        "give more memory (--memory), or store it in smaller chunks"
        for number, need in enumerate(least)
        if need > granted
    }
    # Some room for run lengths beside what must be there; the most demanding label decides.
    usual = [
        need + 2 * BYTES_PER_RUN * _usual_runs(task)
        for number, (need, task) in enumerate(zip(least, tasks, strict=True))
        if number not in refused
    ]
    count = max(1, min(wanted, granted // max(usual, default=1)))
    return Plan(
        tasks=_with_memory(tasks, fixed, granted // count - PROCESS_BYTES),
        workers=count,
        refused=refused,
        # The process that waits for the workers holds memory too.
        alone=_with_memory(tasks, fixed, granted - 2 * PROCESS_BYTES),
    )


def _with_memory(tasks: Sequence[LabelTask], fixed: Sequence[int], share: int) -> tuple[LabelTask, ...]:
    return tuple(replace(task, memory=max(1, share - size)) for task, size in zip(tasks, fixed, strict=True))


def expected_work(task: LabelTask) -> int:
    """Return about how long scoring a label takes, in voxels of a semantic class; 0 where it cannot be read."""
    try:
        voxels = math.prod(open_truth(task)[0].shape)
    except CscError:
        return 0
    return voxels * (INSTANCES_TAKE if task.instance else 1)


def _usual_runs(task: LabelTask) -> int:
    return expected_work(task) // (INSTANCES_TAKE * VOXELS_PER_RUN) if task.instance else 0


def _fixed_or_zero(task: LabelTask) -> int:
    try:
        return fixed_bytes(task)
    except CscError:
        return 0  # it will be named when it is scored


def _megabytes(size: int) -> int:
    return -(-size // 1024**2)
