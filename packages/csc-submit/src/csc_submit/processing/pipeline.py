"""The passes that one prediction goes through; a killed run continues in the pass where it stopped.

Each pass writes an array into the hidden folder of the plan, global ones also tables of components. The last array is
the result, which is renamed to its place when it is complete.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block, BlockGrid, Execution, Ledger, Progress, run_blocks
from csc_data.formats.reading import open_array
from csc_data.formats.writing import create_array, ensure_groups, read_attributes, write_json
from csc_data.volumes import create_multiscale
from csc_data.volumes.stored_values import StoredValues
from csc_submit.processing.components import Labelling, join_blocks
from csc_submit.processing.fragments import Fragments
from csc_submit.processing.passes import Pass, is_numbered, kept_objects
from csc_submit.processing.planning import ArrayPlan
from csc_submit.processing.stages import LocalBlock, RelabelBlock
from csc_submit.steps.declared import MutexWatershed
from csc_submit.values import unsigned_dtype

ATTRIBUTE = "csc_process"
"""Attribute of a processed group: a digest of what it was made from and with, and what it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a finished result holds: voxels, and objects where they were numbered."""

    voxels: int
    instances: int | None


def read_summary(plan: ArrayPlan) -> tuple[dict[str, Any], Summary] | None:
    """Return what an existing result was made with, and what it holds; None if it does not say."""
    entry = read_attributes(plan.target).get(ATTRIBUTE)
    if entry is None:
        return None
    return entry["made_with"], Summary(voxels=entry["voxels"], instances=entry["instances"])


def check_unfinished(plan: ArrayPlan) -> None:
    """Check that the unfinished work of a killed run is that of the plan.

    Raises
    ------
    ExistingOutputError
        If it was made from or with something else.
    """
    Ledger(plan.work / "mask.ledger", plan.fingerprint()).read()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where a pass writes: the name of its record, its array, and what creates that with a type."""

    name: str
    array: Path
    create: Callable[[np.dtype[Any]], None]


class Pipeline:
    """Runs the stages of one plan.

    Parameters
    ----------
    plan : ArrayPlan
    execution : Execution
        Where blocks are worked on.
    progress : callable or None
        Called with the finished blocks of all stages, and their number.
    """

    def __init__(self, plan: ArrayPlan, execution: Execution, progress: Progress | None) -> None:
        self.plan = plan
        self._execution = execution
        self._progress = progress
        self._done = 0
        self._fingerprint = plan.fingerprint()
        self._plain = dataclasses.replace(plan.blocks, halo=(0, 0, 0))

    def run(self) -> Summary:
        """Go through all passes and put the result in its place."""
        plan = self.plan
        result = plan.work / plan.target.name
        last = len(plan.passes) - 1
        # The first has the name by which unfinished work is known.
        names = ["mask", *(f"{number}-{one.scope}" for number, one in enumerate(plan.passes[1:], 1))]
        places = [plan.work / f"{name}.array" for name in names[:-1]] + [result / "s0"]
        summary = None
        for number, (name, one) in enumerate(zip(names, plan.passes, strict=True)):
            source = plan.source if one.source < 0 else places[one.source]
            make = self._create_result if number == last else self._create
            place = result if number == last else places[number]
            to = _Target(name=name, array=places[number], create=partial(make, place))
            if one.scope == "local":
                self._local(one, source, to, None if one.side is None else places[one.side])
            elif one.scope == "holes":
                self._holes(source, to)
            else:
                summary = self._objects(one, source, to)
        if plan.passes[last].scope != "objects" or summary is None:
            summary = Summary(voxels=_count_voxels(result / "s0"), instances=None)
        self._finish(result, summary)
        return summary

    def _local(self, one: Pass, source: Path, to: _Target, side: Path | None) -> None:
        plan = self.plan
        steps = plan.local_steps(one)
        work = LocalBlock(
            source=source,
            target=to.array,
            steps=steps,
            prediction=plan.source,
            results=plan.results,
            beside={name: stored.path for name, stored in plan.beside.items()},
            side=side,
        )
        dtype = steps.stored_dtype(plan.source_dtype if one.source < 0 else open_array(source).dtype)
        grid = dataclasses.replace(plan.blocks, halo=one.halo(plan.grid.voxel_size))
        self._stage(to.name, work, lambda: to.create(dtype), grid)

    def _holes(self, source: Path, to: _Target) -> None:
        labelling = self._labelling(source, to.name, background=True)
        components = join_blocks(labelling)
        assert components.around is not None
        # A hole becomes part of the object around it; one between several objects stays.
        values = np.where(components.outer, 0, components.around)
        work = RelabelBlock(labelling=labelling, components=components, values=values, target=to.array, others="kept")
        self._stage(to.name, work, lambda: to.create(open_array(source).dtype), self._plain)

    def _objects(self, one: Pass, source: Path, to: _Target) -> Summary:
        labelling = self._labelling(source, to.name, background=False, mutex=one.mutex)
        components = join_blocks(labelling)
        stays = kept_objects(one.steps, components.voxels, self.plan.grid.voxel_size)
        count, numbered = int(stays.sum()), is_numbered(one.steps)
        values: npt.NDArray[Any] = stays.astype(np.uint8)
        dtype = open_array(source).dtype
        if numbered:
            dtype = unsigned_dtype(count)
            values = np.where(stays, np.cumsum(stays), 0).astype(dtype)
        work = RelabelBlock(
            labelling=labelling, components=components, values=values, target=to.array, as_mask=not numbered
        )
        self._stage(to.name, work, lambda: to.create(dtype), self._plain)
        instances = count if numbered and self.plan.options.instances else None
        return Summary(voxels=int(components.voxels[stays].sum()), instances=instances)

    def _labelling(
        self, source: Path, name: str, *, background: bool, mutex: MutexWatershed | None = None
    ) -> Labelling:
        plan = self.plan
        common: dict[str, Any] = {
            "source": source,
            "background": background,
            "connectivity": plan.options.connectivity,
            "grid": self._plain,
            "tables": plan.work / f"{name}.tables",
        }
        labelling = Labelling(**common)
        if mutex is not None:
            margin, affinities = mutex.halo(plan.grid.voxel_size), plan.affinities_of(mutex)
            labelling = Fragments(**common, step=mutex, margin=margin, affinities=affinities)
        clear = partial(shutil.rmtree, labelling.tables, ignore_errors=True)
        self._stage(labelling.tables.name, labelling, clear, self._plain)
        return labelling

    def _stage(self, name: str, work: Callable[[Block], None], create: Callable[[], Any], grid: BlockGrid) -> None:
        ledger = Ledger(self.plan.work / f"{name}.ledger", self._fingerprint, outputs=[self.plan.work])
        if not ledger.read():
            create()
            ledger.start()
        base = self._done

        def report(done: int, _: int) -> None:
            if self._progress:
                self._progress(base + done, self.plan.steps)

        run_blocks(work, grid, ledger=ledger, execution=self._execution, progress=report)
        self._done += len(grid)

    def _create(self, folder: Path, dtype: np.dtype[Any]) -> None:
        shape, chunks = self.plan.grid.shape, self.plan.chunks
        create_array(folder, shape=shape, dtype=dtype, chunks=chunks, overwrite=True, labels=True)

    def _create_result(self, folder: Path, dtype: np.dtype[Any]) -> None:
        grid, chunks = self.plan.grid, self.plan.chunks
        create_multiscale(folder, grid, dtype=dtype, chunks=chunks, overwrite=True, labels=True)

    def _finish(self, result: Path, summary: Summary) -> None:
        plan = self.plan
        entry = {"made_with": self._fingerprint, "voxels": summary.voxels, "instances": summary.instances}
        label = StoredValues(kind="label").to_attributes()
        write_json(result / "s0" / ".zattrs", {**read_attributes(result / "s0"), **label})
        ensure_groups(result, {**label, ATTRIBUTE: entry})
        if plan.target.exists():
            shutil.rmtree(plan.target)
        result.rename(plan.target)
        shutil.rmtree(plan.work)


def _count_voxels(path: Path) -> int:
    array = open_array(path)
    step = max(1, int(array.chunks[0]))
    return sum(int(np.count_nonzero(array[start : start + step])) for start in range(0, array.shape[0], step))
