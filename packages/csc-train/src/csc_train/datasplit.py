"""The crops of an experiment: those of its datasplit, which is made where there is none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from csc_data.config.user_config import Config, load_config
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.geometry import Triple
from csc_data.splits.row_selection import select_rows
from csc_data.splits.search import CropTemplates
from csc_data.splits.split_file import SplitRow, read_datasplit, write_datasplit
from csc_data.splits.splitting import SplitOptions, make_datasplit
from csc_data.storage.atomic import UnwritableFileError
from csc_data.storage.paths import is_remote
from csc_train.settings import TrainSettings
from csc_train.settings.data import VALIDATION_SHARE, as_cube

logger = logging.getLogger(__name__)


def experiment_rows(
    settings: TrainSettings, config: Config | None = None, *, speaks: bool = True, keeps: bool = True
) -> list[SplitRow]:
    """Return the rows of an experiment's datasplit that it uses.

    A split that is made holds all classes that are annotated, so that it serves other experiments, and the classes that
    are absent where others are present. Without ``datasplit_path`` it is the one of the data folder, for which only
    ``validation_prob``, ``use_s3`` and the seed count; what else the experiment asks for is done to the rows that are
    read.

    Parameters
    ----------
    settings : TrainSettings
    config : Config, optional
        Where data lies; the user's by default.
    speaks : bool
        Whether this process logs what it does.
    keeps : bool
        Whether a split that is made is written.

    Raises
    ------
    MissingDataError
        If there is no datasplit and none can be made, or no row is left.
    InvalidArgumentError
        If the one that is made cannot be written.
    ProblemsError
        If the datasplit has mistakes.
    """
    config = config or load_config()
    path = settings.datasplit_path or config.path("datasplit")
    told = []
    if path.is_file():
        rows: Sequence[SplitRow] = read_datasplit(path, config.root)
        told += [f"{name} is left out: {path} is there already, and its rows count" for name in _unused(settings, rows)]
    else:
        rows = _make(settings, config, path)
        if keeps:
            _write(path, rows)
        trains = sum(row.usage == "train" for row in rows)
        made = "made" if keeps else "would make"
        told.append(f"{made} {path}: {trains} crops to train, {len(rows) - trains} to validate")
    wanted = SplitOptions(
        classes=settings.classes,
        scale=_scale(settings),
        force_all_classes=settings.force_all_classes,
        datasets=settings.datasets,
    )
    kept, left_out = select_rows(rows, wanted)
    if left_out:
        first = "; ".join(map(str, left_out[:3])) + ("; ..." if len(left_out) > 3 else "")
        told.append(f"{len(left_out)} rows of {path} are used in part, on the other side or not at all: {first}")
    if kept and all(row.usage == "train" for row in kept):
        told.append(
            f"no crop of {path} validates: the best epoch is that of the lowest training loss, and settings of "
            "validation have no effect; `csc make-datasplit -c CLASSES --validate-ratio 0.3` divides the crops anew"
        )
    for line in told if speaks else ():
        logger.warning("%s", line)
    if not kept:
        raise MissingDataError(f"no row of {path} is left by datasets, filter_by_scale and force_all_classes")
    return list(kept)


def _make(settings: TrainSettings, config: Config, path: Path) -> Sequence[SplitRow]:
    own = settings.datasplit_path is not None
    options = SplitOptions(
        validation_share=settings.validation_prob,
        seed=settings.random_seed,
        scale=_scale(settings) if own else None,
        datasets=settings.datasets if own else ("*",),
    )
    where = CropTemplates.in_bucket(config) if settings.use_s3 else config
    try:
        rows = make_datasplit(where, options, table=settings.class_table).rows
        if any(row.usage == "validate" for row in rows):
            return rows
        # Few crops can hardly show all classes on both sides; the sides follow from the experiment's own.
        chosen = make_datasplit(where, replace(options, classes=settings.classes), table=settings.class_table).rows
        sides = {row.labels: row.usage for row in chosen}
        return [replace(row, usage=sides.get(row.labels, row.usage)) for row in rows]
    except MissingDataError as error:
        raise MissingDataError(
            f"there is no datasplit {path} (`csc make-datasplit` writes one), and none can be made: {error}"
        ) from error


def _write(path: Path, rows: Sequence[SplitRow]) -> None:
    try:
        write_datasplit(path, rows)
    except UnwritableFileError as error:
        raise InvalidArgumentError(f"{error}, by datasplit_path") from error


def _scale(settings: TrainSettings) -> Triple | None:
    """Return the voxel size that annotations must have at least."""
    wanted = settings.filter_by_scale
    if wanted is True:
        return settings.input_array_info.scale
    return None if wanted is False else as_cube(wanted)


def _unused(settings: TrainSettings, rows: Sequence[SplitRow]) -> list[str]:
    """Return the settings that say how a split is made, and that do not fit one that is there."""
    names = ["use_s3"] if settings.use_s3 and not all(is_remote(row.raw) for row in rows) else []
    return names + (["validation_prob"] if settings.validation_prob != VALIDATION_SHARE else [])
