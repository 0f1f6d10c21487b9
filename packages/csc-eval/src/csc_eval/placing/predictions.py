"""Stored predictions: which array of them suits a crop, and what it says about its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from csc_data.errors import UnreadableDataError
from csc_eval.placing.resample import check_axes
from csc_eval.voxels.arrays import Shape, StoredArray, VoxelSource, is_array, read_attributes
from csc_eval.voxels.stores import Store

Triple = tuple[float, float, float]


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
    """

    voxels: VoxelSource
    voxel_size: Triple | None
    translation: Triple | None
    is_group: bool = False


def open_prediction(store: Store, key: str, crop: CropGrid, *, cache_bytes: int = 0) -> Prediction:
    """Open the array in a folder, or the level of the group in it that suits the crop.

    Raises
    ------
    UnreadableDataError
        If there is neither, or it is damaged.
    """
    if is_array(store, key):
        attributes = read_attributes(store, key)
        return Prediction(
            voxels=StoredArray(store, key, cache_bytes=cache_bytes),
            voxel_size=parse_voxel_size(attributes, f"{store.name}/{key}"),
            translation=parse_translation(attributes, f"{store.name}/{key}"),
        )
    attributes = read_attributes(store, key)
    if isinstance(attributes.get("ome"), dict):  # OME-NGFF 0.5
        attributes = attributes["ome"]
    levels = _ome_levels(attributes, store, key) if "multiscales" in attributes else _plain_levels(store, key)
    if not levels:
        raise UnreadableDataError(f"{store.name}/{key} holds neither a zarr array nor a group of arrays")
    rank = _ome_rank if "multiscales" in attributes else _plain_rank
    name, voxel_size, translation = min(levels, key=lambda level: rank(level[1], crop.voxel_size))
    array = StoredArray(store, f"{key}/{name}", cache_bytes=cache_bytes)
    return Prediction(voxels=array, voxel_size=voxel_size, translation=translation, is_group=True)


_Level = tuple[str, Triple | None, Triple | None]


def _ome_levels(attributes: Mapping[str, Any], store: Store, key: str) -> list[_Level]:
    where = f"{store.name}/{key}"
    levels: list[_Level] = []
    try:
        for dataset in attributes["multiscales"][0]["datasets"]:
            found = {entry["type"]: entry for entry in dataset.get("coordinateTransformations", [])}
            path = str(dataset["path"])
            if path.startswith("/") or ".." in path.split("/"):
                raise UnreadableDataError(f"{where} names a level outside of itself: {path!r}")
            scale = found["scale"]["scale"] if "scale" in found else None
            shift = found["translation"]["translation"] if "translation" in found else None
            levels.append(
                (path, _voxel_size(scale, where), None if shift is None else _triple(shift, "translation", where))
            )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UnreadableDataError(f"{where} has damaged multiscales metadata: {error!r}") from error
    return levels


def _plain_levels(store: Store, key: str) -> list[_Level]:
    levels: list[_Level] = []
    for name in store.folders(key):
        if is_array(store, f"{key}/{name}"):
            attributes, where = read_attributes(store, f"{key}/{name}"), f"{store.name}/{key}/{name}"
            levels.append((name, parse_voxel_size(attributes, where), parse_translation(attributes, where)))
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


def parse_voxel_size(attributes: Mapping[str, Any], where: str) -> Triple | None:
    """Return an array's voxel size (``voxel_size``, ``resolution`` or ``scale``), None if it says nothing."""
    names = ("voxel_size", "resolution", "scale")
    return _voxel_size(next((attributes[name] for name in names if name in attributes), None), where)


def parse_translation(attributes: Mapping[str, Any], where: str) -> Triple | None:
    """Return an array's translation (``translation`` or ``offset``), None if it says nothing."""
    values = next((attributes[name] for name in ("translation", "offset") if name in attributes), None)
    return None if values is None else _triple(values, "translation", where)


def _voxel_size(values: object, where: str) -> Triple | None:
    if values is None:
        return None
    triple = _triple(values, "voxel size", where)
    if min(triple) <= 0:
        raise UnreadableDataError(f"{where} has the voxel size {values!r}; expected positive numbers")
    return triple


def _triple(values: object, name: str, where: str) -> Triple:
    try:
        return check_axes([float(value) for value in values], f"the {name} of {where}")  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise UnreadableDataError(f"{where} has the {name} {values!r}; expected three numbers (z, y, x, nm)") from error
