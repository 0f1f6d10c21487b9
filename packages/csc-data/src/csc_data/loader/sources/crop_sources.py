"""What patches of a crop are gathered from: its raw, and its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.challenge import get_instance_classes
from csc_data.geometry import Grid, Roi, Triple, as_shape
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.sources.annotations import AnnotatedCrop, EncodedArray
from csc_data.loader.sources.codes import combine_codes
from csc_data.loader.sources.level_map import LevelMap, covered_box, read_level_box, reflected_box
from csc_data.loader.sources.packing import VALUES, PackedLabels, pack_labels
from csc_data.loader.sources.regions import HeldRegion, RegionCache, VoxelIndex
from csc_data.volumes import Level, Volume
from csc_data.volumes.annotation_values import UNKNOWN, Codes

_CODE_TABLE = np.arange(256, dtype=np.uint8)[np.newaxis].copy()
_CODE_TABLE = np.concatenate([_CODE_TABLE, np.full((1, 1), UNKNOWN, dtype=np.uint8)], axis=1)


class RawSource:
    """The raw of a crop.

    Parameters
    ----------
    volume : Volume
    reach : Roi
        The box in nm that most patches lie in.
    cache : RegionCache
    """

    def __init__(self, volume: Volume, reach: Roi, cache: RegionCache) -> None:
        self.volume, self.reach, self.cache = volume, reach, cache
        self._regions: dict[str, HeldRegion] = {}

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the stored voxels."""
        return self.volume.levels[0].dtype

    def gather(
        self, patch_map: PatchMap, array: ArrayInfo, lookup: npt.NDArray[np.float32], out: npt.NDArray[np.float32]
    ) -> None:
        """Fill a patch, interpolated linearly from the level that suits it.

        Parameters
        ----------
        patch_map : PatchMap
        array : ArrayInfo
            The patch's voxels.
        lookup : ndarray of float32
            What each stored value, rounded, becomes; empty to keep values.
        out : ndarray of float32
            Shape ``array.shape``.

        Raises
        ------
        UnreadableDataError
            If a chunk cannot be read.
        """
        from csc_data.loader.sources.gathering import copy_values, gather_linear

        level = self.volume.level_for(patch_map.steps(array))
        on = LevelMap(patch_map, array, level.grid)
        size = np.array(level.grid.shape, dtype=np.int64)
        # One voxel more at the beginning: the compiled loop treats a position on the first centre as an end of the box.
        begin, end = reflected_box(np.floor(on.low).astype(np.int64) - 1, np.floor(on.high).astype(np.int64) + 2, size)
        data, start = self._region(level, size).part(begin, end)
        exact = on.steps_within(data, start, rounded=False)
        if exact is not None:
            copy_values(data.reshape(-1), *exact, lookup, out)
            return
        gather_linear(data, start, size, on.m, on.t, on.displacement, on.place, lookup, out)

    def _region(self, level: Level, size: VoxelIndex) -> HeldRegion:
        found = self._regions.get(level.name)
        if found is None:
            begin, window = level.grid.window_covering(self.reach)
            low = np.asarray(begin, dtype=np.int64)
            low, high = reflected_box(low, low + np.asarray(window.shape, dtype=np.int64), size)
            found = HeldRegion(self.cache, low, high, level.dtype.itemsize, lambda b, e: read_level_box(level, b, e))
            self._regions[level.name] = found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _LabelLevels:
    """The levels of a crop's label volumes that suit a voxel size; ``region`` where they share one grid."""

    levels: Mapping[str, Level]
    grid: Grid
    region: HeldRegion | None


class LabelSource:
    """The labels of a crop.

    Parameters
    ----------
    crop : AnnotatedCrop
    classes : sequence of str
        The channels.
    excludes : mapping
        From `csc_data.loader.sources.codes.exclusions`.
    cache : RegionCache
    """

    def __init__(
        self, crop: AnnotatedCrop, classes: Sequence[str], excludes: Mapping[str, tuple[int, ...]], cache: RegionCache
    ) -> None:
        self.crop, self.classes, self.excludes, self.cache = crop, tuple(classes), excludes, cache
        self._volumes = list({v.path: v for volumes in crop.labels.values() for v in volumes}.values())
        self._found: dict[tuple[str, ...], _LabelLevels] = {}

    def gather(self, patch_map: PatchMap, array: ArrayInfo, out: npt.NDArray[Any]) -> None:
        """Fill the channels of a patch: targets where it is of float32, codes where it is of uint8.

        Parameters
        ----------
        patch_map : PatchMap
        array : ArrayInfo
            The patch's voxels.
        out : ndarray
            Shape (C, *array.shape).

        Raises
        ------
        UnreadableDataError
            If a chunk cannot be read.
        """
        from csc_data.loader.sources.gathering import copy_labels, gather_nearest

        at = self._levels_for(patch_map.steps(array))
        as_targets = out.dtype == np.float32
        if at.region is not None:
            on = LevelMap(patch_map, array, at.grid)
            begin, end = covered_box(on, at.grid)
            if np.any(begin >= end):
                out[...] = VALUES[UNKNOWN] if as_targets else UNKNOWN
                return
            packed = at.region.whole(begin, end)
            if packed is not None:
                start = at.region.begin
                table = packed.values if as_targets else packed.codes
                exact = on.steps_within(packed.numbers, start, rounded=True)
                if exact is not None:
                    copy_labels(packed.numbers.reshape(-1), *exact, table, out)
                else:
                    gather_nearest(packed.numbers, start, on.m, on.t, on.displacement, on.place, table, out)
                return

        def gather_one(volume: Volume) -> Codes:
            return _gather_codes(at.levels[volume.path], patch_map, array)

        codes = combine_codes(self.crop, self.classes, array.shape, gather_one, self.excludes)
        out[...] = VALUES[codes] if as_targets else codes

    def gather_ids(self, patch_map: PatchMap, array: ArrayInfo) -> npt.NDArray[np.int64]:
        """Return the instance ids of a patch, shape (C, *array.shape); 0 for classes without ids.

        Only classes that are scored as instances, and have an array of their own, have ids.
        """
        from csc_data.loader.sources.gathering import gather_stored

        ids = np.zeros((len(self.classes), *array.shape), dtype=np.int64)
        levels = self._levels_for(patch_map.steps(array)).levels
        for channel, name in enumerate(self.classes):
            volumes = self.crop.labels.get(name, ())
            if name not in get_instance_classes() or len(volumes) != 1:
                continue
            level = levels[volumes[0].path]
            on = LevelMap(patch_map, array, level.grid)
            begin, end = covered_box(on, level.grid)
            if isinstance(level.array, EncodedArray) and np.all(begin < end):
                box = read_level_box(replace(level, array=level.array.array), begin, end)
                gather_stored(box, begin, on.m, on.t, on.displacement, on.place, ids[channel])
        return ids

    def read(self, grid: Grid) -> Codes:
        """Return the codes at the voxels of a grid, shape (C, z, y, x)."""
        patch_map, array = _upright(grid)
        codes = np.empty((len(self.classes), *grid.shape), dtype=np.uint8)
        self.gather(patch_map, array, codes)
        return codes

    def read_class(self, channel: int, grid: Grid) -> Codes:
        """Return the codes of one class at the voxels of a grid, shape (z, y, x); cheap for a few voxels."""
        patch_map, array = _upright(grid)
        at = self._levels_for(patch_map.steps(array))
        if at.region is not None and at.region.is_held:
            codes: Codes = self.read(grid)[channel]
            return codes
        only = (self.classes[channel],)

        def gather_one(volume: Volume) -> Codes:
            return _gather_codes(at.levels[volume.path], patch_map, array)

        present: Codes = combine_codes(self.crop, only, grid.shape, gather_one, {})[0]
        return present

    def _levels_for(self, step: Triple) -> _LabelLevels:
        levels = {volume.path: volume.level_for(step) for volume in self._volumes}
        key = tuple(level.name for level in levels.values())
        found = self._found.get(key)
        if found is None:
            grid = next(iter(levels.values())).grid
            region = None
            if all(level.grid == grid for level in levels.values()):
                end = np.array(grid.shape, dtype=np.int64)
                region = HeldRegion(
                    self.cache, np.zeros(3, dtype=np.int64), end, 2, lambda b, e: self._pack(levels, grid, b, e)
                )
            found = self._found[key] = _LabelLevels(levels, grid, region)
        return found

    def _pack(self, levels: Mapping[str, Level], grid: Grid, begin: VoxelIndex, end: VoxelIndex) -> PackedLabels | None:
        shape = as_shape((end - begin).tolist())

        def read(volume: Volume) -> Codes:
            return read_level_box(levels[volume.path], begin, end)

        return pack_labels(combine_codes(self.crop, self.classes, shape, read, self.excludes), shape)


def _upright(grid: Grid) -> tuple[PatchMap, ArrayInfo]:
    bounds = grid.bounds
    centre = (np.asarray(bounds.begin) + np.asarray(bounds.end)) / 2
    return PatchMap(centre=centre), ArrayInfo(shape=grid.shape, scale=grid.voxel_size)


def _gather_codes(level: Level, patch_map: PatchMap, array: ArrayInfo) -> Codes:
    """Gather the codes of one volume by itself: classes of one crop may lie on different grids."""
    from csc_data.loader.sources.gathering import gather_nearest

    on = LevelMap(patch_map, array, level.grid)
    begin, end = covered_box(on, level.grid)
    codes = np.full((1, *array.shape), UNKNOWN, dtype=np.uint8)
    if np.all(begin < end):
        values = read_level_box(level, begin, end)
        gather_nearest(values, begin, on.m, on.t, on.displacement, on.place, _CODE_TABLE, codes)
    gathered: Codes = codes[0]
    return gathered
