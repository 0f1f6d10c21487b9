"""The challenge that both sides train on: the demo's, without some of its annotations."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from csc_cli.commands.demo.experiment import CLASSES, write_experiment
from csc_data.config.user_config import Config, load_config
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.splits.splitting import SplitOptions, make_datasplit
from csc_data.synthetic import write_challenge
from csc_data.volumes import open_volume

UNANNOTATED = 0.3  # of the pairs of a crop and a class


def write_data(folder: Path, seed: int, *, quick: bool) -> Config:
    """Write the demo's challenge, its experiment, and a datasplit with gaps, unless they are there."""
    config = load_config(data=folder)
    split = config.path("datasplit")
    if not split.exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_challenge(folder, seed=seed, quick=quick)
        write_experiment(folder, quick=quick, seed=seed)
        rows = make_datasplit(config, SplitOptions(classes=CLASSES, seed=seed)).rows
        present = [{name for name in row.classes if holds(row, name)} for row in rows]
        write_datasplit(split, with_gaps(rows, present, CLASSES, np.random.default_rng(seed)))
    return config


def holds(row: SplitRow, class_name: str) -> bool:
    """Tell whether a class has a voxel in a crop."""
    return bool(np.any(np.asarray(open_volume(f"{row.labels}/{class_name}").levels[0].array[...])))


def with_gaps(
    rows: Sequence[SplitRow], present: Sequence[set[str]], classes: Sequence[str], rng: np.random.Generator
) -> tuple[SplitRow, ...]:
    """Take annotations away until `UNANNOTATED` of the pairs of a crop and a class have none.

    Each class stays annotated in one training crop that holds it, and each crop keeps a class.

    Parameters
    ----------
    rows : sequence of SplitRow
    present : sequence of set of str
        The classes that have voxels in the crop of each row.
    classes : sequence of str
        Those of the pairs; what a row has not annotated counts.
    rng : numpy.random.Generator
    """
    annotated = [list(row.classes) for row in rows]
    pairs = [(number, name) for number, names in enumerate(annotated) for name in names]
    too_many = len(pairs) - round((1 - UNANNOTATED) * len(rows) * len(classes))
    for index in rng.permutation(len(pairs)):
        if too_many <= 0:
            break
        number, name = pairs[index]
        elsewhere = (
            i != number and rows[i].usage == "train" and name in annotated[i] and name in present[i]
            for i in range(len(rows))
        )
        if len(annotated[number]) > 1 and any(elsewhere):
            annotated[number].remove(name)
            too_many -= 1
    return tuple(dataclasses.replace(row, classes=tuple(names)) for row, names in zip(rows, annotated, strict=True))
