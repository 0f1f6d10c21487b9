"""The annotated crops as the challenge's list describes them: classes and voxel sizes without a look at the data."""

from __future__ import annotations

from collections.abc import Sequence

from csc_data.challenge import training_crops_by_id
from csc_data.config.templates import fill
from csc_data.errors import InvalidArgumentError, MissingDataError, Problem
from csc_data.splits.crops import CropSummary
from csc_data.splits.search import CropTemplates, is_wanted, natural_key
from csc_data.splits.voxel_counts import LevelCount
from csc_data.storage.paths import is_remote


def list_crops(
    templates: CropTemplates,
    classes: Sequence[str] | None = None,
    *,
    datasets: Sequence[str] = ("*",),
    crops: Sequence[str] = ("*",),
) -> tuple[list[CropSummary], list[Problem]]:
    """Describe the annotated crops of the challenge by the facts in this package; no network is used.

    Parameters
    ----------
    templates : CropTemplates
        Where they lie in a bucket.
    classes : sequence of str, optional
        The classes wanted; all that are scored by default.
    datasets, crops : sequence of str
        Names or patterns of those wanted, as for `csc_data.splits.search.search_crops`.

    Returns
    -------
    crops : list of CropSummary
        By data set and crop, those with at least one of the classes. Nothing is counted: all voxels that are annotated
        stand for those where the class is present.
    left_out : list of Problem
        The others.

    Raises
    ------
    MissingDataError
        If the list has no crop of such a name.
    InvalidArgumentError
        If the templates are those of a folder: what was fetched into it, the list does not know.

    Examples
    --------
    >>> from csc_data import load_config
    >>> bucket = CropTemplates.in_bucket(load_config(environ={}))
    >>> found, _ = list_crops(bucket, ["nuc"], datasets=["jrc_cos7-1a"])
    >>> found[0].dataset, list(found[0].levels)
    ('jrc_cos7-1a', ['nuc'])
    """
    if not is_remote(templates.labels):
        raise InvalidArgumentError(
            f"the challenge's list describes the crops of its bucket, not those of {templates.place}; "
            "look there (--use-s3), or leave by_list out"
        )
    known = [crop for crop in training_crops_by_id().values() if is_wanted(crop.dataset, crop.name, datasets, crops)]
    if not known:
        raise MissingDataError(f"the challenge lists no crop {', '.join(crops)} of data set {', '.join(datasets)}")
    found, left_out = [], []
    for crop in sorted(known, key=lambda crop: (natural_key(crop.dataset), crop.id)):
        names = sorted(name for name in crop.classes if classes is None or name in classes)
        if not names:
            what = f"has none of the classes (annotated are {', '.join(sorted(crop.classes))})"
            left_out.append(Problem(where=f"{crop.dataset}/{crop.name}", what=what))
            continue
        place = {"dataset": crop.dataset, "crop": crop.name}
        level = LevelCount(voxel_size=crop.voxel_size, size=crop.grid.size, present=crop.grid.size)
        found.append(
            CropSummary(
                dataset=crop.dataset,
                crop=crop.name,
                raw=fill(templates.raw, place),
                labels=fill(templates.labels.removesuffix("/{class_name}"), place),
                levels=dict.fromkeys(names, (level,)),
            )
        )
    return found, left_out
