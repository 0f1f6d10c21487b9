"""The score of one label of one crop, from its files; the unit of work that runs in parallel and is resumed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from csc_data.errors import CscError, InvalidArgumentError, UnreadableDataError
from csc_data.formats.ngff import stated_place
from csc_data.storage.nodes import Node, is_array
from csc_data.storage.stores.places import Store
from csc_eval.causes import CAUSES, ENDED, LARGE_RESAMPLED, UNSURE, said_of
from csc_eval.instances.components import Instances, label_components, label_ids
from csc_eval.instances.pair import InstancePair
from csc_eval.placing.align import align, is_aligned_as_instances, is_instance_class, is_large, is_resampled
from csc_eval.placing.predictions import CropGrid, Prediction, open_prediction
from csc_eval.rules import Geometry, Rules
from csc_eval.scoring.metrics import parse_metrics
from csc_eval.scoring.pairs import count_semantic, describe, score_instance_pair, semantic_label_score
from csc_eval.scoring.results import FAILED, MISSING, LabelScore
from csc_eval.voxels.arrays import LIMITS, Array, Shape, StoredArray, VoxelSource, open_stored
from csc_eval.voxels.runs import BYTES_PER_INSTANCE, BYTES_PER_RUN, TOO_FRAGMENTED, TooFragmentedError, encode_runs

if TYPE_CHECKING:
    from csc_data.challenge import TestCrop

SEAMS = "the portal resamples so large a source in cubes, and its seams are scored"
ALIGNED = "the portal aligns it by the challenge's list of instance classes, not by the one given"

CACHE_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTask:
    """One label of one crop to be scored.

    Attributes
    ----------
    crop, class_name : str
        What it is.
    truth : Store
        Where the truth lies; the array is ``{crop}/{class_name}``, its mask ``{crop}/{class_name}_mask``.
    submission : Store, or None
        Where the prediction lies; None: not submitted.
    key : str
        The prediction's folder in the submission.
    instance : bool
        Whether it is scored as instances.
    rules : tuple of Rules
        Under which rules.
    metrics : tuple of str
        Which further metrics to work out.
    memory : int
        Bytes that scoring it may take, 0 for no bound.
    own : bool
        Whether it is a class that the challenge does not have: what the portal aligns by does not concern it.
    """

    crop: str
    class_name: str
    truth: Store
    submission: Store | None
    key: str
    instance: bool
    rules: tuple[Rules, ...]
    metrics: tuple[str, ...] = ()
    memory: int = 0
    own: bool = False

    @property
    def truth_key(self) -> str:
        """Folder of the truth array."""
        return f"{self.crop}/{self.class_name}"

    @property
    def max_runs(self) -> int:
        """How many runs each of the two volumes may have within the memory granted."""
        return max(10_000, self.memory // (2 * BYTES_PER_RUN)) if self.memory else 2**31 - 1


class Multiplied:
    """A view of a volume times a mask, values and dtypes as NumPy has it.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> view = Multiplied(MemoryArray(np.array([[[5, 6]]])), MemoryArray(np.array([[[1, 0]]])))
    >>> view.read((0, 0, 0), (1, 1, 2)).tolist()
    [[[5, 0]]]
    """

    def __init__(self, source: VoxelSource, mask: VoxelSource) -> None:
        self.source = source
        self.mask = mask
        self.shape = source.shape
        self.chunks = source.chunks
        self.order: Literal["C", "F"] = "C"
        self.dtype: np.dtype[Any] = np.result_type(source.dtype, mask.dtype)

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box."""
        with np.errstate(over="ignore", invalid="ignore"):
            product: Array = self.source.read(begin, end) * self.mask.read(begin, end)
        return product


def read_crop_grid(node: Node, shape: Shape) -> CropGrid:
    """Return where a truth array's voxels lie: from its own attributes, else from the challenge's facts.

    Raises
    ------
    UnreadableDataError
        If neither says it.
    """
    voxel_size, translation = stated_place(node.path, node.attributes)
    if voxel_size is None or translation is None:
        facts = _find_facts(node)
        if voxel_size is None and facts is not None:
            voxel_size = facts.voxel_size
        if translation is None:
            translation = facts.translation if facts is not None else (0.0, 0.0, 0.0)
    if voxel_size is None:
        raise UnreadableDataError(f"{node.path} says no voxel_size (nm, z, y, x); add it to the array's attributes")
    return CropGrid(voxel_size=voxel_size, translation=translation, shape=shape)


def _find_facts(node: Node) -> TestCrop | None:
    from csc_data.challenge import get_test_crops

    number = re.fullmatch(r"crop(\d+)", node.key.split("/")[0])
    return get_test_crops().get(int(number[1])) if number else None


def open_truth(task: LabelTask) -> tuple[StoredArray, CropGrid]:
    """Open a label's truth array, and tell where its voxels lie."""
    return open_truth_array(task.truth, task.truth_key)


def open_truth_array(store: Store, key: str) -> tuple[StoredArray, CropGrid]:
    """Open a truth array, and tell where its voxels lie.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     attributes = {"voxel_size": [8, 8, 8], "translation": [0, 0, 4]}
    ...     _ = create_array(f"{folder}/crop1/er", shape=(4, 4, 4), dtype="u1", chunks=(4, 4, 4), attributes=attributes)
    ...     open_truth_array(open_place(folder), "crop1/er")[1]
    CropGrid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 4.0), shape=(4, 4, 4))
    """
    truth, node = open_stored(store, key, cache_bytes=CACHE_BYTES)
    return truth, read_crop_grid(node, truth.shape)


def score_label(task: LabelTask) -> tuple[LabelScore, ...]:
    """Score one label, once per rule set; one that cannot be read is scored as missing, with its problem."""
    if task.submission is None:
        truth, grid = open_truth(task)
        return _missing(task, truth, grid)
    try:
        truth, grid = open_truth(task)
        predictions = {
            geometry: open_prediction(task.submission, task.key, grid, geometry=geometry, cache_bytes=CACHE_BYTES)
            for geometry in dict.fromkeys(rules.geometry for rules in task.rules)
        }
        return _score(task, truth, grid, predictions)
    except TooFragmentedError as error:
        problem, said = str(error), UNSURE
    except (CscError, MemoryError) as error:
        problem, said = str(error) or type(error).__name__, said_of(error)
    return failed_scores(task, problem, said)


def score_prediction(task: LabelTask, prediction: Prediction) -> tuple[LabelScore, ...]:
    """Score a prediction that was not stored as a label whose file has the same values and place, once per rule set.

    Parameters
    ----------
    task : LabelTask
        What it is a prediction of; its ``submission`` and ``key`` are not looked at.
    prediction : Prediction

    Raises
    ------
    UnreadableDataError
        If the truth cannot be read.
    InvalidArgumentError
        If the prediction is so much larger than the crop that it is refused.
    """
    truth, grid = open_truth(task)
    return _score(task, truth, grid, {rules.geometry: prediction for rules in task.rules})


def failed_scores(task: LabelTask, problem: str, said: str = UNSURE) -> tuple[LabelScore, ...]:
    """Return the scores of a label that cannot be scored: those of a missing one, with the problem.

    Parameters
    ----------
    task : LabelTask
    problem : str
    said : str
        What the portal makes of it, if it sees it at all: what has no ``.zarray`` is missing there, too.
    """
    truth, grid = open_truth(task)
    said = said if task.submission is not None and task.submission.has(f"{task.key}/.zarray") else ""
    return tuple(
        replace(score, status=FAILED, problem=problem, portal_differs=said if rules.masks_are_labels else "")
        for score, rules in zip(_missing(task, truth, grid), task.rules, strict=True)
    )


def _missing(task: LabelTask, truth: StoredArray, grid: CropGrid) -> tuple[LabelScore, ...]:
    scores = []
    count = label_ids(encode_runs(truth)).count if task.instance else 0
    for rules in task.rules:
        panoptic = rules.metric == "panoptic"
        lacking = count if task.instance else 1 if panoptic else math.prod(grid.shape)
        score = LabelScore(
            instance=task.instance,
            panoptic=panoptic,
            tp=0,
            fp=0,
            fn=lacking,
            n_hausdorff=count if task.instance and not panoptic else 0,
            status=MISSING,
        )
        scores.append(describe(score, grid.shape, grid.voxel_size))
    return tuple(scores)


def _score(
    task: LabelTask, truth: StoredArray, grid: CropGrid, predictions: Mapping[Geometry, Prediction]
) -> tuple[LabelScore, ...]:
    mask = open_mask(task, grid)
    truth_view: VoxelSource = truth if mask is None else Multiplied(truth, mask)
    truth_instances: Instances | None = None
    metrics = parse_metrics(task.metrics, instance=task.instance)
    pairs: dict[object, InstancePair | tuple[int, int, int]] = {}
    scores = []
    for rules in task.rules:
        # Rules that place the prediction alike share the work.
        prediction = predictions[rules.geometry]
        as_instances = task.instance
        if not task.own:
            as_instances = is_aligned_as_instances(task.class_name, instance=task.instance, rules=rules)
        in_cubes = rules.seams and is_large(prediction.voxels.shape) and is_resampled(prediction, grid)
        place = (prediction.voxel_size, prediction.translation)
        way = (rules.offset, rules.threshold, rules.max_volume_ratio, as_instances, in_cubes, place)
        if way not in pairs:
            view = align(prediction, grid, instance=as_instances, rules=rules)
            if mask is not None:
                view = Multiplied(view, mask)
            if task.instance:
                if truth_instances is None:
                    truth_instances = label_ids(encode_runs(truth_view, max_runs=task.max_runs))
                components = label_components(encode_runs(view, max_runs=task.max_runs))
                _check_instances(task, truth_instances, components)
                pairs[way] = InstancePair(truth=truth_instances, prediction=components, voxel_size=grid.voxel_size)
            else:
                pairs[way] = count_semantic(truth_view, view)
        pair = pairs[way]
        if isinstance(pair, InstancePair):
            score = score_instance_pair(pair, rules, metrics)
        else:
            score = semantic_label_score(pair, math.prod(grid.shape), rules, metrics)
        reasons = _portal_differs(task, prediction, grid, pair) if rules.masks_are_labels else []
        if rules.masks_are_labels and mask is None and _ends_at_byte_order(task, truth, prediction, grid):
            reasons.append(f"it {CAUSES['big_endian_ids'].what}: {ENDED}")
        differs = "; ".join([*reasons, *filter(None, [score.portal_differs])])
        notes = [prediction.note, SEAMS if in_cubes else "", ALIGNED if as_instances != task.instance else ""]
        described = describe(score, grid.shape, grid.voxel_size)
        scores.append(replace(described, portal_differs=differs, place_differs="; ".join(filter(None, notes))))
    return tuple(scores)


def _ends_at_byte_order(task: LabelTask, truth: StoredArray, prediction: Prediction, grid: CropGrid) -> bool:
    """Tell whether the portal's components get numbers whose highest byte is first; products with a mask have none."""
    becomes_mask = is_resampled(prediction, grid) and not is_instance_class(task.class_name)
    return task.instance and (truth.big_endian or (prediction.big_endian and not becomes_mask))


def _check_instances(task: LabelTask, truth: Instances, prediction: Instances) -> None:
    taken = (len(truth.runs) + len(prediction.runs)) * BYTES_PER_RUN
    taken += (truth.count + prediction.count) * BYTES_PER_INSTANCE
    if task.memory and taken > task.memory:
        raise TooFragmentedError(
            f"{TOO_FRAGMENTED}: it falls into {prediction.count} components, which take {taken // 1024**2} MB; "
            "give more memory (--memory), or clean the prediction if it is noise"
        )


def open_mask(task: LabelTask, grid: CropGrid) -> StoredArray | None:
    """Open the mask of a label's truth, if there is one.

    Raises
    ------
    InvalidArgumentError
        If it has another shape.
    """
    key = f"{task.truth_key}_mask"
    if not is_array(task.truth, key, limits=LIMITS):
        return None
    mask, _ = open_stored(task.truth, key, cache_bytes=CACHE_BYTES)
    if mask.shape != grid.shape:
        raise InvalidArgumentError(f"{mask.where} has the shape {mask.shape}, its label {grid.shape}; mend the truth")
    return mask


def _portal_differs(
    task: LabelTask, prediction: Prediction, grid: CropGrid, pair: InstancePair | tuple[int, int, int]
) -> list[str]:
    resampled = is_resampled(prediction, grid)
    reasons = []
    if prediction.is_group:
        reasons.append(CAUSES["group"].what)
    elif isinstance(prediction.voxels, StoredArray) and prediction.voxels.format == "zarr 3":
        reasons.append(f"it {CAUSES['format3'].what}")
    elif isinstance(prediction.voxels, StoredArray) and prediction.voxels.is_undefined:
        reasons.append(f"it {CAUSES['no_fill'].what}")
    refused = prediction.voxels.refused_by_zarr if isinstance(prediction.voxels, StoredArray) else ""
    if refused and not prediction.is_group:
        reasons.append(f"{refused}: {ENDED}")
    if prediction.voxel_size is not None and resampled:
        sizes = zip(prediction.voxels.shape, prediction.voxel_size, grid.voxel_size, strict=True)
        if 8 * math.prod(n * s / v for n, s, v in sizes) > LARGE_RESAMPLED:
            reasons.append(f"it {CAUSES['too_large_resampled'].what}")
    if (
        resampled
        and is_instance_class(task.class_name)
        and isinstance(pair, InstancePair)
        and prediction.voxels.dtype.kind in "iu"
    ):
        keys = pair.prediction.runs.key
        if len(keys) and int(keys.max()) > 2**53:
            reasons.append(CAUSES["large_ids"].what)
    return reasons
