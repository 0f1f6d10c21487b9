"""What brightness alone scores: the best grey value band of each class, raw or blurred first, by the same rules.

The bands are chosen on the test crops with their truth, so this is more than an honest threshold could reach; for
instance classes small specks are removed by the cut that scores best. A choice that the leaderboard would skip for its
too many instances is none: skipped crops cost nothing there, and a class of nothing else would score 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from csc_data.challenge import TestCrop, get_instance_classes
from csc_data.geometry import Triple
from csc_data.manifest import crop_grid, load_test_crops
from csc_data.synthetic.baseline import SIGMAS_NM, AnnotatedImage, Band, choose_bands
from csc_data.volumes import open_volume
from csc_eval import combine_scores, connected_components, score_instances, score_semantic

if TYPE_CHECKING:
    from csc_data.settings import Settings
    from csc_eval import CombinedScores, LabelScore

MIN_VOXELS = (0, 20, 100, 500)
"""Sizes below which specks of instance classes are removed."""

Mask = npt.NDArray[Any]


def score_baseline(settings: Settings) -> CombinedScores:
    """Score the best bands on the test crops of a data folder.

    Parameters
    ----------
    settings : Settings
        Its folder holds raw, truth and, unless the crops are the challenge's, a manifest.
    """
    crops = tuple(load_test_crops(settings).values())
    images = [_load(crop, settings) for crop in crops]
    scores: dict[str, dict[str, LabelScore]] = {f"crop{crop.id}": {} for crop in crops}
    for name in sorted({name for crop in crops for name in crop.classes}):
        found = _best(name, images)
        for crop, score in zip(crops, found, strict=True):
            if name in crop.classes:
                scores[f"crop{crop.id}"][name] = score
    return combine_scores(scores)


def _load(crop: TestCrop, settings: Settings) -> AnnotatedImage:
    grid = crop_grid(crop)
    truth = settings.path("ground_truth") / f"crop{crop.id}"
    labels: Mapping[str, Mask] = {
        name: np.asarray(open_volume(truth / name).levels[0].array[...]) for name in crop.classes
    }
    raw = open_volume(settings.path("raw", dataset=crop.dataset)).read(grid, order=1)
    return AnnotatedImage(raw=raw, voxel_size=grid.voxel_size, labels=labels)


def _best(name: str, images: Sequence[AnnotatedImage]) -> list[LabelScore]:
    """Return the scores per crop of the choice whose pooled score is best."""
    choices = [_score(name, images, band, min_voxels) for band, min_voxels in _candidates(name, images)]
    valid = [scores for scores in choices if not any(s.status.startswith("skipped") for s in scores)]
    return max(valid or choices, key=lambda scores: _pooled(name, scores))


def _candidates(name: str, images: Sequence[AnnotatedImage]) -> Iterator[tuple[Band, int]]:
    for sigma in SIGMAS_NM:
        band = choose_bands(images, [name], sigmas_nm=(sigma,))[name]
        for min_voxels in MIN_VOXELS if name in get_instance_classes() else (0,):
            yield band, min_voxels


def _score(name: str, images: Sequence[AnnotatedImage], band: Band, min_voxels: int) -> list[LabelScore]:
    scores = []
    for image in images:
        truth, mask = image.labels[name], band.predict(image.raw, image.voxel_size)
        if name in get_instance_classes():
            scores.append(score_instances(truth, _without_specks(mask, min_voxels), _triple(image.voxel_size)))
        else:
            scores.append(score_semantic(truth, mask, voxel_size=image.voxel_size))
    return scores


def _triple(values: Sequence[float]) -> Triple:
    z, y, x = values
    return z, y, x


def _without_specks(mask: Mask, min_voxels: int) -> Mask:
    labels, count = connected_components(mask.view(np.uint8))
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= min_voxels
    keep[0] = False
    kept: Mask = np.where(keep[labels], labels, 0)
    return kept


def _pooled(name: str, scores: Sequence[LabelScore]) -> float:
    combined = combine_scores({str(number): {name: score} for number, score in enumerate(scores)})
    return combined.classes[name].score
