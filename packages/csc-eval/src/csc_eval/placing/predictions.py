"""Stored predictions: which array of them suits a crop, and what it says about its place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csc_data.errors import UnreadableDataError
from csc_data.formats.ngff import LevelPlace, as_lengths, as_voxel_size, multiscales, read_multiscale, stated_place
from csc_data.geometry import Grid, Triple
from csc_data.storage.nodes import children
from csc_data.storage.stores.places import Store, join_key
from csc_eval.rules import Geometry
from csc_eval.voxels.arrays import LIMITS, Shape, StoredArray, VoxelSource, find_node


@dataclass(frozen=True, slots=True, kw_only=True)
class CropGrid:
    """Where the voxels of a crop lie: nm per voxel, nm of the centre of voxel 0, and how many; all z, y, x."""

    voxel_size: Triple
    translation: Triple
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A stored prediction and what it says about its place.

    Attributes
    ----------
    voxels : VoxelSource
        The values.
    voxel_size, translation : tuple of float, or None
        nm; None where nothing is said.
    is_group : bool
        Whether it was one level of a group.
    note : str
        How the numbers of its level differ from what its group's metadata as a whole say; "" if they agree.
    """

    voxels: VoxelSource
    voxel_size: Triple | None
    translation: Triple | None
    is_group: bool = False
    note: str = ""

    @property
    def big_endian(self) -> bool:
        """Whether its values are stored with the highest byte first."""
        return isinstance(self.voxels, StoredArray) and self.voxels.big_endian

    def grid(self, crop: CropGrid) -> Grid:
        """Return where its voxels lie, before they are aligned with a crop; what it does not say is as in the crop.

        Examples
        --------
        >>> from csc_eval.voxels.arrays import MemoryArray
        >>> crop = CropGrid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=(4, 4, 4))
        >>> voxels = MemoryArray(np.zeros((2, 2, 2)))
        >>> Prediction(voxels=voxels, voxel_size=(16.0, 16.0, 16.0), translation=None).grid(crop)
        Grid(voxel_size=(16.0, 16.0, 16.0), translation=(0.0, 0.0, 0.0), shape=(2, 2, 2))
        """
        voxel_size = self.voxel_size or crop.voxel_size
        return Grid(voxel_size=voxel_size, translation=self.translation or crop.translation, shape=self.voxels.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """An array of a group, and where it lies."""

    name: str
    voxel_size: Triple | None
    translation: Triple | None
    left_out: tuple[int, ...] = ()
    note: str = ""


def open_prediction(
    store: Store, key: str, crop: CropGrid, *, geometry: Geometry = "stated", cache_bytes: int = 0
) -> Prediction:
    """Open the array in a folder, or the level of the group in it that suits the crop.

    Parameters
    ----------
    store : Store
        Where it lies.
    key : str
        Its folder.
    crop : CropGrid
        Of the levels of a group the one is taken that is nearest to the crop's voxel size.
    geometry : {"stated", "full"}
        Whether the numbers of an OME-NGFF level are nm as they stand, as the official scorer has it, or what the axes'
        units and the group's own transformations make of them.
    cache_bytes : int
        How many bytes of decoded chunks to keep.

    Raises
    ------
    UnreadableDataError
        If there is neither, or it is damaged.
    """
    where, node = store.place(key), find_node(store, key)
    if node is not None and node.is_array:
        voxel_size, translation = stated_place(where, node.attributes)
        voxels = StoredArray(node, cache_bytes=cache_bytes)
        return Prediction(voxels=voxels, voxel_size=voxel_size, translation=translation)
    attributes = {} if node is None else node.attributes
    is_ome = multiscales(attributes) is not None
    levels = _ome_levels(where, attributes, geometry) if is_ome else _plain_levels(store, key)
    if not levels:
        raise UnreadableDataError(f"{where} holds neither a zarr array nor a group of arrays")
    # The official scorer chooses among the levels of the two kinds of group by different measures.
    rank = _ome_rank if is_ome else _plain_rank
    level = min(levels, key=lambda level: rank(level.voxel_size, crop.voxel_size))
    found = find_node(store, join_key(key, level.name))
    if found is None or not found.is_array:
        raise UnreadableDataError(f"{where}/{level.name} holds no zarr array")
    return Prediction(
        voxels=StoredArray(found, cache_bytes=cache_bytes, left_out=level.left_out),
        voxel_size=level.voxel_size,
        translation=level.translation,
        is_group=True,
        note=level.note,
    )


def _ome_levels(where: str, attributes: Mapping[str, Any], geometry: Geometry) -> list[_Level]:
    levels = []
    group = read_multiscale(where, attributes)
    for name, steps in group.datasets:
        voxel_size, translation = _stated_numbers(where, steps)
        place, note = None, ""
        try:
            place = group.place(name, steps)
        except UnreadableDataError as error:
            if geometry == "full":
                raise
            note = str(error)
        full = (None, None) if place is None else (place.voxel_size, place.translation)
        if place is not None and not _agree((voxel_size, translation), place):
            note = (
                f"the leaderboard takes level {name!r} as {list(voxel_size or ())} nm a voxel at "
                f"{list(translation or ())} nm; with units and group it is {list(place.voxel_size)} at "
                f"{list(place.translation)}, which other rules take"
            )
        if geometry == "full":
            voxel_size, translation = full
        left_out = () if place is None else tuple(axis for axis, _ in place.other_axes)
        level = _Level(name=name, voxel_size=voxel_size, translation=translation, left_out=left_out, note=note)
        levels.append(level)
    return levels


def _stated_numbers(where: str, steps: Sequence[Mapping[str, Any]]) -> tuple[Triple | None, Triple | None]:
    """Return the last scale and the last translation of a level, as they stand."""
    try:
        numbers = {step["type"]: step for step in steps}
        size = numbers["scale"]["scale"] if "scale" in numbers else None
        shift = numbers["translation"]["translation"] if "translation" in numbers else None
    except (KeyError, TypeError) as error:
        raise UnreadableDataError(f"{where} has damaged multiscales metadata: {error!r}") from error
    return as_voxel_size(size, where), as_lengths(shift, "translation", where)


def _agree(stated: tuple[Triple | None, Triple | None], place: LevelPlace) -> bool:
    size, shift = stated[0] or (1.0, 1.0, 1.0), stated[1] or (0.0, 0.0, 0.0)
    pairs = [*zip(size, place.voxel_size, strict=True), *zip(shift, place.translation, strict=True)]
    return all(math.isclose(one, two, rel_tol=1e-6, abs_tol=1e-9) for one, two in pairs)


def _plain_levels(store: Store, key: str) -> list[_Level]:
    levels = []
    for child in children(store, key, limits=LIMITS):
        if child.is_array:
            voxel_size, translation = stated_place(child.path, child.attributes)
            levels.append(_Level(name=child.name, voxel_size=voxel_size, translation=translation))
    return levels


def _ome_rank(voxel_size: Triple | None, target: Triple) -> float:
    if voxel_size is None:
        return math.inf
    return sum(abs(s - v) / v for s, v in zip(voxel_size, target, strict=True))


def _plain_rank(voxel_size: Triple | None, target: Triple) -> tuple[int, float]:
    if voxel_size is None:
        return 2, 0.0
    coarser = any(s > v for s, v in zip(voxel_size, target, strict=True))
    return int(coarser), math.dist(voxel_size, target)
