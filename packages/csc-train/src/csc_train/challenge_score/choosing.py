"""Choosing the validation crops that are scored: whole ones, of which there is room in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from csc_data.loader import PatchLoader, ValidationPatches
from csc_data.loader.targets import BinaryTarget, SignedDistanceTarget
from csc_data.wording import format_bytes
from csc_train.challenge_score.plan import ScoredCrop, ScorePlan
from csc_train.objectives.objective import Objective
from csc_train.settings import TrainSettings

MOST_BYTES = 4 * 1024**3
"""What all crops that are put together at once may take, one byte a voxel and class."""


def make_score_plan(settings: TrainSettings, objective: Objective, loader: object, world_size: int) -> ScorePlan:
    """Return of which validation crops there is the challenge's own score.

    There is none without whole crops, where somebody else's loader gives batches, and of networks that do not say where
    classes are.
    """
    patches = loader.patches if isinstance(loader, PatchLoader) else None
    if not isinstance(loader, PatchLoader) or not isinstance(patches, ValidationPatches):
        return ScorePlan()
    reader = patches.reader
    output = next(entry for entry in objective.measured if not entry.prefix)
    says_where = isinstance(reader.kinds[output.target], BinaryTarget | SignedDistanceTarget)
    if not says_where or reader.targets[output.target] != reader.patch.target:
        return ScorePlan()
    limit = settings.validation_batch_limit
    validated = Validated(
        samples=samples_of_all(len(patches), loader.batch_size, limit, world_size),
        one_by_one=patches.shuffle_seed is None and world_size == 1,
        instances=settings.instance_score_every > 0,
    )
    crops, remarks = choose_crops(patches, settings.classes, validated)
    return ScorePlan(
        output=output,
        channels={name: channel for channel, name in enumerate(settings.classes)},
        crops=crops,
        instances=settings.class_table.instances,
        every=settings.instance_score_every,
        epochs=settings.epochs,
        remarks=remarks,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """What validation goes through.

    Attributes
    ----------
    samples : sequence of int
        Those of all processes.
    one_by_one : bool
        Whether a crop is done before the next begins.
    instances : bool
        Whether instance classes are ever scored.
    """

    samples: Sequence[int]
    one_by_one: bool
    instances: bool


def choose_crops(
    patches: ValidationPatches, classes: Sequence[str], validated: Validated, most_bytes: int = MOST_BYTES
) -> tuple[tuple[ScoredCrop, ...], tuple[str, ...]]:
    """Return the crops that are scored, always the same ones, and what to say of the others.

    A crop must be validated as a whole. Those that lie in memory at the same time must fit into it: each by itself
    where they come one by one, all together where their tiles are mixed.
    """
    reached = np.bincount(patches.crop_numbers(validated.samples), minlength=len(patches.tile_counts))
    annotated, partial, large, taken = 0, 0, 0, 0
    chosen = []
    for number, crop in enumerate(patches.reader.crops):
        # A class that is known by its parts alone has no truth of its own.
        own = {name: crop.labels[name][0].path for name in classes if name in crop.labels}
        own = {name: path for name, path in own.items() if path.rstrip("/").rsplit("/", 1)[-1] == name}
        tiles = patches.tile_counts[number]
        scored = ScoredCrop(
            number=number,
            name=crop.name,
            grid=patches.reader.grid(number),
            annotations=own,
            instances=crop.table.instances,
            tiles=tiles,
        )
        size = scored.size(instances=validated.instances)
        if not size:
            continue
        annotated += 1
        if reached[number] < tiles:
            partial += 1
        elif size + (0 if validated.one_by_one else taken) > most_bytes:
            large += 1
        else:
            taken += size
            chosen.append(scored)
    remarks = []
    if partial:
        limit = "validation_batch_limit leaves out parts of the others"
        remarks.append(f"challenge score: of {annotated - partial} of {annotated} validation crops; {limit}")
    if large:
        limit = f"more would take above {format_bytes(most_bytes)} of memory"
        remarks.append(f"challenge score: of {len(chosen)} of {annotated} validation crops; {limit}")
    return tuple(chosen), tuple(remarks)


def samples_of_all(count: int, batch_size: int, limit: int | None, processes: int) -> list[int]:
    """Return the samples that several processes validate together, of so many, with at most so many batches each.

    >>> samples_of_all(10, 2, 1, 2)
    [0, 2, 1, 3]
    """
    most = None if limit is None else limit * batch_size
    return [number for rank in range(processes) for number in range(rank, count, processes)[:most]]
