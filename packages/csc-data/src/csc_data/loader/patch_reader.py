"""Reads the raw and the targets of patches, at any place and pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.encoding import Codes
from csc_data.errors import MissingDataError
from csc_data.geometry import Grid
from csc_data.loader.annotations import AnnotatedCrop
from csc_data.loader.cache import VolumeCache
from csc_data.loader.patch_map import PatchMap
from csc_data.loader.placement import PatchShape
from csc_data.loader.raw import DEFAULT_RANGE, lookup_table, read_raw, scale_raw
from csc_data.loader.regions import RegionCache
from csc_data.loader.sources import LabelSource, RawSource
from csc_data.loader.spatial import Orientation
from csc_data.loader.targets import as_target, exclusions, read_codes
from csc_data.volumes import Volume

Sample = dict[str, npt.NDArray[np.float32]]
"""``{"input": (1, z, y, x), "output": (C, z, y, x)}``, float32; flat patches without their z axis."""

UPRIGHT = Orientation()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchReader:
    """Reads the raw and the targets of patches.

    Attributes
    ----------
    crops : tuple of AnnotatedCrop
    classes : tuple of str
        The channels of the targets.
    patch : PatchShape
    raw_range : pair of float
        See `scale_raw`.
    excludes : mapping
        See `read_codes`; empty to leave unknown what other classes exclude.
    cache : VolumeCache
        Holds what tiles of validation are read from.
    regions : RegionCache
        Holds what turned patches are gathered from.
    """

    crops: tuple[AnnotatedCrop, ...]
    classes: tuple[str, ...]
    patch: PatchShape
    raw_range: tuple[float, float] = DEFAULT_RANGE
    excludes: Mapping[str, tuple[int, ...]]
    cache: VolumeCache
    regions: RegionCache
    _sources: dict[int, tuple[RawSource, LabelSource]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def create(
        cls,
        crops: Sequence[AnnotatedCrop],
        classes: Sequence[str],
        patch: PatchShape,
        *,
        raw_range: tuple[float, float] = DEFAULT_RANGE,
        use_mutual_exclusion: bool = False,
        cache: VolumeCache | None = None,
        regions: RegionCache | None = None,
    ) -> PatchReader:
        """Make a reader.

        Raises
        ------
        MissingDataError
            If there are no crops.
        UnknownClassError
            If mutual exclusion is asked for a class that is not one of the challenge.
        """
        if not crops:
            raise MissingDataError(f"no crop has any of the classes {', '.join(classes)}")
        witnesses = list(dict.fromkeys(name for crop in crops for name in crop.labels))
        return cls(
            crops=tuple(crops),
            classes=tuple(classes),
            patch=patch,
            raw_range=raw_range,
            excludes=exclusions(classes, witnesses) if use_mutual_exclusion else {},
            cache=VolumeCache() if cache is None else cache,
            regions=RegionCache() if regions is None else regions,
        )

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        options = (self.crops, self.classes, self.patch, self.raw_range, self.excludes, self.cache, self.regions)
        return _rebuild, options  # type: ignore[return-value]  # sources belong to a process

    def lattice(self, crop: int, orientation: Orientation = UPRIGHT) -> Grid:
        """Return the lattice of a whole crop at the voxel size of the targets."""
        return self.patch.target_lattice(self.crops[crop].bounds, orientation)

    def codes(self, crop: int, grid: Grid) -> Codes:
        """Return what is known of each class at the voxels of a lattice, shape (C, z, y, x)."""
        source = self.crops[crop]

        def hold(volume: Volume) -> Volume:
            return self.cache.hold(volume, source.bounds, grid.voxel_size)

        return read_codes(source, self.classes, grid, excludes=self.excludes, hold=hold)

    def read(self, crop: int, target: Grid) -> Sample:
        """Return the sample whose target lies on a lattice, upright: bit for bit what prediction reads there."""
        source = self.crops[crop]
        given = self.patch.input_grid(target, UPRIGHT)
        raw = source.raw
        # Drawn patches stay in the first box, tiles of validation in the second; anything else is read as it is.
        for overhang in (False, True):
            reach = self.patch.reach(source.bounds, overhang=overhang)
            if reach.contains(given.bounds):
                raw = self.cache.hold(source.raw, reach, given.voxel_size)
                break
        intensities = scale_raw(read_raw(raw, given), self.raw_range)[np.newaxis]
        targets = as_target(self.codes(crop, target))
        return {
            "input": np.ascontiguousarray(intensities[:, 0] if self.patch.input.flat else intensities),
            "output": np.ascontiguousarray(targets[:, 0] if self.patch.target.flat else targets),
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array of a sample, with its channels first and z also where flat."""
        return {"input": (1, *self.patch.input.shape), "output": (len(self.classes), *self.patch.target.shape)}

    def squeezed(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch, of arrays or tensors, with flat patches less their z axis."""
        flat = {"input": self.patch.input.flat, "output": self.patch.target.flat}
        return {name: array[:, :, 0] if flat[name] else array for name, array in batch.items()}

    def sources(self, crop: int) -> tuple[RawSource, LabelSource]:
        """Return what turned patches of a crop are gathered from."""
        found = self._sources.get(crop)
        if found is None:
            source = self.crops[crop]
            reach = self.patch.reach(source.bounds, turned=True)
            found = (
                RawSource(source.raw, reach, self.regions),
                LabelSource(source, self.classes, self.excludes, self.regions),
            )
            self._sources[crop] = found
        return found

    def gather(self, crop: int, where: PatchMap, sample: Sample) -> None:
        """Fill a sample in place, at any pose.

        Parameters
        ----------
        crop : int
        where : PatchMap
        sample : dict
            Arrays of the shapes that `shapes` tells.

        Raises
        ------
        UnreadableDataError
            If a chunk cannot be read.
        """
        raw, labels = self.sources(crop)
        lookup = lookup_table(raw.dtype, self.raw_range)
        raw.gather(where, self.patch.input, lookup, sample["input"][0])
        if not len(lookup):
            sample["input"][...] = scale_raw(sample["input"], self.raw_range, stored=raw.dtype)
        labels.gather(where, self.patch.target, sample["output"])

    def sample(self, crop: int, where: PatchMap) -> Sample:
        """Return the sample at any pose; see `gather`."""
        sample = {name: np.empty(shape, dtype=np.float32) for name, shape in self.shapes().items()}
        self.gather(crop, where, sample)
        return {name: array[0] for name, array in self.squeezed({n: a[np.newaxis] for n, a in sample.items()}).items()}


def _rebuild(*options: object) -> PatchReader:
    names = ("crops", "classes", "patch", "raw_range", "excludes", "cache", "regions")
    return PatchReader(**dict(zip(names, options, strict=True)))  # type: ignore[arg-type]
