"""What a call of `predict` will do, worked out before anything is computed."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from csc_data.errors import CscError, InvalidArgumentError, MissingDataError, Problem
from csc_data.geometry import Grid, as_shape
from csc_data.loader import RawSource
from csc_data.loader.patches.value_transforms import transform_digest
from csc_data.storage.room import check_writable
from csc_data.volumes import Volume
from csc_data.volumes.output import OutputStorage
from csc_train.prediction.blocks import BlockJob, region_grid
from csc_train.prediction.outputs import ClassGroup, Grouping, Output, OutputFolders
from csc_train.prediction.planning.block_shapes import BlockShapes, count_windows
from csc_train.prediction.planning.call import PredictCall
from csc_train.prediction.planning.choice import ArrayChoice
from csc_train.prediction.planning.estimate import PredictEstimate, RegionEstimate
from csc_train.prediction.planning.raw_values import odd_floats
from csc_train.prediction.planning.record import PredictRecord, make_record
from csc_train.prediction.planning.regions import Places, PredictRegion, choose_boxes, choose_crops
from csc_train.prediction.predictor import Predictor, check_channels
from csc_train.prediction.running.workers import ExecutionOptions, execution_options
from csc_train.prediction.source import NetworkSource
from csc_train.prediction.window.passes import plan_turns
from csc_train.prediction.window.tiling import Windows, windows_of

_CROP_CHUNK = 64
_MANY_TIMES = 64  # an overlap of three quarters
_READ_AS = "RawSource 1"
"""How raw is read: a run that was begun when it was read otherwise must not be gone on with."""


@dataclass(frozen=True, kw_only=True)
class RegionWork:
    """One region, with all that its prediction needs.

    Attributes
    ----------
    region : PredictRegion
    raw : Volume
    windows : Windows
        How patches lie in it.
    grid : Grid
        Of the network's output.
    groups : tuple of ClassGroup
        Classes that are predicted together.
    estimate : RegionEstimate
    """

    region: PredictRegion
    raw: Volume
    windows: Windows
    grid: Grid
    groups: tuple[ClassGroup, ...]
    estimate: RegionEstimate

    def job(self, group: ClassGroup, source: NetworkSource) -> BlockJob:
        """Return the work on the blocks of some classes."""
        return BlockJob(
            source=source,
            name=self.region.label,
            raw=self.raw,
            stored=self.region.roi,
            windows=self.windows,
            grid=self.grid,
            output=group.output.grid,
            classes=group.classes,
            arrays=group.arrays,
        )


@dataclass(frozen=True, kw_only=True)
class PredictPlan:
    """What will be predicted, with what, and what it takes.

    Attributes
    ----------
    predictor : Predictor
    windows : Windows
        How patches lie, wherever that is.
    works : tuple of RegionWork
    record : PredictRecord
        What it is made with.
    fingerprint : mapping
        All that values depend on, but for the region, as JSON values: alike for all regions and classes. Empty where
        no region can be predicted.
    estimate : PredictEstimate
    execution : ExecutionOptions
        Where blocks will be predicted.
    notes : tuple of str
        What somebody should know.
    problems : tuple of Problem
        Regions that cannot be predicted.
    """

    predictor: Predictor
    windows: Windows
    works: tuple[RegionWork, ...]
    record: PredictRecord
    fingerprint: Mapping[str, Any]
    estimate: PredictEstimate
    execution: ExecutionOptions
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def lines(self) -> list[str]:
        """All of it for people."""
        problems = [f"cannot be predicted: {problem}" for problem in self.problems]
        count = self.execution.processes
        shared = [f"divided among {count} processes"] if count > 1 else []
        return [*self.record.lines(), *shared, *self.notes, *self.estimate.lines(), *problems]


def make_plan(call: PredictCall, predictor: Predictor) -> PredictPlan:
    """Work out what a call will do; nothing is written.

    Raises
    ------
    CscError
        If settings, classes or the crops that are asked for cannot be used at all.
    """
    check_channels(predictor)
    settings = predictor.settings
    windows = windows_of(predictor.patch, settings)
    choice = ArrayChoice(predictor=predictor)
    places = Places(
        config=call.config,
        templates=call.templates,
        datasplit=predictor.datasplit or call.config.path("datasplit"),
    )
    if call.volume is not None:
        regions = choose_boxes(call.volume, call.rois, places)
    else:
        regions = choose_crops(settings.crops if call.crops is None else call.crops, places)
    execution = call.execution or execution_options(settings)
    planner = _Planner(
        call=call,
        predictor=predictor,
        windows=windows,
        # Of a machine with a GPU the workers see the CPU alone.
        record=make_record(predictor, windows, "cpu" if execution.workers > 1 else None),
        processes=execution.processes,
        regions=len(regions),
    )
    works, problems, without = [], [], []
    for region in regions:
        try:
            names = choice.of(region)
            if names:
                works.append(planner.work(region, names))
            else:
                without.append(region.label)
        except CscError as error:
            problems.append(Problem(where=region.label, what=str(error)))
    if not works and not problems:
        raise InvalidArgumentError(
            f"nothing to predict: of {', '.join(predictor.arrays)}, which the network knows, no class is scored or "
            f"annotated in {', '.join(without)}; name classes, or ask for all"
        )
    _check_places(works)
    estimate = PredictEstimate(regions=tuple(work.estimate for work in works), place=_common_place(works, call))
    floats = [odd_floats(work.raw, work.region.roi, windows.patch.input) for work in works]
    notes = [*choice.notes(regions), _many_passes(windows, estimate), *dict.fromkeys(floats)]
    if without:
        notes.append(f"left out, as none of the network's classes is scored or annotated there: {', '.join(without)}")
    return PredictPlan(
        predictor=predictor,
        windows=windows,
        works=tuple(works),
        record=planner.record,
        fingerprint={**planner.fingerprint(), "on the grid of": settings.output_grid} if works else {},
        estimate=estimate,
        execution=execution,
        notes=tuple(note for note in notes if note),
        problems=tuple(problems),
    )


def _common_place(works: Sequence[RegionWork], call: PredictCall) -> Path:
    folders = [folder.parent for work in works for group in work.groups for folder in group.folders]
    return Path(os.path.commonpath(folders)) if folders else call.config.root


def _many_passes(windows: Windows, estimate: PredictEstimate) -> str:
    """Return a line where patches overlap so much that it can hardly be meant; empty elsewhere."""
    times = math.prod(kept / step for kept, step in zip(windows.kept, windows.step, strict=True))
    if times <= _MANY_TIMES:
        return ""
    return (
        f"with an overlap of {windows.overlap:g} each voxel goes through the network {times:,.0f} times, in "
        f"{estimate.passes:,} passes; 0.5 (8 times) is rarely worth more than 0.25"
    )


def _check_places(works: Sequence[RegionWork]) -> None:
    owners: dict[Path, str] = {}
    for work in works:
        folder = work.groups[0].folders[0].parent
        other = owners.setdefault(folder, work.region.label)
        if other != work.region.label:
            raise InvalidArgumentError(
                f"{other} and {work.region.label} would both be written to {folder}; put {{dataset}} and {{crop}} into "
                "the path"
            )


@dataclass(frozen=True, kw_only=True)
class _Planner:
    """Plans one region after the other."""

    call: PredictCall
    predictor: Predictor
    windows: Windows
    record: PredictRecord
    processes: int
    regions: int

    def work(self, region: PredictRegion, classes: tuple[str, ...]) -> RegionWork:
        folders = OutputFolders(region=region, config=self.call.config)
        check_writable(folders.of("x").parent)
        raw = region.open_raw()
        self._check_stored(region, raw)
        grid = region_grid(region.roi, self.windows.patch, raw)
        windows = self.windows.within(raw.levels[0].grid.bounds, grid)
        output = self._output(region, grid, raw)
        shapes = BlockShapes(windows=windows, processes=self.processes, regions=self.regions)
        grouping = Grouping(
            folders=folders,
            output=output,
            block_shape=lambda count: shapes.choose(grid, output, count),
            existing=self.call.existing,
        )
        groups = tuple(grouping.groups(classes))
        counts = [count_windows(windows, grid, output.grid, group.blocks).total for group in groups]
        estimates = [self._estimate(region, raw, group, count) for group, count in zip(groups, counts, strict=True)]
        estimate = _sum(estimates)
        return RegionWork(region=region, raw=raw, windows=windows, grid=grid, groups=groups, estimate=estimate)

    def _check_stored(self, region: PredictRegion, raw: Volume) -> None:
        """Check that something of raw was fetched; of a whole volume that would take too long."""
        if region.grid is None:
            return
        stored = RawSource(raw, region.roi).stored_box(self.windows.patch.input)
        if stored.chunks and stored.empty == stored.chunks:
            raise MissingDataError(f"{region.raw} has none of the {stored.chunks} chunks that hold it; fetch them")

    def _output(self, region: PredictRegion, grid: Grid, raw: Volume) -> Output:
        settings, target = self.predictor.settings, grid
        step = self.windows.step
        chunks = as_shape([max(step)] * 3) if self.windows.kept[0] == 1 else step
        if settings.output_grid == "crop":
            if region.grid is None:
                raise InvalidArgumentError("a box of a volume has no grid of its own; leave output_grid out")
            target, chunks = region.grid, (_CROP_CHUNK,) * 3
        storage = OutputStorage(
            dtype=settings.stored_dtype,
            chunks=settings.output_chunks or chunks,
            format=settings.output_format,
            shards=settings.shards,
        )
        return Output(
            grid=target,
            scales=settings.scales,
            storage=storage,
            attributes=self.record.to_attributes(),
            meanings=self.predictor.meanings,
            fingerprint=self._fingerprint(grid, target, raw, storage),
            is_mask=settings.output == "mask",
        )

    def _fingerprint(self, grid: Grid, target: Grid, raw: Volume, storage: OutputStorage) -> dict[str, Any]:
        """Return everything that the bytes of the output depend on."""
        return {
            **self.fingerprint(),
            "raw": [list(level.grid.shape) for level in raw.levels],
            "grid": _plain(grid),
            "output_grid": _plain(target),
            "room": [list(room) for room in self.windows.within(raw.levels[0].grid.bounds, grid).room],
            "chunks": list(storage.chunks),
            "output_format": storage.format,
            "shards": list(storage.shards) if storage.shards else None,
        }

    def fingerprint(self) -> dict[str, Any]:
        """Return what the values of all regions depend on."""
        predictor, windows = self.predictor, self.windows
        settings = predictor.settings
        transforms = settings.value_transforms
        return {
            "checkpoint": predictor.identity,
            "output": settings.output,
            "output_dtype": settings.stored_dtype,
            "threshold": settings.threshold if settings.output == "mask" else None,
            "precision": self.record.precision,
            "compile": settings.compile,
            "reading": _READ_AS,
            "raw_range": list(predictor.raw_range),
            "value_transforms": None
            if transforms is None
            else transform_digest(transforms, predictor.raw_range, where="value_transforms"),
            "input": windows.patch.input.to_plain(),
            "target": windows.patch.target.to_plain(),
            "halo": list(windows.halo),
            "reach": list(windows.reach),
            "overlap": windows.overlap,
            "blending": windows.blending,
            "orthoplanes": windows.orthoplanes,
            "tta": settings.tta,
            "batch_size": self.record.batch_size,
            # Of one output the classes say which channel is which, as they did before there were several.
            **({"outputs": [asdict(each) for each in predictor.outputs]} if len(predictor.outputs) > 1 else {}),
        }

    def _estimate(self, region: PredictRegion, raw: Volume, group: ClassGroup, windows: int) -> RegionEstimate:
        turns = len(plan_turns(self.windows, self.predictor.settings.tta)) * len(self.predictor.networks)
        blocks, done = len(group.blocks), len(group.ledger.finished)
        passes, written = turns * windows, group.output.bytes(len(group.classes))
        return RegionEstimate(
            label=region.label,
            classes=group.classes,
            shape=group.output.grid.shape,
            passes=passes,
            passes_left=round(passes * (1 - done / blocks)),
            blocks=blocks,
            done_blocks=done,
            bytes=written,
            bytes_left=round(written * (1 - done / blocks)),
            files=group.output.files(len(group.classes)),
            inside=region.share_inside(raw),
        )


def _plain(grid: Grid) -> list[list[float]]:
    return [list(grid.voxel_size), list(grid.translation), list(grid.shape)]


def _sum(estimates: Sequence[RegionEstimate]) -> RegionEstimate:
    """Return what the groups of one region take together."""
    return replace(
        estimates[0],
        classes=tuple(name for each in estimates for name in each.classes),
        passes=sum(each.passes for each in estimates),
        passes_left=sum(each.passes_left for each in estimates),
        blocks=sum(each.blocks for each in estimates),
        done_blocks=sum(each.done_blocks for each in estimates),
        bytes=sum(each.bytes for each in estimates),
        bytes_left=sum(each.bytes_left for each in estimates),
        files=sum(each.files for each in estimates),
    )
