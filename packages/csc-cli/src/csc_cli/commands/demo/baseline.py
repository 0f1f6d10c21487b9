"""What brightness alone scores: the best grey value band of each class, raw or blurred first, by the same rules.

The bands are chosen on the test crops with their truth, so this is more than an honest threshold could reach; for
instance classes small specks are removed by the cut that scores best. A choice with so many instances that
the leaderboard would skip a crop does not count: skipped crops cost nothing there, and such a class could score 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from csc_data.challenge import TestCrop, get_instance_classes
from csc_data.challenge.current_lists import load_test_crops
from csc_data.synthetic.baseline import SIGMAS_NM, AnnotatedImage, Band, blur, choose_bands
from csc_data.volumes import open_volume
from csc_eval import combine_scores, connected_components, score_instances, score_semantic

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_eval import CombinedScores, LabelScore

MIN_VOXELS = (0, 20, 100, 500)
"""Sizes below which specks of instance classes are removed."""

Mask = npt.NDArray[Any]
Choice: TypeAlias = "dict[str, LabelScore]"
"""The score of one way to predict a class, by crop."""


def score_baseline(config: Config) -> CombinedScores:
    """Score the best bands on the test crops of a data folder.

    Parameters
    ----------
    config : Config
        Its folder holds raw, truth and, unless the crops are the challenge's, a manifest.
    """
    crops = tuple(load_test_crops(config).values())
    images = [_load(crop, config) for crop in crops]
    names = sorted({name for crop in crops for name in crop.classes})
    choices: dict[str, list[Choice]] = {name: [] for name in names}
    for sigma in SIGMAS_NM:
        blurred = [replace(image, raw=blur(image.raw, sigma, image.voxel_size)) for image in images]
        for name, band in choose_bands(blurred, names, sigmas_nm=(0.0,)).items():
            for min_voxels in MIN_VOXELS if name in get_instance_classes() else (0,):
                choices[name].append(_score(name, crops, blurred, band, min_voxels))
    # Each class has its best way of its own, chosen on the very crops it is scored on: an upper bound.
    best = {name: _best(name, choices[name]) for name in names}
    return combine_scores(
        {f"crop{crop.id}": {name: best[name][f"crop{crop.id}"] for name in crop.classes} for crop in crops}
    )


def _load(crop: TestCrop, config: Config) -> AnnotatedImage:
    grid = crop.grid
    truth = config.path("ground_truth") / f"crop{crop.id}"
    labels: Mapping[str, Mask] = {
        name: np.asarray(open_volume(truth / name).levels[0].array[...]) for name in crop.classes
    }
    raw = open_volume(config.path("raw", dataset=crop.dataset)).read(grid, order=1)
    return AnnotatedImage(raw=raw, voxel_size=grid.voxel_size, labels=labels)


def _score(
    name: str, crops: Sequence[TestCrop], images: Sequence[AnnotatedImage], band: Band, min_voxels: int
) -> Choice:
    """Score one band of one class in the crops that are scored for it."""
    scores = {}
    for crop, image in zip(crops, images, strict=True):
        if name not in crop.classes:
            continue
        truth, mask = image.labels[name], band.predict(image.raw, image.voxel_size)
        if name in get_instance_classes():
            score = score_instances(truth, _without_specks(mask, min_voxels), image.voxel_size)
        else:
            score = score_semantic(truth, mask, voxel_size=image.voxel_size)
        scores[f"crop{crop.id}"] = score
    return scores


def _best(name: str, choices: Sequence[Choice]) -> Choice:
    """Return the choice whose pooled score is best, of those that no crop skips where there are any."""
    valid = [choice for choice in choices if not any(s.status.startswith("skipped") for s in choice.values())]
    return max(valid or choices, key=lambda choice: _pooled(name, choice))


def _without_specks(mask: Mask, min_voxels: int) -> Mask:
    labels, count = connected_components(mask.view(np.uint8))
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= min_voxels
    keep[0] = False
    kept: Mask = np.where(keep[labels], labels, 0)
    return kept


def _pooled(name: str, choice: Choice) -> float:
    combined = combine_scores({crop: {name: score} for crop, score in choice.items()})
    return combined.classes[name].score
