"""Batches as they travel to the device: labels of all classes as one small number a voxel, raw as it is stored.

A number says which classes a voxel has; a table beside it what that is for each class. 48 classes take 1 or 2 bytes a
voxel instead of 192, and the device makes of them what `unpack_batch` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.sources.packing import TooManyCombinationsError
from csc_data.loader.sources.raw import scaling_of
from csc_data.loader.targets import BinaryTarget

if TYPE_CHECKING:
    from torch import Tensor

VALUES, SCALE = "_values", "_scale"
"""Ends of the names of what numbers stand for, and of factor and offset of raw."""


def read_packed(
    patches: TrainingPatches | ValidationPatches, indices: Sequence[int]
) -> dict[str, npt.NDArray[Any]] | None:
    """Read a batch in its packed form.

    Parameters
    ----------
    patches : TrainingPatches or ValidationPatches
    indices : sequence of int
        B samples.

    Returns
    -------
    dict of ndarray or None
        Each input (B, 1, z, y, x): uint8 or uint16 as it is stored, with factor and offset under ``NAME_scale``,
        float32 (2,), where nothing is done to raw; else float32. Each binary target uint8 or uint16 (B, z, y, x), with
        what the numbers are under ``NAME_values``, float32 (B, C, P); others as they are. None where it cannot be
        packed: your own transforms take values, and noise has too many combinations of classes.

    Raises
    ------
    UnreadableDataError
        If a chunk cannot be read.
    """
    if patches.values:
        return None
    reader, shapes = patches.reader, patches.shapes()
    numbered = [name for name, kind in reader.kinds.items() if isinstance(kind, BinaryTarget)]
    intensity = isinstance(patches, TrainingPatches) and bool(patches.intensity)
    stored_type = None if intensity else reader.stored_type
    stored = [] if stored_type is None else list(reader.inputs)
    dense = [name for name in shapes if name not in (*numbered, *stored)]
    batch: dict[str, npt.NDArray[Any]] = {}
    for name, shape in shapes.items():
        kind = np.uint16 if name in numbered else stored_type if name in stored else np.float32
        batch[name] = np.empty((len(indices), *(shape[1:] if name in numbered else shape)), dtype=kind)
    tables: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in numbered}
    try:
        for number, (place, changes) in enumerate(patches.drawn(indices)):
            for name in stored:
                reader.gather_stored(place.crop, place.patch_map, name, batch[name][number, 0])
            for name in numbered:
                tables[name].append(reader.gather_numbers(place.crop, place.patch_map, name, batch[name][number]))
            reader.gather(place.crop, place.patch_map, {name: batch[name][number] for name in dense}, changes)
    except TooManyCombinationsError:
        return None
    for name, found in tables.items():
        batch[name + VALUES] = _stacked(found)
        if batch[name + VALUES].shape[2] <= 256:
            batch[name] = batch[name].astype(np.uint8)
    if stored_type is not None:
        scale = np.array(scaling_of(stored_type, reader.raw_range), dtype=np.float32)
        batch |= {name + SCALE: scale for name in stored}
    arrays = {**reader.inputs, **reader.targets}
    for name in (*stored, *dense, *numbered):
        if arrays[name].flat:
            batch[name] = batch[name][:, 0] if name in numbered else batch[name][:, :, 0]
    return batch


def _stacked(tables: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Return tables as one, those with fewer numbers filled up with NaN."""
    classes, most = len(tables[0]), max(table.shape[1] for table in tables)
    stacked = np.full((len(tables), classes, most), np.nan, dtype=np.float32)
    for whole, table in zip(stacked, tables, strict=True):
        whole[:, : table.shape[1]] = table
    return stacked


def unpack_batch(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a batch as networks and losses take it, on the device where it is: the very values of one never packed.

    Parameters
    ----------
    batch : mapping of tensors
        Packed, or not.

    Returns
    -------
    dict of Tensor
        Inputs float32 (B, 1, ...), targets float32 (B, C, ...).

    Examples
    --------
    >>> import torch
    >>> stored = torch.tensor([[0, 255]], dtype=torch.uint8)
    >>> unpack_batch({"input": stored, "input" + SCALE: torch.tensor([[1 / 255], [0.0]])})["input"].tolist()
    [[0.0, 1.0]]
    """
    import torch

    unpacked = {}
    for name, tensor in batch.items():
        if name.endswith((VALUES, SCALE)) and name.rpartition("_")[0] in batch:
            continue
        values, scale = batch.get(name + VALUES), batch.get(name + SCALE)
        if values is not None:
            # One sample at a time: indices take eight bytes a voxel.
            space = tensor.shape[1:]
            rows = [table[:, numbers.reshape(-1).long()] for table, numbers in zip(values, tensor, strict=True)]
            tensor = torch.stack(rows).reshape(len(tensor), -1, *space)
        elif scale is not None:
            tensor = tensor.to(torch.float32) * scale[0] + scale[1]
        unpacked[name] = tensor
    return unpacked
