"""Regions of stored arrays in the memory of a device: sent there once, and held up to a number of bytes."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csc_data.loader.sources.holding.regions import HeldRegion, RegionCache, VoxelIndex

_SIGNED = {np.dtype(np.uint16): np.int16}
_UPPER_HALF = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceRegion:
    """What a region holds, on a device.

    Attributes
    ----------
    flat : Tensor
        Its voxels; of uint16, which torch hardly computes with, the bits as int16. See `take`.
    begin : ndarray of int64
        Its first voxel in the stored array.
    shape : tuple of int
    values : Tensor or None
        Of labels, what each number is in each class as a target, float32 (C, P + 1); the last one is unknown.
    """

    flat: Tensor
    begin: VoxelIndex
    shape: tuple[int, int, int]
    values: Tensor | None

    @property
    def strides(self) -> tuple[int, int, int]:
        """By how many voxels of ``flat`` neighbours along z, y and x lie apart."""
        return self.shape[1] * self.shape[2], self.shape[2], 1

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return self.flat.nbytes + (0 if self.values is None else self.values.nbytes)

    def take(self, index: Tensor) -> Tensor:
        """Return the voxels at places in ``flat``, whole numbers that are not negative."""
        taken = torch.take(self.flat, index)
        return taken.to(torch.int32) & _UPPER_HALF if taken.dtype == torch.int16 else taken


def send_table(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Send a small array to a device, without waiting for what the device has to do before."""
    tensor = torch.tensor(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class DeviceRegions:
    """Holds regions on a device; what was least recently used leaves first.

    Parameters
    ----------
    device : str
    max_bytes : int
        Most bytes held there.
    """

    def __init__(self, device: str, max_bytes: int) -> None:
        self.device, self.max_bytes = device, max_bytes
        self._held: OrderedDict[str, DeviceRegion | None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes that are held now."""
        return sum(region.nbytes for region in self._held.values() if region is not None)

    def find_or_send(self, region: HeldRegion) -> DeviceRegion | None:
        """Return a region, sent to the device if it is not there; None if it cannot be held.

        Raises
        ------
        UnreadableDataError
            If a chunk cannot be read.
        """
        with self._lock:
            if region.key in self._held:
                self._held.move_to_end(region.key)
                return self._held[region.key]
            with region.brought_in() as arrays:
                if arrays is None:
                    return None
                sent = self._send(region, arrays) if arrays else None  # labels of too many combinations
            self._held[region.key] = sent
            return sent

    def _send(self, region: HeldRegion, arrays: tuple[npt.NDArray[Any], ...]) -> DeviceRegion:
        size = arrays[0].nbytes + arrays[-1].nbytes * (len(arrays) > 1)
        while self._held and self.held_bytes + size > self.max_bytes:
            self._held.popitem(last=False)
        data = arrays[0].view(_SIGNED.get(arrays[0].dtype, arrays[0].dtype))
        z, y, x = data.shape
        return DeviceRegion(
            flat=torch.tensor(data.reshape(-1), device=self.device),
            begin=region.begin,
            shape=(z, y, x),
            values=torch.tensor(arrays[-1], device=self.device) if len(arrays) > 1 else None,
        )


_known: weakref.WeakKeyDictionary[RegionCache, dict[str, DeviceRegions]] = weakref.WeakKeyDictionary()


def regions_on(device: str, cache: RegionCache) -> DeviceRegions:
    """Return what is held on a device of what a cache holds here, as many bytes as there: one for all its loaders."""
    of_cache = _known.setdefault(cache, {})
    return of_cache.setdefault(str(torch.device(device)), DeviceRegions(device, cache.max_bytes))
