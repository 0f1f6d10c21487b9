"""Making a datasplit file, and counting crops, under the names that participants know from the official tools.

`csc_data.splits.splitting` is the library's own way; here are the functions that notebooks and scripts already call.
What they return is more: not a list of paths, but a `Datasplit`, and what they write is a function of their arguments.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from csc_data.config.templates import anchor
from csc_data.config.user_config import load_config
from csc_data.geometry import Triple, as_triple
from csc_data.splits.crops import count_crops
from csc_data.splits.search import CROP_NAME, RAW_NAME, CropTemplates
from csc_data.splits.split_file import write_datasplit
from csc_data.splits.splitting import Datasplit, ForceAllClasses, GroupBy, SplitOptions, make_datasplit
from csc_data.storage.paths import is_remote

_logger = logging.getLogger(__name__)


def make_datasplit_csv(
    classes: Sequence[str] | None = None,
    scale: float | Sequence[float] | None = None,
    force_all_classes: ForceAllClasses = False,
    validation_prob: float = 0.1,
    datasets: Sequence[str] = ("*",),
    crops: Sequence[str] = ("*",),
    search_path: str | None = None,
    raw_name: str = RAW_NAME,
    crop_name: str = CROP_NAME,
    csv_path: str | os.PathLike[str] = "datasplit.csv",
    dry_run: bool = False,
    seed: int = 0,
    *,
    group_by: GroupBy = "crop",
    min_voxels: int = 1,
) -> Datasplit:
    """Split the annotated crops on disk into training and validation, and write the split.

    Parameters
    ----------
    classes : sequence of str, optional
        The classes to train; all that are annotated by default.
    scale : float or three floats, optional
        nm, z, y, x. Crops without data as fine as this are left out; by default none is.
    force_all_classes : bool or {"train", "validate"}
        True leaves out crops that lack a class; "train" lets them validate, "validate" lets them train.
    validation_prob : float
        Share of the crops of each class that should validate, at least 0 and below 1.
    datasets, crops : sequence of str
        Names or patterns: ``jrc_mus*``; ``234``, ``crop234`` or ``crop2*``.
    search_path : str, optional
        Where data sets lie, with ``{dataset}`` and ``{name}``; by default below the data folder of the configuration.
    raw_name, crop_name : str
        What stands for ``{name}``: the raw volume, and an annotation with ``{crop}`` and ``{label}``.
    csv_path : path-like
        Where the split is written; a file that is there is replaced.
    dry_run : bool
        Whether to write nothing.
    seed : int
        Which of the equally good splits.
    group_by : {"crop", "dataset"}
        What stays together on one side.
    min_voxels : int
        A crop counts as having a class from this many voxels on.

    Returns
    -------
    Datasplit

    Raises
    ------
    MissingDataError
        If there is no crop of that kind.
    ProblemsError
        If arguments are out of range.

    Examples
    --------
    >>> make_datasplit_csv(["mito", "er"], datasets=["jrc_mus*"], csv_path="split.csv")  # doctest: +SKIP
    """
    options = SplitOptions(
        classes=classes,
        validation_share=validation_prob,
        seed=seed,
        group_by=group_by,
        min_voxels=min_voxels,
        scale=parse_scale(scale),
        force_all_classes=force_all_classes,
        datasets=datasets,
        crops=crops,
    )
    return _make(_templates(search_path, raw_name, crop_name), options, None if dry_run else csv_path)


def make_s3_datasplit_csv(
    classes: Sequence[str] | None = None,
    scale: float | Sequence[float] | None = None,
    force_all_classes: ForceAllClasses = False,
    validation_prob: float = 0.1,
    datasets: Sequence[str] = ("*",),
    crops: Sequence[str] = ("*",),
    csv_path: str | os.PathLike[str] = "datasplit.csv",
    dry_run: bool = False,
    seed: int = 0,
    *,
    search_path: str | None = None,
    raw_name: str = RAW_NAME,
    crop_name: str = CROP_NAME,
    group_by: GroupBy = "crop",
    min_voxels: int = 1,
    by_list: bool = False,
) -> Datasplit:
    """Split the annotated crops in the bucket of the challenge; the rows stream.

    Bucket and endpoint are those of the configuration; the parameters are those of `make_datasplit_csv`, but:

    Parameters
    ----------
    search_path : str, optional
        A URL, or a path below the bucket. A path on a disk, which `make_datasplit_csv` would take, is not used; a
        warning says so.
    by_list : bool
        Whether to take classes and scales from the challenge's list in this package: no network is used, and no
        voxel is counted.
    """
    options = SplitOptions(
        classes=classes,
        validation_share=validation_prob,
        seed=seed,
        group_by=group_by,
        min_voxels=min_voxels,
        scale=parse_scale(scale),
        force_all_classes=force_all_classes,
        datasets=datasets,
        crops=crops,
        by_list=by_list,
    )
    return _make(_templates(search_path, raw_name, crop_name, in_bucket=True), options, None if dry_run else csv_path)


def get_dataset_counts(
    classes: Sequence[str] | None = None,
    search_path: str | None = None,
    raw_name: str = RAW_NAME,
    crop_name: str = CROP_NAME,
) -> dict[str, dict[str, int]]:
    """Count the crops on disk that each class is annotated in: ``counts["jrc_cos7-1a"]["mito"]``.

    Crops without raw do not count, and neither data sets nor classes without crops are named.
    `csc_data.splits.dataset_counts.count_by_dataset` counts voxels, too, by scale.

    Parameters
    ----------
    classes : sequence of str, optional
        The classes to count; all that are annotated by default.
    search_path, raw_name, crop_name : str
        As in `make_datasplit_csv`.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, get_dataset_counts, write_multiscale
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(4, 4, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("em/fibsem-uint8", "labels/groundtruth/crop1/nuc"):
    ...         place = f"{folder}/mine/mine.zarr/recon-1/{name}"
    ...         write_multiscale(place, [np.ones((4, 4, 4), np.uint8)], [grid])
    ...     get_dataset_counts(search_path=folder + "/{dataset}/{dataset}.zarr/recon-1/{name}")
    {'mine': {'nuc': 1}}
    """
    return count_crops(_templates(search_path, raw_name, crop_name), classes)


def _templates(search_path: str | None, raw_name: str, crop_name: str, *, in_bucket: bool = False) -> CropTemplates:
    # The official names are those of the configuration, unless that says otherwise.
    names = (None, None) if (raw_name, crop_name) == (RAW_NAME, CROP_NAME) else (raw_name, crop_name)
    if in_bucket and search_path and (search_path.startswith("~") or not is_remote(anchor("s3://b", search_path))):
        _logger.warning("search_path %s is a path on a disk; the bucket is searched as ever", search_path)
        search_path = None
    return CropTemplates.choose(load_config(), search_path, *names, in_bucket=in_bucket)


def _make(templates: CropTemplates, options: SplitOptions, csv_path: str | os.PathLike[str] | None) -> Datasplit:
    split = make_datasplit(templates, options)
    if csv_path is not None:
        write_datasplit(csv_path, split.rows)
    return split


def parse_scale(scale: float | Sequence[float] | None) -> Triple | None:
    """Return a voxel size in nm given as one number or as three.

    >>> parse_scale(8), parse_scale([1, 2, 3])
    ((8.0, 8.0, 8.0), (1.0, 2.0, 3.0))
    """
    if scale is None:
        return None
    return as_triple([scale] * 3 if isinstance(scale, int | float) else scale, "scale")
