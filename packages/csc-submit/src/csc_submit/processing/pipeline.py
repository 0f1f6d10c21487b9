"""The stages that one prediction goes through; a killed run continues in the stage where it stopped.

Stages write into the hidden folder of the plan: a mask (or labels), the same with holes filled, tables of components,
and the result with its final ids, which is renamed to its place when it is complete.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
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
from csc_submit.processing.planning import ArrayPlan
from csc_submit.processing.stages import MaskBlock, RelabelBlock
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
        """Go through all stages and put the result in its place."""
        plan = self.plan
        result = plan.work / plan.target.name
        if plan.finds_objects:
            mask = plan.work / "mask"
            self._mask(mask, lambda: self._create(mask, plan.local_steps.stored_dtype(plan.source_dtype)))
            if plan.options.fill_holes:
                dtype = plan.local_steps.stored_dtype(plan.source_dtype)
                mask = self._fill(mask, lambda folder: self._create(folder, dtype), plan.work / "filled")
            summary = self._objects(mask, result)
        elif plan.options.fill_holes:
            mask = plan.work / "mask"
            self._mask(mask, lambda: self._create(mask, plan.local_steps.stored_dtype(plan.source_dtype)))
            self._fill(mask, lambda _: self._create_result(result, np.dtype("u1")), result / "s0")
            summary = Summary(voxels=_count_voxels(result / "s0"), instances=None)
        else:
            self._mask(result / "s0", lambda: self._create_result(result, np.dtype("u1")))
            summary = Summary(voxels=_count_voxels(result / "s0"), instances=None)
        self._finish(result, summary)
        return summary

    def _mask(self, target: Path, create: Callable[[], None]) -> None:
        plan = self.plan
        work = MaskBlock(source=plan.source, target=target, steps=plan.local_steps)
        self._stage("mask", work, create, plan.blocks)

    def _fill(self, mask: Path, create: Callable[[Path], None], target: Path) -> Path:
        labelling = self._labelling(mask, "holes", background=True)
        components = join_blocks(labelling)
        assert components.around is not None
        # A hole becomes part of the object around it; one between several objects stays.
        values = np.where(components.outer, 0, components.around)
        work = RelabelBlock(labelling=labelling, components=components, values=values, target=target, keep=True)
        self._stage("filled", work, lambda: create(target), self._plain)
        return target

    def _objects(self, mask: Path, result: Path) -> Summary:
        plan = self.plan
        labelling = self._labelling(mask, "objects", background=False)
        components = join_blocks(labelling)
        stays = components.voxels >= plan.options.smallest_object(plan.grid.voxel_size)
        count = int(stays.sum())
        values: npt.NDArray[Any]
        if plan.options.instances:
            dtype = unsigned_dtype(count)
            values = np.where(stays, np.cumsum(stays), 0).astype(dtype)
        else:
            values = stays.astype(np.uint8)
        work = RelabelBlock(labelling=labelling, components=components, values=values, target=result / "s0")
        self._stage("result", work, lambda: self._create_result(result, values.dtype), self._plain)
        return Summary(voxels=int(components.voxels[stays].sum()), instances=count if plan.options.instances else None)

    def _labelling(self, mask: Path, name: str, *, background: bool) -> Labelling:
        labelling = Labelling(
            source=mask,
            background=background,
            connectivity=self.plan.options.connectivity,
            grid=self._plain,
            tables=self.plan.work / name,
        )
        self._stage(name, labelling, lambda: shutil.rmtree(labelling.tables, ignore_errors=True), self._plain)
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
        create_array(folder, shape=self.plan.grid.shape, dtype=dtype, chunks=self.plan.chunks, overwrite=True)

    def _create_result(self, folder: Path, dtype: np.dtype[Any]) -> None:
        create_multiscale(folder, self.plan.grid, dtype=dtype, chunks=self.plan.chunks, overwrite=True)

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
