"""One class of the validation crops in memory: its prediction, read once, and its truth, in the parts that are scored.

A part is a whole crop, or a block of one where there are few crops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.challenge import TestCrop
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.storage.stores.places import FolderStore
from csc_data.volumes import Level, open_volume
from csc_eval import DEFINITION, LabelScore
from csc_eval.instances.components import Instances, label_components, label_ids
from csc_eval.instances.pair import InstancePair
from csc_eval.scoring.labels import open_truth_array
from csc_eval.scoring.pairs import count_semantic, score_instance_pair, semantic_label_score
from csc_eval.scoring.validation_truth import write_label
from csc_eval.voxels.arrays import MemoryArray, open_stored
from csc_eval.voxels.runs import encode_runs
from csc_submit.settings import ProcessSettings
from csc_submit.tuning.crops import ValidationCrop
from csc_submit.values import Meaning, check_block, find_meaning

RULES = DEFINITION
"""The leaderboard's formulas without its artefacts: a crop full of specks costs nothing there, and would be found."""

Array = npt.NDArray[Any]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A box of a crop that is scored by itself.

    Attributes
    ----------
    name : str
    box : tuple of slice
        In voxels of the crop.
    truth : bool array or Instances
        What is there; of instance classes the objects.
    known : bool array or None
        Where somebody annotated; None for everywhere.
    voxel_size : tuple of float
        nm, z, y, x.

    Examples
    --------
    >>> part = Part(
    ...     name="crop1#0", box=(slice(0, 1), slice(0, 1), slice(0, 4)), truth=np.array([[[True, True, False, False]]]),
    ...     known=None, voxel_size=(8.0, 8.0, 8.0),
    ... )
    >>> packed = np.array([[[1, 0, 0, 0]]], np.uint8)
    >>> part.cut(packed).tolist(), part.score(packed).score, part.find_objects(packed).count
    ([[[1, 0, 0, 0]]], 0.5, 1)
    >>> part.score_counts((1, 0, 1)).score
    0.5
    """

    name: str
    box: Box
    truth: Array | Instances
    known: Array | None
    voxel_size: tuple[float, float, float]

    @property
    def holds_class(self) -> bool:
        """Whether there is any of the class."""
        return self.truth.count > 0 if isinstance(self.truth, Instances) else bool(self.truth.any())

    def cut(self, packed: Array) -> Array:
        """Return what is scored of an array on the crop's grid."""
        values: Array = packed[self.box]
        return values if self.known is None else values * self.known

    def find_objects(self, packed: Array) -> Instances:
        """Return the objects of labels on the crop's grid, as the score finds them."""
        return label_components(encode_runs(MemoryArray(self.cut(packed))))

    def score(self, packed: Array) -> LabelScore:
        """Score a mask, or labels, on the crop's grid."""
        if isinstance(self.truth, Instances):
            return self.score_objects(self.find_objects(packed))
        return self.score_counts(count_semantic(MemoryArray(self.truth), MemoryArray(self.cut(packed))))

    def score_objects(self, objects: Instances) -> LabelScore:
        """Score objects."""
        assert isinstance(self.truth, Instances)
        return score_instance_pair(
            InstancePair(truth=self.truth, prediction=objects, voxel_size=self.voxel_size), RULES
        )

    def score_counts(self, counts: tuple[int, int, int]) -> LabelScore:
        """Score voxels in both, in the prediction alone and in the truth alone."""
        assert not isinstance(self.truth, Instances)
        return semantic_label_score(counts, self.truth.size, RULES)


@dataclass(frozen=True, kw_only=True)
class HeldCrop:
    """One class of one crop.

    Attributes
    ----------
    place : ValidationCrop
    target : TestCrop
        The grid that predictions are packed on: that of the annotation.
    stored : array
        The prediction as stored, its finest level.
    others : mapping of str to array
        Predictions of other classes, on the same grid.
    level : Level
    meaning : Meaning
    packed_meaning : Meaning
        What packing takes the prediction for, which does not know the experiment.
    packed_level : str
        The level that packing reads where it resamples probabilities.
    is_resampled : bool
        Whether packing brings the result to another voxel size.
    known : tuple of str
        The classes that are predicted there, the more important ones first.
    parts : tuple of Part
    """

    place: ValidationCrop
    target: TestCrop
    stored: Array
    others: Mapping[str, Array]
    level: Level
    meaning: Meaning
    packed_meaning: Meaning
    packed_level: str
    is_resampled: bool
    known: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def grid(self) -> Grid:
        """The grid of the prediction."""
        return self.level.grid


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The truth of one class of one crop: ids or a mask, and where somebody annotated (None: everywhere)."""

    instance: bool
    values: Array
    known: Array | None
    target: TestCrop


def read_truth(crop: ValidationCrop, class_name: str, *, instance: bool) -> Truth:
    """Read an annotation as `csc_eval.scoring.validation_truth` makes a truth of it, of objects or of a mask.

    Raises
    ------
    CscError
        If it cannot be read.
    """
    with TemporaryDirectory(prefix="csc-tune-") as folder:
        place = Path(folder) / "crop" / class_name
        write_label(crop.annotation(class_name), place, instance=instance)
        store = FolderStore(Path(folder))
        array, grid = open_truth_array(store, f"crop/{class_name}")
        values, known = array.read((0, 0, 0), array.shape), None
        if place.with_name(f"{class_name}_mask").exists():
            mask, _ = open_stored(store, f"crop/{class_name}_mask")
            known = mask.read((0, 0, 0), mask.shape) > 0
    target = TestCrop(
        id=0,
        dataset=crop.dataset,
        voxel_size=grid.voxel_size,
        translation=grid.translation,
        shape=grid.shape,
        classes=(class_name,),
    )
    return Truth(instance=instance, values=values if known is None else values * known, known=known, target=target)


def make_parts(crop: ValidationCrop, truth: Truth, boxes: Sequence[Box]) -> tuple[Part, ...]:
    """Return the parts of a crop; one box that is all of it makes the crop itself a part."""
    parts = []
    for number, box in enumerate(boxes):
        values = truth.values[box]
        found: Array | Instances = values > 0
        if truth.instance:
            runs = encode_runs(MemoryArray(values))
            # What the border of a block divides is two objects, as it would be in a crop of that size.
            found = label_ids(runs) if values.shape == truth.values.shape else label_components(runs)
        parts.append(
            Part(
                name=f"{crop.key}#{number}",
                box=box,
                truth=found,
                known=None if truth.known is None else truth.known[box],
                voxel_size=truth.target.voxel_size,
            )
        )
    return tuple(parts)


def hold_crop(
    crop: ValidationCrop,
    class_name: str,
    others: Sequence[str],
    settings: ProcessSettings,
    found: tuple[Truth, Sequence[Box]],
) -> HeldCrop:
    """Read a prediction, and those of other classes that its steps read.

    Parameters
    ----------
    crop : ValidationCrop
    class_name : str
    others : sequence of str
    settings : ProcessSettings
        What predictions hold that do not say so, and which classes go before others.
    found : tuple
        The truth, and the boxes that are scored.

    Raises
    ------
    CscError
        If a prediction cannot be read, or another class lies on another grid, or means something else.
    """
    truth, boxes = found
    volume = open_volume(crop.predictions[class_name])
    level, meaning = volume.levels[0], find_meaning(volume, settings.stored_as)
    read = {}
    for name in others:
        other = open_volume(crop.predictions[name])
        if other.levels[0].grid != level.grid or find_meaning(other, settings.stored_as).values != meaning.values:
            raise InvalidArgumentError(
                f"{name}, which the steps of {class_name} read, is stored otherwise in {crop.key}; predict both alike"
            )
        read[name] = np.asarray(other.levels[0].array[...])
    stored = np.asarray(level.array[...])
    check_block(stored, meaning, instances=truth.instance)
    return HeldCrop(
        place=crop,
        target=truth.target,
        stored=stored,
        others=read,
        level=level,
        meaning=meaning,
        packed_meaning=find_meaning(volume),
        packed_level=volume.level_for(truth.target.voxel_size).name,
        is_resampled=not np.allclose(level.grid.voxel_size, truth.target.voxel_size),
        known=crop.known(settings),
        parts=make_parts(crop, truth, boxes),
    )
