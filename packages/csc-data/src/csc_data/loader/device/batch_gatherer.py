"""Batches gathered on a device: the places of samples are drawn in this process, all else happens there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from csc_data.loader.device.gathering import gather_labels, gather_raw
from csc_data.loader.device.intensity import change_intensity
from csc_data.loader.device.regions import regions_on
from csc_data.loader.intensity import DrawnIntensity
from csc_data.loader.patches.training import PatchPlace, TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.places import read_places
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.sources.level_map import LevelMap, covered_box, reflected_box
from csc_data.loader.sources.raw import DEFAULT_RANGE, scaling_of
from csc_data.loader.targets import BinaryTarget

Batch = dict[str, Tensor]


def why_not_on(device: str, patches: TrainingPatches | ValidationPatches) -> str | None:
    """Return why patches cannot be gathered on a device; None if they can."""
    reader = patches.reader
    if torch.device(device).type == "mps":
        return "mps has no numbers of 64 bits"
    if patches.values:
        return "your own value transforms work on the CPU"
    if reader.interpolation != "linear":
        return f"{reader.interpolation} interpolation is there for the CPU alone"
    if not all(isinstance(kind, BinaryTarget) for kind in reader.kinds.values()):
        return "only binary targets are there for devices"
    if reader.stored_type is None:
        return "raw is not uint8 or uint16 in all crops"
    return None


class BatchGatherer:
    """Gathers batches on a device, for one iteration after another, in place of a pool of workers.

    The samples are those that workers would load. What cannot be held on the device, and labels of too many
    combinations of classes, are gathered here and sent.

    Parameters
    ----------
    patches : TrainingPatches or ValidationPatches
        Of which `why_not_on` tells nothing.
    device : str
    with_positions : bool
        Whether batches say where their samples come from.
    """

    def __init__(self, patches: TrainingPatches | ValidationPatches, device: str, *, with_positions: bool) -> None:
        assert patches.reader.stored_type is not None
        self._patches, self._device, self._with_positions = patches, device, with_positions
        self._regions = regions_on(device, patches.reader.regions)
        self._factor, self._offset = scaling_of(patches.reader.stored_type, patches.reader.raw_range)
        self._to_unit, _ = scaling_of(patches.reader.stored_type, DEFAULT_RANGE)
        self._batches: Iterator[list[int]] = iter(())

    @property
    def dead(self) -> list[str]:
        """There are no workers that could end."""
        return []

    def start(self, batches: Iterator[list[int]]) -> None:
        """Begin to gather batches, each given by the numbers of its samples."""
        self._batches = batches

    def cancel(self) -> None:
        """Leave out what was not gathered yet."""
        self._batches = iter(())

    def shut_down(self) -> None:
        """Do as `cancel`."""
        self.cancel()

    def __next__(self) -> Batch:
        indices = next(self._batches)
        shapes = self._patches.shapes()
        batch = {
            name: torch.empty((len(indices), *shape), dtype=torch.float32, device=self._device)
            for name, shape in shapes.items()
        }
        for number, (place, changes) in enumerate(self._patches.drawn(indices)):
            self._fill(place, changes, {name: tensor[number] for name, tensor in batch.items()})
        batch = self._patches.squeezed(batch)
        if self._with_positions:
            places = read_places(self._patches, indices)
            batch |= {name: torch.from_numpy(np.asarray(values)) for name, values in places.items()}
        return batch

    def _fill(self, place: PatchPlace, changes: DrawnIntensity | None, sample: Batch) -> None:
        reader = self._patches.reader
        left = [n for n, array in reader.inputs.items() if not self._fill_raw(place, array, changes, sample[n][0])]
        left += [n for n, array in reader.targets.items() if not self._fill_labels(place, array, sample[n])]
        if left:
            here = {name: np.empty(tuple(sample[name].shape), dtype=np.float32) for name in left}
            reader.gather(place.crop, place.patch_map, here, changes)
            for name, values in here.items():
                sample[name].copy_(torch.from_numpy(values))

    def _fill_raw(self, place: PatchPlace, array: ArrayInfo, changes: DrawnIntensity | None, out: Tensor) -> bool:
        reader, patch_map = self._patches.reader, place.patch_map
        source = reader.sources(place.crop)[0]
        level, held = source.level_for(patch_map, array), source.region_for(patch_map, array)
        on = LevelMap(patch_map, array, level.grid)
        begin, end = reflected_box(*on.needed(0), level.faces)
        if np.any(begin < held.begin) or np.any(end > held.end):
            return False
        region = self._regions.find_or_send(held)
        if region is None:
            return False
        gather_raw(on, region, level.faces, out)
        if changes is None:
            out.mul_(self._factor).add_(self._offset)
            return True
        low, high = reader.raw_range
        changed = change_intensity(changes, out.mul_(self._to_unit), patch_map.voxel_size(array))
        torch.mul(changed, high - low, out=out).add_(low)
        return True

    def _fill_labels(self, place: PatchPlace, array: ArrayInfo, out: Tensor) -> bool:
        found = self._patches.reader.sources(place.crop)[1].region_for(place.patch_map, array)
        if found is None:
            return False
        grid, limits, held = found
        on = LevelMap(place.patch_map, array, grid)
        begin, end = covered_box(on, limits)
        if np.any(begin >= end):
            out.fill_(float("nan"))
            return True
        region = self._regions.find_or_send(held)
        if region is None:
            return False
        gather_labels(on, region, limits, out)
        return True
