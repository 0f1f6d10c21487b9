"""The labels of a crop, from which patches are gathered at any pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.formats.cache import passing_through
from csc_data.geometry import Grid, Roi, Triple, as_shape
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.sources.codes import combine_codes
from csc_data.loader.sources.holding.regions import HeldRegion, RegionCache, VoxelIndex
from csc_data.loader.sources.holding.shared_memory import Arrays, read_only
from csc_data.loader.sources.level_map import LevelMap, covered_box, known_limits, nearest_steps, read_level_box
from csc_data.loader.sources.packing import VALUES, TooManyCombinationsError, pack_labels
from csc_data.splits.annotations import AnnotatedCrop, EncodedArray
from csc_data.volumes import Level, Volume
from csc_data.volumes.annotation_values import UNKNOWN, Codes

# All that is gathered from is read-only, as what is held is: loops are compiled for one kind of array.
(_CODE_TABLE,) = read_only([np.append(np.arange(256, dtype=np.uint8), np.uint8(UNKNOWN))[np.newaxis]])


@dataclass(frozen=True, slots=True, eq=False)
class _LabelLevels:
    """The levels of a crop's label volumes that suit a voxel size; ``region`` where they share one grid."""

    levels: Mapping[str, Level]
    grid: Grid
    limits: npt.NDArray[np.float64]
    region: HeldRegion | None


class LabelSource:
    """The labels of a crop; they are known in its annotated box, and where there is raw.

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
        self._raw: Roi = crop.raw.levels[0].grid.bounds
        self._volumes = list({v.path: v for volumes in crop.labels.values() for v in volumes}.values())
        self._found: dict[tuple[str, ...], _LabelLevels] = {}
        self._by_step: dict[Triple, _LabelLevels] = {}
        self._ids: dict[str, HeldRegion] = {}

    def gather(self, patch_map: PatchMap, array: ArrayInfo, out: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
        """Fill a patch with what its data type says: float32 with targets, uint8 with codes, uint16 with numbers.

        Parameters
        ----------
        patch_map : PatchMap
        array : ArrayInfo
            The patch's voxels.
        out : ndarray
            Shape (C, *array.shape); of uint16 (1, *array.shape), for the combination of classes of each voxel.

        Returns
        -------
        ndarray or None
            For numbers, what each of them is in each class, as targets, float32, shape (C, P).

        Raises
        ------
        UnreadableDataError
            If a chunk cannot be read.
        TooManyCombinationsError
            If there are more combinations than numbers.
        """
        at = self._levels_for(patch_map.nominal_steps(array))
        if at.region is not None:
            on, limits = LevelMap(patch_map, array, at.grid), at.limits
            begin, end = covered_box(on, limits)
            if np.any(begin >= end):
                return _fill_unknown(len(self.classes), out)
            with at.region.whole(begin, end) as packed:
                if packed is not None and len(packed):
                    numbers, codes, values = packed
                    table = {"f": values, "u": codes}[out.dtype.kind]
                    if out.dtype == np.uint16:
                        (table,) = read_only([np.arange(values.shape[1], dtype=np.uint16)[np.newaxis]])
                    _fill(on, limits, (numbers, at.region.begin), table, out)
                    return values.copy() if out.dtype == np.uint16 else None
        codes = combine_codes(
            self.crop,
            self.classes,
            array.shape,
            lambda volume: self._gather_codes(at.levels[volume.path], patch_map, array),
            self.excludes,
        )
        if out.dtype == np.uint16:
            found = pack_labels(codes, array.shape)
            if found is None:
                raise TooManyCombinationsError(
                    f"{self.crop.name} has more than 65,535 combinations of classes in a patch"
                )
            out[0] = found.numbers
            return found.values
        out[...] = VALUES[codes] if out.dtype == np.float32 else codes
        return None

    def region_for(
        self, patch_map: PatchMap, array: ArrayInfo
    ) -> tuple[Grid, npt.NDArray[np.float64], HeldRegion] | None:
        """Return what is held for a patch, for who gathers elsewhere: its grid, where it is known, and the region.

        None where labels lie on several grids.
        """
        at = self._levels_for(patch_map.nominal_steps(array))
        return None if at.region is None else (at.grid, at.limits, at.region)

    def gather_ids(self, patch_map: PatchMap, array: ArrayInfo) -> npt.NDArray[np.int64]:
        """Return the instance ids of a patch, shape (C, *array.shape); 0 for classes without ids.

        Only classes that are scored as instances, and have an array of their own, have ids.
        """
        from csc_data.loader.sources.gathering.labels import take_stored

        ids = np.zeros((len(self.classes), *array.shape), dtype=np.int64)
        levels = self._levels_for(patch_map.nominal_steps(array)).levels
        for channel, name in enumerate(self.classes):
            volumes = self.crop.labels.get(name, ())
            if name not in self.crop.table.instances or len(volumes) != 1:
                continue
            level = levels[volumes[0].path]
            on, limits = LevelMap(patch_map, array, level.grid), known_limits(level.grid, self._raw)
            begin, end = covered_box(on, limits)
            if not isinstance(level.array, EncodedArray) or np.any(begin >= end):
                continue
            with self._ids_of(volumes[0], level).part(begin, end) as ((stored,), start):
                limits = np.stack([np.maximum(limits[0], start), np.minimum(limits[1], start + stored.shape)])
                take_stored(stored, start, limits, on.m, on.t, on.displacement, on.place, ids[channel])
        return ids

    def read(self, grid: Grid) -> Codes:
        """Return the codes at the voxels of a grid, shape (C, z, y, x)."""
        patch_map, array = PatchMap.upright(grid)
        codes = np.empty((len(self.classes), *grid.shape), dtype=np.uint8)
        self.gather(patch_map, array, codes)
        return codes

    def read_class(self, channel: int, grid: Grid) -> Codes:
        """Return the codes of one class at the voxels of a grid, shape (z, y, x); cheap for a few voxels."""
        at = self._levels_for(grid.voxel_size)
        if at.region is not None and at.region.is_held:
            codes = self._held_codes(at, channel, grid)
            return self.read(grid)[channel] if codes is None else codes
        patch_map, array = PatchMap.upright(grid)
        only = (self.classes[channel],)
        present: Codes = combine_codes(
            self.crop,
            only,
            grid.shape,
            lambda volume: self._gather_codes(at.levels[volume.path], patch_map, array),
            {},
        )[0]
        return present

    def _held_codes(self, at: _LabelLevels, channel: int, grid: Grid) -> Codes | None:
        """Return what a held region says of a class where a grid has the very voxels of the region, all known."""
        if at.region is None or not grid.is_aligned_with(at.grid):
            return None
        offsets = zip(grid.translation, at.grid.translation, grid.voxel_size, strict=True)
        begin = [round((one - other) / size) for one, other, size in offsets]
        box = tuple(slice(b, b + n) for b, n in zip(begin, grid.shape, strict=True))
        if any(s.start < low or s.stop > high for s, low, high in zip(box, *at.limits.tolist(), strict=True)):
            return None
        with at.region.cache.use(at.region.key) if at.region.cache else nullcontext() as held:
            if not held:
                return None
            numbers, codes, _ = held
            found: Codes = codes[channel][numbers[box]]
            return found

    def bring_in(self, voxel_size: Triple) -> int:
        """Read all of the crop into the cache, at a voxel size; return its bytes, 0 if it is too large to be held."""
        region = self._levels_for(voxel_size).region
        return 0 if region is None else region.bring_in()

    def _levels_for(self, step: Triple) -> _LabelLevels:
        found = self._by_step.get(step)
        if found is None:
            found = self._by_step[step] = self._find_levels(step)
        return found

    def _find_levels(self, step: Triple) -> _LabelLevels:
        levels = {volume.path: volume.level_for(step) for volume in self._volumes}
        key = tuple(level.name for level in levels.values())
        found = self._found.get(key)
        if found is None:
            grid = next(iter(levels.values())).grid
            region = None
            if all(level.grid == grid for level in levels.values()):
                box = np.zeros(3, dtype=np.int64), np.array(grid.shape, dtype=np.int64)
                what = f"labels {self._volumes[0].path} {key} {self.classes} {sorted(self.excludes)}"
                region = HeldRegion(self.cache, what, box, 2, lambda b, e: self._pack(levels, b, e))
            found = self._found[key] = _LabelLevels(levels, grid, known_limits(grid, self._raw), region)
        return found

    def _ids_of(self, volume: Volume, level: Level) -> HeldRegion:
        key = f"ids {volume.path} {level.name}"
        found = self._ids.get(key)
        if found is None:
            stored = replace(level, array=level.array.array)
            box = np.zeros(3, dtype=np.int64), np.array(level.grid.shape, dtype=np.int64)
            size = np.dtype(stored.dtype).itemsize
            found = self._ids[key] = HeldRegion(
                self.cache, key, box, size, lambda b, e: (read_level_box(stored, b, e),)
            )
        return found

    def _pack(self, levels: Mapping[str, Level], begin: VoxelIndex, end: VoxelIndex) -> Arrays:
        """Return numbers, codes and values of a box; nothing where there are too many combinations."""
        shape = as_shape((end - begin).tolist())

        def read(volume: Volume) -> Codes:
            return read_level_box(levels[volume.path], begin, end)

        packed = pack_labels(combine_codes(self.crop, self.classes, shape, read, self.excludes), shape)
        return () if packed is None else (packed.numbers, packed.codes, packed.values)

    def _gather_codes(self, level: Level, patch_map: PatchMap, array: ArrayInfo) -> Codes:
        """Gather the codes of one volume by itself: classes of one crop may lie on different grids."""
        on, limits = LevelMap(patch_map, array, level.grid), known_limits(level.grid, self._raw)
        begin, end = covered_box(on, limits)
        codes = np.full((1, *array.shape), UNKNOWN, dtype=np.uint8)
        if np.all(begin < end):
            with passing_through():  # what is held is held as regions
                (values,) = read_only([read_level_box(level, begin, end)])
            _fill(on, limits, (values, begin), _CODE_TABLE, codes)
        gathered: Codes = codes[0]
        return gathered


def _fill_unknown(classes: int, out: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
    if out.dtype == np.uint16:
        out[...] = 0
        return np.full((classes, 1), np.nan, dtype=np.float32)
    out[...] = VALUES[UNKNOWN] if out.dtype == np.float32 else UNKNOWN
    return None


def _fill(
    on: LevelMap,
    limits: npt.NDArray[np.float64],
    box: tuple[npt.NDArray[Any], VoxelIndex],
    table: npt.NDArray[Any],
    out: npt.NDArray[Any],
) -> None:
    """Fill a patch, shape (C, z, y, x), from a box of numbers and where it begins; unknown is the table's last."""
    from csc_data.loader.sources.gathering.labels import label_along_axes, label_turned

    numbers, begin = box
    if on.positions is not None:
        steps = nearest_steps(on, limits, begin, numbers.shape)
        label_along_axes(numbers.reshape(-1), steps, np.array(out.shape[1:], dtype=np.int64), table, out)
        return
    limits = np.stack([np.maximum(limits[0], begin), np.minimum(limits[1], begin + numbers.shape)])
    label_turned(numbers, begin, limits, on.m, on.t, on.displacement, on.place, table, out)
