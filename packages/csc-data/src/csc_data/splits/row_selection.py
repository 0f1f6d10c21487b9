"""What is used of a datasplit that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from csc_data.errors import Problem
from csc_data.geometry import Triple
from csc_data.splits.search import is_wanted
from csc_data.splits.split_file import SplitRow, Usage
from csc_data.splits.splitting import SplitOptions, is_coarser
from csc_data.storage.paths import join
from csc_data.volumes.volume import open_volume


def select_rows(rows: Sequence[SplitRow], options: SplitOptions) -> tuple[tuple[SplitRow, ...], tuple[Problem, ...]]:
    """Do to the rows of a datasplit what `make_datasplit` does to crops: by data set, scale and classes.

    Parameters
    ----------
    rows : sequence of SplitRow
    options : SplitOptions
        Of these count ``datasets``, ``crops``, ``scale``, and ``force_all_classes`` with ``classes``; a class is taken
        to be there where the row names it.

    Returns
    -------
    rows : tuple of SplitRow
    left_out : tuple of Problem
        What is used no more, or on the other side, and why.

    Raises
    ------
    MissingDataError, UnreadableDataError
        If a volume whose scale is asked for cannot be read.

    Examples
    --------
    >>> from csc_data import SplitOptions, SplitRow
    >>> labels = "a/a.zarr/recon-1/labels/groundtruth"
    >>> rows = [SplitRow(usage="train", raw="a/raw", labels=f"{labels}/crop{n}", classes=("nuc",)) for n in (1, 2)]
    >>> kept, left_out = select_rows(rows, SplitOptions(crops=["1"]))
    >>> [row.crop for row in kept], str(left_out[0])
    (['crop1'], 'a/crop2: was not asked for')
    """
    kept, left_out = [], []
    for row in rows:
        where = f"{row.dataset}/{row.crop}"
        if not is_wanted(row.dataset, row.crop, options.datasets, options.crops):
            left_out.append(Problem(where=where, what="was not asked for"))
            continue
        classes = row.classes if options.scale is None else _fine_classes(row, options.scale)
        if classes != row.classes:
            coarse = ", ".join(name for name in row.classes if name not in classes)
            left_out.append(Problem(where=where, what=f"is coarser than asked for: {coarse}"))
        usage = _side(row.usage, classes, options)
        lacks = ", ".join(name for name in options.classes or () if name not in classes)
        if usage is None:
            left_out.append(Problem(where=where, what=f"has not all classes: lacks {lacks}"))
        elif usage != row.usage:
            left_out.append(Problem(where=where, what=f"is used to {usage}: lacks {lacks}"))
        if usage is not None and classes:
            kept.append(replace(row, usage=usage, classes=classes))
    return tuple(kept), tuple(left_out)


def _fine_classes(row: SplitRow, scale: Triple) -> tuple[str, ...]:
    """Return the classes that are annotated as finely as asked; none of them where raw is not."""
    if is_coarser(open_volume(row.raw).levels[0].grid.voxel_size, scale):
        return ()
    volumes = {name: open_volume(join(row.labels, name)) for name in row.classes}
    return tuple(name for name, v in volumes.items() if not is_coarser(v.levels[0].grid.voxel_size, scale))


def _side(usage: Usage, classes: Sequence[str], options: SplitOptions) -> Usage | None:
    """Return what a crop is used for; None where it lacks a class that it must have."""
    forced = options.force_all_classes
    if forced is False or set(options.classes or ()) <= set(classes):
        return usage
    if forced is True:
        return None
    return {"train": "validate", "validate": "train"}[forced]  # type: ignore[return-value]  # two of its names
