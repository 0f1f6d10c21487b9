"""One label of a submission: whether the portal finds it, can read it, and where it will place it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from csc_data.challenge import TestCrop
from csc_data.errors import CscError, UnreadableDataError, nearest
from csc_data.formats.array_metadata import parse_dtype
from csc_data.formats.ngff import stated_place
from csc_data.geometry import TOLERANCE, Triple
from csc_data.storage.nodes import Node
from csc_data.storage.stores.places import Store
from csc_eval.causes import LARGE_RESAMPLED, REFUSES, UNSURE, Verdict, said_of
from csc_eval.placing.align import floor_offset, is_instance_class
from csc_eval.placing.predictions import CropGrid
from csc_eval.rules import LEADERBOARD
from csc_eval.validating.contents import STORED_CHUNKS, find_content_faults, read_contents
from csc_eval.validating.findings import Finding, LabelVerdict, found
from csc_eval.validating.layout import is_group_metadata
from csc_eval.voxels.arrays import StoredArray, find_node

_METADATA = (".zarray", ".zgroup", "zarr.json", "attributes.json")
_FEWEST_LETTERS = 0.75  # of a name like that of a class: less is a name of something else


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One class of a test crop, and the folder of its crop in a submission."""

    store: Store
    folder: str
    crop: TestCrop
    class_name: str

    @property
    def where(self) -> str:
        """For people."""
        return f"crop{self.crop.id}/{self.class_name}"

    @property
    def key(self) -> str:
        """Its folder."""
        return f"{self.folder}/{self.class_name}"

    @property
    def grid(self) -> CropGrid:
        """The grid that it is scored on."""
        return CropGrid(voxel_size=self.crop.voxel_size, translation=self.crop.translation, shape=self.crop.shape)


def check_crop(store: Store, folder: str, crop: TestCrop) -> tuple[list[LabelVerdict], list[Finding]]:
    """Check all classes of a crop, and name what lies beside them."""
    name = f"crop{crop.id}"
    fault = fault_of_crop(store, folder)
    if fault:
        labels = [LabelVerdict(crop=name, class_name=label, verdict="ends") for label in crop.classes]
        return labels, [found(fault, name)]
    labels, findings = [], []
    there = [entry for entry in store.folders(folder) if not entry.startswith(".")]
    others = [entry for entry in there if entry not in crop.classes]
    renamed: dict[str, str] = {}
    for entry in others:
        meant = meant_class(entry, [label for label in crop.classes if label not in there])
        if meant is not None:
            renamed[meant] = entry
            findings.append(found("label_name", f"{name}/{entry}", f"{meant} is meant"))
        elif entry.endswith("_mask") and entry.removesuffix("_mask") in crop.classes:
            findings.append(found("submitted_mask", f"{name}/{entry}"))
        else:
            findings.append(found("surplus", f"{name}/{entry}"))
    for label in crop.classes:
        if label in there:
            verdict, faults = check_label(Label(store=store, folder=folder, crop=crop, class_name=label))
            findings += faults
        else:
            verdict = LabelVerdict(crop=name, class_name=label, verdict="missing")
            findings += [] if label in renamed else [found("missing_label", f"{name}/{label}")]
        labels.append(verdict)
    return labels, findings


def fault_of_crop(store: Store, folder: str) -> str:
    """Return the cause by which the portal's run ends at a crop's own metadata; "" if none does."""
    if store.has(f"{folder}/.zarray"):
        return "crop_is_array"
    return "" if is_group_metadata(store, folder) else "crop_metadata"


def meant_class(name: str, absent: Sequence[str]) -> str | None:
    """Return the class that a folder's name stands for, of those that are absent.

    >>> meant_class("Mito.zarr", ["er", "mito"])
    'mito'
    """
    plain = name.removesuffix(".zarr").lower().replace("-", "_")
    return plain if plain in absent else nearest(plain, absent, _FEWEST_LETTERS)


def check_label(label: Label) -> tuple[LabelVerdict, list[Finding]]:
    """Check one label whose folder is there."""
    if not label.store.has(f"{label.key}/.zarray"):
        return _verdict(label, "missing"), [_why_unseen(label)]
    try:
        node = find_node(label.store, label.key)
    except UnreadableDataError as error:
        return _unread(label, "damaged_metadata", error)
    assert node is not None
    fault = _fault_of_metadata(label, node)
    if fault is not None:
        return _verdict(label, "ends"), [fault]
    try:
        array = StoredArray(node)
    except UnreadableDataError as error:
        return _unread(label, "unreadable", error)
    if array.refused_by_zarr:
        return _verdict(label, "ends"), [found("damaged_metadata", label.where, array.refused_by_zarr)]
    try:
        voxel_size, translation = stated_place(node.path, node.attributes)
    except UnreadableDataError as error:
        return _unread(label, "wrong_place", error)
    if math.prod(array.shape) > LEADERBOARD.max_volume_ratio * math.prod(label.crop.shape):
        return _verdict(label, "ends"), [found("too_many_voxels", label.where, f"{array.shape}")]
    faults = list(_faults_of_place(label, node, array, voxel_size, translation))
    return _check_contents(label, node, array, faults)


def _check_contents(
    label: Label, node: Node, array: StoredArray, faults: list[Finding]
) -> tuple[LabelVerdict, list[Finding]]:
    instance = is_instance_class(label.class_name)
    if str((node.metadata or {}).get("dtype", "")).startswith(">"):
        if instance:
            return _verdict(label, "ends"), [*faults, found("big_endian_ids", label.where)]
        faults.append(found("big_endian", label.where))
    try:
        said = node.attributes.get(STORED_CHUNKS)
        stored = said if isinstance(said, int) else None
        contents = read_contents(array, instance=instance, stored_chunks=stored)
    except CscError as error:
        verdict, finding = _unread(label, "damaged_chunk", error)
        return verdict, [*faults, *finding]
    if array.is_undefined:
        faults.append(found("no_fill", label.where))
    faults += find_content_faults(contents, label.where, label.class_name)
    resampled = any(fault.cause.name == "voxel_size" for fault in faults)
    if resampled and contents.largest > 2**53:
        faults.append(found("large_ids", label.where))
    verdict = LabelVerdict(
        crop=f"crop{label.crop.id}",
        class_name=label.class_name,
        verdict="accepted",
        dtype=str(array.dtype),
        voxels=contents.voxels,
        instances=contents.ids if instance else None,
    )
    return verdict, faults


def _unread(label: Label, cause: str, error: CscError) -> tuple[LabelVerdict, list[Finding]]:
    """Return what is said of a label that cannot be read here, for a cause that holds where zarr cannot either."""
    said = said_of(error)
    cause = "questionable" if said == UNSURE else "damaged_zip" if said.startswith(REFUSES) else cause
    return _verdict(label, "accepted" if said == UNSURE else "ends"), [found(cause, label.where, str(error))]


def _verdict(label: Label, verdict: Verdict) -> LabelVerdict:
    return LabelVerdict(crop=f"crop{label.crop.id}", class_name=label.class_name, verdict=verdict)


def _why_unseen(label: Label) -> Finding:
    """Tell why the portal does not see an array in a folder without .zarray."""
    store, key = label.store, label.key
    if store.has(f"{key}/zarr.json"):
        return found("format3", label.where)
    if store.has(f"{key}/attributes.json"):
        return found("n5", label.where)
    arrays = [name for name in store.folders(key) if store.has(f"{key}/{name}/.zarray")]
    if arrays:
        return found("group", label.where, f"it holds {', '.join(arrays[:4])}")
    return found("no_metadata", label.where)


def _fault_of_metadata(label: Label, node: Node) -> Finding | None:
    metadata = node.metadata or {}
    shape, dtype = metadata.get("shape"), metadata.get("dtype")
    if isinstance(shape, list) and len(shape) != 3:
        return found("axes", label.where, f"its shape is {shape}")
    try:
        parse_dtype(dtype)
    except (TypeError, ValueError):  # NumPy's, of names that it does not know
        return found("dtype", label.where, f"its dtype is {dtype}")
    return None


def _faults_of_place(
    label: Label, node: Node, array: StoredArray, voxel_size: Triple | None, translation: Triple | None
) -> list[Finding]:
    """Tell how the leaderboard places the array."""
    crop, where, faults = label.grid, label.where, []
    said = node.attributes.get("shape")
    if isinstance(said, list) and tuple(said) != array.shape:
        faults.append(found("shape_attribute", where, f"{said}, not {list(array.shape)}"))
    if voxel_size is None:
        same = array.shape == crop.shape
        faults.append(found("no_voxel_size" if same else "centred", where, "" if same else f"{array.shape}"))
    resampled = voxel_size is not None and not np.allclose(voxel_size, crop.voxel_size)
    if resampled:
        faults.append(found("voxel_size", where, f"{voxel_size}, not {crop.voxel_size} nm"))
    if translation is None:
        faults.append(found("no_translation", where))
    if voxel_size is None:
        return faults
    if (
        resampled
        and 8 * math.prod(n * s / v for n, s, v in zip(array.shape, voxel_size, crop.voxel_size, strict=True))
        > LARGE_RESAMPLED
    ):
        faults.append(found("too_large_resampled", where))
    offset = (0, 0, 0) if translation is None else floor_offset(translation, crop)
    scaled = [max(1, round(n * s / v)) for n, s, v in zip(array.shape, voxel_size, crop.voxel_size, strict=True)]
    if any(o >= n or o + m <= 0 for o, m, n in zip(offset, scaled, crop.shape, strict=True)):
        return [*faults, found("elsewhere", where, f"it begins at {translation} nm, the crop at {crop.translation} nm")]
    apart = translation is not None and any(
        abs(t - c) > TOLERANCE * v for t, c, v in zip(translation, crop.translation, crop.voxel_size, strict=True)
    )
    if not resampled and apart:
        faults.append(found("translation", where, f"by {offset} voxels; {translation}, not {crop.translation} nm"))
    elif not resampled and array.shape != crop.shape:
        faults.append(found("shape", where, f"{array.shape}, not {crop.shape}"))
    return faults
