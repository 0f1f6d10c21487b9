"""The raw of a crop, from which patches are gathered at any pose: by training, validation and prediction alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import MissingDataError
from csc_data.geometry import Grid, Roi
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.sources.holding.regions import HeldRegion, RegionCache
from csc_data.loader.sources.level_map import LevelMap, linear_steps, reflected_box
from csc_data.loader.sources.raw import DEFAULT_RANGE, lookup_table, scale_raw
from csc_data.loader.sources.stored_box import StoredBox
from csc_data.loader.sources.working_level import WorkingLevel, open_working_level
from csc_data.volumes import Volume

_AROUND = 4  # voxels around the reach, for interpolation


class RawSource:
    """The raw around a crop.

    The same place, upright, gives the same bits whoever asks, and whatever else is read. Beyond what is stored raw is
    mirrored at the outer faces of the outermost voxels.

    Parameters
    ----------
    volume : Volume
    crop : Roi
        nm; raw is taken to be stored there.
    reach : Roi, optional
        The box in nm that most patches lie in; the crop by default.
    cache : RegionCache, optional
        Holds what patches are gathered from; by default only the chunks are held that the process holds.
    cubic : bool
        Whether patches that are turned, scaled or bent are interpolated by cubics. Those that lie along the axes, as in
        prediction, are interpolated linearly.

    Raises
    ------
    MissingDataError
        If the crop lies beside the volume.
    """

    def __init__(
        self,
        volume: Volume,
        crop: Roi,
        reach: Roi | None = None,
        cache: RegionCache | None = None,
        *,
        cubic: bool = False,
    ) -> None:
        bounds = volume.levels[0].grid.bounds
        if crop.intersect(bounds).empty:
            raise MissingDataError(f"{volume.path} has no raw for {crop}: it ends at {bounds}")
        self.volume, self.crop, self.reach = volume, crop, crop if reach is None else reach
        self.cache = cache
        self.cubic = cubic
        self._levels: dict[tuple[float, ...], tuple[WorkingLevel, HeldRegion]] = {}

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the stored voxels."""
        return self.volume.levels[0].dtype

    def level_for(self, patch_map: PatchMap, array: ArrayInfo) -> WorkingLevel:
        """Return the level that a patch is read from."""
        return self._at(patch_map.nominal_steps(array))[0]

    def region_for(self, patch_map: PatchMap, array: ArrayInfo) -> HeldRegion:
        """Return what is held of that level, for who gathers elsewhere."""
        return self._at(patch_map.nominal_steps(array))[1]

    def gather(self, patch_map: PatchMap, array: ArrayInfo, lookup: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        """Fill a patch, interpolated from the level that suits its nominal voxel size.

        Parameters
        ----------
        patch_map : PatchMap
        array : ArrayInfo
            The patch's voxels.
        lookup : ndarray
            What each stored value, rounded, becomes; empty to keep values.
        out : ndarray
            Shape ``array.shape``, type of the lookup.

        Raises
        ------
        UnreadableDataError
            If a chunk cannot be read.
        """
        from csc_data.loader.sources.gathering.raw import gather_along_axes, gather_turned

        level, region = self._at(patch_map.nominal_steps(array))
        on, faces = LevelMap(patch_map, array, level.grid), level.faces
        cubic = self.cubic and on.positions is None
        begin, end = reflected_box(*on.needed(1 if cubic else 0), faces)
        with region.part(begin, end) as ((data,), start):
            if on.positions is not None:
                steps, weights = linear_steps(on, faces, start, data.shape)
                shape = np.array(array.shape, dtype=np.int64)
                gather_along_axes(data.reshape(-1), steps, weights, shape, lookup, out)
            else:
                gather_turned(data, start, faces, on.m, on.t, on.displacement, on.place, lookup, cubic, out)

    def read(
        self,
        grid: Grid,
        raw_range: tuple[float, float] = DEFAULT_RANGE,
        *,
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return raw at the voxels of a grid, scaled as a network takes it; shape ``grid.shape``.

        Parameters
        ----------
        grid : Grid
        raw_range : pair of float
            What the ends of the stored type's range become.
        out : ndarray, optional
            Contiguous, where to write it.

        Raises
        ------
        UnreadableDataError
            If a chunk cannot be read.
        """
        patch_map, array = PatchMap.upright(grid)
        if out is None:
            out = np.empty(grid.shape, dtype=np.float32)
        lookup = lookup_table(self.dtype, raw_range)
        self.gather(patch_map, array, lookup, out)
        if not len(lookup):
            out[...] = scale_raw(out, raw_range, stored=self.dtype)
        return out

    def stored_box(self, array: ArrayInfo) -> StoredBox:
        """Return where raw is stored that upright patches need."""
        return self._at(array.scale)[0].stored

    def bring_in(self, voxel_size: tuple[float, float, float]) -> int:
        """Read all of the reach into the cache, at a voxel size; return its bytes, 0 if it is too large to be held."""
        return self._at(voxel_size)[1].bring_in()

    def _at(self, steps: tuple[float, float, float]) -> tuple[WorkingLevel, HeldRegion]:
        found = self._levels.get(steps)
        if found is None:
            level = open_working_level(self.volume, steps, self.crop, self.reach)
            begin, window = level.grid.window_covering(self.reach)
            low = np.asarray(begin, dtype=np.int64)
            box = reflected_box(low - _AROUND, low + window.shape + _AROUND, level.faces)
            key = f"raw {self.volume.path} {level.name} {level.faces.tolist()}"
            region = HeldRegion(self.cache, key, box, level.dtype.itemsize, lambda b, e: (level.read(b, e),))
            found = self._levels[steps] = level, region
        return found
