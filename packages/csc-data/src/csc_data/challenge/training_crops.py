"""The training crops: the grid that each is annotated on, and the classes that are annotated in it.

They are facts in this package, ``training_crops.csv``: the organisers' train_crop_manifest.csv with one row for each
crop, as all classes of a crop have one grid.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from csc_data.challenge.listed_crops import ListedCrop, read_listed_crops


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCrop(ListedCrop):
    """One annotated crop: the grid of its finest annotation, and its classes among those that are scored."""


@functools.cache
def training_crops_by_id() -> Mapping[int, TrainingCrop]:
    """Return the annotated crops of the challenge by id, data set by data set.

    >>> training_crops_by_id()[234].grid.shape
    (400, 400, 400)
    """
    return MappingProxyType(read_listed_crops(Path(__file__).with_name("training_crops.csv"), TrainingCrop))


@functools.cache
def get_training_crops() -> Mapping[str, tuple[int, ...]]:
    """Return the ids of the annotated crops by data set.

    Examples
    --------
    >>> sorted(get_training_crops())[:3]
    ['jrc_cos7-1a', 'jrc_cos7-1b', 'jrc_ctl-id8-1']
    >>> get_training_crops()["jrc_cos7-1a"][:2]
    (234, 236)
    """
    ids: dict[str, list[int]] = {}
    for crop in training_crops_by_id().values():
        ids.setdefault(crop.dataset, []).append(crop.id)
    return MappingProxyType({dataset: tuple(own) for dataset, own in ids.items()})
