"""Raw of floats, whose type does not say what its values mean: looked at before a network is asked about it."""

from __future__ import annotations

from csc_data.geometry import Grid, Roi
from csc_data.loader import ArrayInfo, RawSource, reaches_beyond
from csc_data.volumes import Volume


def odd_floats(raw: Volume, region: Roi, patch: ArrayInfo) -> str:
    """Return a line where floats in the middle of a region do not lie in 0 to 1, as they are taken to; else nothing.

    Parameters
    ----------
    raw : Volume
    region : Roi
        nm.
    patch : ArrayInfo
        How much is looked at.

    Raises
    ------
    UnreadableDataError
        If a chunk cannot be read.
    """
    if raw.levels[0].dtype.kind != "f":
        return ""
    middle = [(begin + end) / 2 for begin, end in zip(region.begin, region.end, strict=True)]
    first = [
        place - extent / 2 + size / 2 for place, extent, size in zip(middle, patch.extent, patch.scale, strict=True)
    ]
    grid = Grid(voxel_size=patch.scale, translation=first, shape=patch.shape)
    values = RawSource(raw, region).read(grid)
    least, most = float(values.min()), float(values.max())
    if not reaches_beyond(least, most):
        return ""
    return (
        f"raw of {raw.path} is stored as {raw.levels[0].dtype}, which is taken to lie in 0 to 1, and goes from "
        f"{least:.3g} to {most:.3g} at {grid.bounds}: scale it as for training (`csc convert --range LOW,HIGH` writes "
        "it as uint8)"
    )
