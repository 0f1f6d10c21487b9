"""What will be done to one prediction, decided before anything is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from csc_data.blocks import BlockGrid, align_block_shape, check_finished
from csc_data.config.user_config import Config
from csc_data.errors import CscError, InvalidArgumentError, MissingDataError
from csc_data.geometry import Grid, Shape, as_shape
from csc_data.volumes import open_volume
from csc_data.volumes.channels import class_of_channel
from csc_data.volumes.stored_values import Kind, StoredValues
from csc_submit.digests import digest_of_files
from csc_submit.predictions import StoredPrediction
from csc_submit.processing.fragments import StoredChannel
from csc_submit.processing.local.local_steps import LocalSteps
from csc_submit.processing.own_function import own_step
from csc_submit.processing.own_step import OwnStep
from csc_submit.processing.passes import Pass, passes_of, steps_for
from csc_submit.settings import ClassOptions, ProcessSettings
from csc_submit.steps.declared import MutexWatershed, Own, Step
from csc_submit.values import Meaning, find_meaning

_CHUNKS = (64, 64, 64)

_VERSION = 1  # of the results; another number makes results of before incomparable


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayPlan:
    """The work on one class of one crop.

    Attributes
    ----------
    prediction : StoredPrediction
    source : Path
        The array that is read, the finest level.
    target, work : Path
        Where the result goes, and the hidden folder in which it grows.
    grid : Grid
        The grid of both.
    chunks : tuple of int
        Chunk shape of what is written.
    blocks : BlockGrid
        The blocks, with the halo that the local steps need.
    meaning : Meaning
        What the source holds.
    source_dtype : numpy.dtype
    options : ClassOptions
    own : OwnStep or None
    passes : tuple of Pass
    others : tuple of ArrayPlan
        The work on the classes of the crop whose results are read.
    beside : mapping of str to StoredChannel
        The other predictions that are read, by name: affinities, and classes that ``process_func`` gets at once.
    made_with : dict
        All that the result depends on, but for the contents of the source and of the others.
    """

    prediction: StoredPrediction
    source: Path
    target: Path
    work: Path
    grid: Grid
    chunks: Shape
    blocks: BlockGrid
    meaning: Meaning
    source_dtype: np.dtype[Any]
    options: ClassOptions
    own: OwnStep | None
    passes: tuple[Pass, ...]
    others: tuple[ArrayPlan, ...]
    beside: Mapping[str, StoredChannel]
    made_with: dict[str, Any]

    def fingerprint(self) -> dict[str, Any]:
        """Return all that the result depends on. This reads the whole source: call it once, and only where needed."""
        others = {f"result of {plan.prediction.class_name}": plan.fingerprint() for plan in self.others}
        read = {name: digest_of_files(one.path) for name, one in self.beside.items()}
        return {"prediction": digest_of_files(self.source), **self.made_with, **others, **read}

    @property
    def reads(self) -> frozenset[str]:
        """The other classes whose results are read."""
        return frozenset(name for one in self.passes for step in one.steps for name in step.reads)

    def local_steps(self, one: Pass) -> LocalSteps:
        """Return what a local pass does to each block by itself."""
        return LocalSteps(
            steps=one.steps,
            meaning=self.meaning,
            class_name=self.options.class_name,
            instances=self.options.instances,
            voxel_size=self.grid.voxel_size,
            connectivity=self.options.connectivity,
            own=self.own,
            alone=len(self.blocks) == 1,
            first=one.source < 0,
        )

    def affinities_of(self, step: MutexWatershed) -> tuple[StoredChannel, ...]:
        """Return the affinities that a step reads."""
        return tuple(self.beside[name] for name in step.channels(self.options.class_name))

    @property
    def results(self) -> dict[str, Path]:
        """The arrays of the other classes that are read."""
        return {plan.prediction.class_name: plan.target / "s0" for plan in self.others}

    @property
    def steps(self) -> int:
        """Blocks over all passes."""
        return sum(one.rounds for one in self.passes) * len(self.blocks)


def check_options(options: ClassOptions, meaning: Meaning) -> None:
    """Check that what is asked makes sense for what a prediction holds.

    Raises
    ------
    InvalidArgumentError
        If it does not.

    Examples
    --------
    >>> from csc_data.volumes.stored_values import StoredValues
    >>> from csc_submit import ProcessSettings
    >>> ids = Meaning(values=StoredValues(kind="label"), assumed=False)
    >>> check_options(ProcessSettings().for_class("mito"), ids)
    >>> try:
    ...     check_options(ProcessSettings(fill_holes=True).for_class("mito"), ids)
    ... except InvalidArgumentError as error:
    ...     print(str(error).partition(",")[0])
    fill_holes is for masks and probabilities
    """
    if meaning.is_label and options.instances and options.fill_holes:
        raise InvalidArgumentError(
            "fill_holes is for masks and probabilities, and this prediction holds ids; leave it out for this class"
        )


def plan_crop(
    predictions: Sequence[StoredPrediction], settings: ProcessSettings, config: Config
) -> Iterator[ArrayPlan | FailedPlan]:
    """Yield the plan of each class of a crop, those whose results others read before these.

    Parameters
    ----------
    predictions : sequence of StoredPrediction
        All of one crop: of classes, and what lies beside them.
    settings : ProcessSettings
    config : Config

    Yields
    ------
    ArrayPlan or FailedPlan
        The latter where a prediction cannot be read, or what is asked makes no sense for it.
    """
    channels = {p.class_name: p for p in predictions}
    # Affinities and the like have no results of their own: steps of their class read them.
    wanted = set(settings.classes) or {name for name in channels if class_of_channel(name) is None}
    by_name = {name: p for name, p in channels.items() if name in wanted}
    order = settings.classes or tuple(settings.class_table)
    known = [name for name in order if name in by_name]
    drafts: dict[str, ArrayPlan] = {}
    for name, prediction in by_name.items():
        try:
            drafts[name] = plan_array(prediction, settings, config, known, channels)
        except CscError as error:
            yield FailedPlan(prediction=prediction, reason=str(error))
    reads = {name: draft.reads for name, draft in drafts.items()}
    plans: dict[str, ArrayPlan] = {}
    while reads:
        ready = [name for name, others in reads.items() if not others & reads.keys()]
        if not ready:
            for name in reads:
                reason = f"{' and '.join(sorted(reads))} wait for each other's results; let one of them do without"
                yield FailedPlan(prediction=by_name[name], reason=reason)
            return
        for name in ready:
            missing = sorted(reads.pop(name) - plans.keys())
            if missing:
                reason = f"its steps need {', '.join(missing)}, not processed here; predict and process that, too"
                yield FailedPlan(prediction=by_name[name], reason=reason)
            else:
                others = tuple(plans[other] for other in sorted(drafts[name].reads))
                plans[name] = dataclasses.replace(drafts[name], others=others)
                yield plans[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedPlan:
    """A prediction with which nothing can be done, and why."""

    prediction: StoredPrediction
    reason: str


def _find_beside(
    steps: Sequence[Step],
    class_name: str,
    grid: Grid,
    channels: Mapping[str, StoredPrediction],
    stored_as: Kind | None,
) -> dict[str, StoredChannel]:
    """Return the predictions that steps read beside that of the class.

    Raises
    ------
    CscError
        If some were not predicted, lie elsewhere, or are labels.
    """
    found = {}
    for name in dict.fromkeys(name for step in steps for name in step.channels(class_name)):
        if name not in channels:
            there = ", ".join(sorted(channels.keys() - {class_name})) or "no other"
            raise MissingDataError(f"the steps of {class_name} read {name}, which was not predicted; there is {there}")
        check_finished(channels[name].path, class_name=name)
        volume = open_volume(channels[name].path)
        level, meaning = volume.levels[0], find_meaning(volume, stored_as)
        if level.grid != grid or meaning.is_label:
            raise InvalidArgumentError(
                f"{channels[name].path} holds a {meaning.values.kind} on {level.grid}; what is read beside "
                f"{class_name} must be probabilities or logits on its grid, {grid}"
            )
        found[name] = StoredChannel(path=channels[name].path / level.name, values=meaning.values)
    return found


def _check_alike(own: StoredValues, others: Sequence[StoredChannel]) -> None:
    for other in others:
        if other.values != own:
            raise InvalidArgumentError(
                f"{other.path} holds {other.values}, and the class itself {own}; process_classes must be stored alike"
            )


def plan_array(
    prediction: StoredPrediction,
    settings: ProcessSettings,
    config: Config,
    known: Sequence[str],
    channels: Mapping[str, StoredPrediction],
) -> ArrayPlan:
    """Look at a prediction and decide what to do; ``known`` are the classes to process, ``channels`` all predictions.

    Raises
    ------
    CscError
        If the prediction cannot be read, or what is asked makes no sense for it.
    """
    check_finished(prediction.path, class_name=prediction.class_name)
    volume = open_volume(prediction.path)
    level = volume.levels[0]
    mine = settings.for_class(prediction.class_name)
    meaning = find_meaning(volume, settings.stored_as)
    check_options(mine, meaning)
    # Blocks never share a chunk, so chunks are not larger than blocks.
    limits = zip(_CHUNKS, settings.block_shape, level.grid.shape, strict=True)
    chunks = as_shape([max(1, min(limit)) for limit in limits])
    own = own_step(settings)
    steps = steps_for(settings, prediction.class_name, level.grid.voxel_size, own, known)
    beside = _find_beside(steps, prediction.class_name, level.grid, channels, settings.stored_as)
    if own is not None and any(isinstance(step, Own) and step.together for step in steps):
        _check_alike(meaning.values, [beside[name] for name in beside if class_of_channel(name) is None])
    passes = passes_of(steps)
    halo = passes[0].halo(level.grid.voxel_size)
    blocks = BlockGrid(shape=level.grid.shape, block_shape=align_block_shape(settings.block_shape, chunks), halo=halo)
    source = prediction.path / level.name
    target = config.path(
        "processed", dataset=prediction.dataset, crop=prediction.crop, class_name=prediction.class_name
    )
    return ArrayPlan(
        prediction=prediction,
        source=source,
        target=target,
        work=target.with_name(f".{target.name}.part"),
        grid=level.grid,
        chunks=chunks,
        blocks=blocks,
        meaning=meaning,
        source_dtype=level.dtype,
        options=mine,
        own=own,
        passes=passes,
        others=(),
        beside=beside,
        made_with={
            "meaning": dataclasses.asdict(meaning),
            "voxel_size": list(level.grid.voxel_size),
            "translation": list(level.grid.translation),
            # Block borders may change what the user's own step does, but no step of ours.
            "blocks": [list(blocks.block_shape), list(blocks.halo)],
            **made_with(settings, prediction.class_name),
            **({} if settings.step_list(prediction.class_name) is None else {"steps": [repr(step) for step in steps]}),
        },
    )


def made_with(settings: ProcessSettings, class_name: str) -> dict[str, Any]:
    """Return what settings say of a class, whatever prediction of it is processed; JSON values.

    Examples
    --------
    >>> from csc_submit import ProcessSettings
    >>> made_with(ProcessSettings(threshold=0.7), "er")["options"]["threshold"]
    0.7
    """
    own, parameters = own_step(settings), settings.own_parameters(class_name)
    listed = settings.step_list(class_name)
    return {
        "version": _VERSION,
        "options": dataclasses.asdict(settings.for_class(class_name)),
        "process_func": own.record if own is not None else None,
        **({"process_classes": list(settings.process_classes)} if settings.process_classes else {}),
        **({"process_parameters": parameters} if own is not None and parameters else {}),
        **({} if listed is None else {"steps": [repr(step) for step in listed]}),
    }
