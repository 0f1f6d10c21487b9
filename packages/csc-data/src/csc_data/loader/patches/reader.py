"""Reads the raw and the targets of patches, at any place and pose."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.challenge.classes import ClassTable
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.geometry import Grid
from csc_data.loader.intensity import DrawnIntensity
from csc_data.loader.patches.value_transforms import ValueTransforms
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.poses.placement import PatchShape
from csc_data.loader.poses.reach import ROTATED, reach_beyond
from csc_data.loader.poses.spatial import Orientation, SpatialTransforms
from csc_data.loader.sources.codes import exclusions
from csc_data.loader.sources.holding.regions import RegionCache
from csc_data.loader.sources.label_source import LabelSource
from csc_data.loader.sources.raw import DEFAULT_RANGE, lookup_table, scale_raw
from csc_data.loader.sources.raw_source import RawSource
from csc_data.loader.targets import BinaryTarget, TargetKind, common_margin, compute_targets, parse_targets
from csc_data.splits.annotations import AnnotatedCrop

Sample = dict[str, npt.NDArray[np.float32]]
"""``{"input": (1, z, y, x), "output": (C, z, y, x)}``, float32; flat patches without their z axis."""

INPUT = "input"
"""Name of the first array of raw in batches."""

UPRIGHT = Orientation()
_FINEST = 0.01  # of a stored voxel: nobody reads as finely as that


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
    use_mutual_exclusion : bool
        Whether a voxel of a class is a known 0 of every class that excludes it.
    regions : RegionCache
        Holds what patches are gathered from.
    interpolation : {"linear", "cubic"}
        How raw is read where patches are turned, scaled or bent; upright it is always linear, as in prediction.
    overhang : bool
        Whether targets may hang over the end of a crop, as the tiles of validation do.
    spatial : SpatialTransforms
        What may be done to patches: how much raw around a crop is held, and looked for on the disk.
    kinds : mapping
        The kind of each target by its name in batches; the first is that of ``patch.target``, as are those that
        ``patch.further_targets`` does not name.
    excludes : mapping
        See `csc_data.loader.sources.codes.exclusions`; empty to leave unknown what other classes exclude.
    table : ClassTable or None
        Which classes there are, with the colours of one's own.

    Raises
    ------
    MissingDataError
        If there are no crops.
    InvalidArgumentError
        If patches are so much finer than raw that their voxel size cannot be meant in nm.
    UnknownClassError
        If mutual exclusion is asked for a class that is not one of the challenge.
    """

    crops: tuple[AnnotatedCrop, ...]
    classes: tuple[str, ...]
    patch: PatchShape
    raw_range: tuple[float, float] = DEFAULT_RANGE
    use_mutual_exclusion: bool = False
    regions: RegionCache = field(default_factory=RegionCache)
    interpolation: Literal["linear", "cubic"] = "linear"
    overhang: bool = False
    spatial: SpatialTransforms = ROTATED
    kinds: Mapping[str, TargetKind] = field(default_factory=lambda: parse_targets(None))
    table: ClassTable | None = None
    excludes: Mapping[str, tuple[int, ...]] = field(init=False)
    _sources: dict[int, tuple[RawSource, LabelSource]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.crops:
            raise MissingDataError(f"no crop has any of the classes {', '.join(self.classes)}")
        self._check_voxel_sizes()
        witnesses = list(dict.fromkeys(name for crop in self.crops for name in crop.labels))
        excludes = exclusions(self.classes, witnesses, self.crops[0].table) if self.use_mutual_exclusion else {}
        object.__setattr__(self, "excludes", excludes)

    def _check_voxel_sizes(self) -> None:
        for crop in self.crops:
            stored = crop.raw.levels[0].grid.voxel_size
            for name, array in {**self.inputs, **self.targets}.items():
                if any(wanted < _FINEST * there for wanted, there in zip(array.scale, stored, strict=True)):
                    raise InvalidArgumentError(
                        f"{name} has a scale of {array.scale}, and raw of {crop.name} has voxels of {stored} nm; a "
                        "scale is in nm: is this one in micrometres, or in metres?"
                    )

    def __reduce__(self) -> tuple[Callable[[], PatchReader], tuple[()]]:
        given = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.init}
        return partial(PatchReader, **given), ()  # sources belong to a process

    def grid(self, crop: int, orientation: Orientation = UPRIGHT) -> Grid:
        """Return the grid of a whole crop at the voxel size of the targets."""
        return self.patch.target_grid(self.crops[crop].bounds, orientation)

    @property
    def inputs(self) -> dict[str, ArrayInfo]:
        """The arrays of raw by their names in batches."""
        return {INPUT: self.patch.input, **self.patch.further_inputs}

    @property
    def targets(self) -> dict[str, ArrayInfo]:
        """The arrays of targets by their names in batches."""
        return {name: self.patch.further_targets.get(name, self.patch.target) for name in self.kinds}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array of a sample, with its channels first and z also where flat."""
        channels = {name: len(kind.channel_names(self.classes)) for name, kind in self.kinds.items()}
        return {name: (channels.get(name, 1), *array.shape) for name, array in {**self.inputs, **self.targets}.items()}

    def squeezed(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch, of arrays or tensors, with flat patches less their z axis."""
        arrays = {**self.inputs, **self.targets}
        return {name: array[:, :, 0] if arrays[name].flat else array for name, array in batch.items()}

    def apply(self, values: ValueTransforms, sample: Sample, rng: np.random.Generator) -> None:
        """Apply value transforms to a sample of the shapes that `shapes` tells, in place."""
        squeezed = self.squeezed_sample(sample)
        binary = [name for name, kind in self.kinds.items() if isinstance(kind, BinaryTarget)]
        values.apply([squeezed[name] for name in self.inputs], [squeezed[name] for name in binary], self.classes, rng)

    def squeezed_sample(self, sample: Sample) -> Sample:
        """Return a sample with flat patches less their z axis."""
        return {name: a[0] for name, a in self.squeezed({name: a[np.newaxis] for name, a in sample.items()}).items()}

    def sources(self, crop: int) -> tuple[RawSource, LabelSource]:
        """Return what turned patches of a crop are gathered from."""
        found = self._sources.get(crop)
        if found is None:
            source = self.crops[crop]
            reach = source.bounds.grow(
                reach_beyond(self.patch, self.spatial, source.bounds.extent, overhang=self.overhang)
            )
            found = (
                RawSource(source.raw, source.bounds, reach, self.regions, cubic=self.interpolation == "cubic"),
                LabelSource(source, self.classes, self.excludes, self.regions),
            )
            self._sources[crop] = found
        return found

    def raw_gaps(self) -> list[str]:
        """Say where raw is not stored that patches can reach, or that crops hold; nothing where there is none.

        Without targets crops are what is stored.
        """
        if not self.kinds:
            return []
        boxes = [
            [self.sources(crop)[0].stored_box(array) for array in self.inputs.values()]
            for crop in range(len(self.crops))
        ]
        cut = sum(any(box.is_cut for box in found) for found in boxes)
        lines = []
        if cut:
            lines.append(
                f"raw ends before patches do around {cut} of {len(boxes)} crops, and is mirrored there; to have it: "
                f"csc fetch-data --raw-padding auto --config CONFIG, with the experiment file as CONFIG"
            )
        empty = [(crop.name, box) for crop, found in zip(self.crops, boxes, strict=True) for box in found if box.empty]
        if empty:
            name, box = empty[0]
            lines.append(
                f"raw of {len({name for name, _ in empty})} of {len(boxes)} crops has chunks that are not stored, and "
                f"is empty there: {name} lacks {box.empty} of {box.chunks}; csc verify-data tells "
                f"whether they were to be fetched"
            )
        return lines

    def gather(self, crop: int, patch_map: PatchMap, sample: Sample, intensity: DrawnIntensity | None = None) -> None:
        """Fill a sample in place, at any pose.

        Parameters
        ----------
        crop : int
        patch_map : PatchMap
        sample : dict
            Arrays of the shapes that `shapes` tells; those of some names are enough.
        intensity : DrawnIntensity, optional
            What happens to raw before it is scaled.

        Raises
        ------
        UnreadableDataError
            If a chunk cannot be read.
        """
        raw, labels = self.sources(crop)
        for name, array in self.inputs.items():
            if name in sample:
                self._gather_raw(raw, patch_map, array, sample[name][0], intensity)
        wanted = {name: array for name, array in self.targets.items() if name in sample}
        for array in dict.fromkeys(wanted.values()):
            names = [name for name, own in wanted.items() if own == array]
            if len(names) == 1 and isinstance(self.kinds[names[0]], BinaryTarget):
                labels.gather(patch_map, array, sample[names[0]])
            else:
                self._gather_kinds(labels, patch_map, array, {name: sample[name] for name in names})

    @property
    def stored_type(self) -> np.dtype[Any] | None:
        """The type in which raw of all crops is stored, if it is one of small unsigned integers."""
        types = {crop.raw.levels[0].dtype for crop in self.crops}
        return types.pop() if types in ({np.dtype(np.uint8)}, {np.dtype(np.uint16)}) else None

    def gather_stored(self, crop: int, patch_map: PatchMap, name: str, out: npt.NDArray[Any]) -> None:
        """Fill an array of raw with stored values, not scaled; see `stored_type`."""
        self.sources(crop)[0].gather(patch_map, self.inputs[name], _same(out.dtype), out)

    def gather_numbers(
        self, crop: int, patch_map: PatchMap, name: str, out: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.float32]:
        """Fill a binary target with numbers of combinations of classes and return what they are, float32 (C, P)."""
        values = self.sources(crop)[1].gather(patch_map, self.targets[name], out[np.newaxis])
        assert values is not None
        return values

    def _gather_raw(
        self,
        source: RawSource,
        patch_map: PatchMap,
        array: ArrayInfo,
        out: npt.NDArray[np.float32],
        intensity: DrawnIntensity | None,
    ) -> None:
        if intensity is None:
            lookup = lookup_table(source.dtype, self.raw_range)
            source.gather(patch_map, array, lookup, out)
            if not len(lookup):
                out[...] = scale_raw(out, self.raw_range, stored=source.dtype)
            return
        lookup = lookup_table(source.dtype, DEFAULT_RANGE)
        source.gather(patch_map, array, lookup, out)
        if not len(lookup):
            out[...] = scale_raw(out, stored=source.dtype)
        changed = intensity.apply(out, patch_map.voxel_size(array))
        low, high = self.raw_range
        np.multiply(changed, np.float32(high - low), out=out)
        if low:
            out += np.float32(low)

    def _gather_kinds(self, labels: LabelSource, patch_map: PatchMap, array: ArrayInfo, out: Sample) -> None:
        """Fill targets that are computed from what lies around the patch, too."""
        kinds = {name: self.kinds[name] for name in out}
        voxel_size = patch_map.voxel_size(array)
        margin = common_margin(kinds, voxel_size)
        z, y, x = (n + 2 * m for n, m in zip(array.shape, margin, strict=True))
        around = ArrayInfo(shape=(z, y, x), scale=array.scale)
        codes = np.empty((len(self.classes), z, y, x), dtype=np.uint8)
        labels.gather(patch_map, around, codes)
        ids = labels.gather_ids(patch_map, around) if any(kind.needs_ids for kind in kinds.values()) else None
        compute_targets(kinds, codes, ids, voxel_size, out=out)

    def sample(self, crop: int, patch_map: PatchMap, intensity: DrawnIntensity | None = None) -> Sample:
        """Return the sample at any pose; see `gather`."""
        sample = {name: np.empty(shape, dtype=np.float32) for name, shape in self.shapes().items()}
        self.gather(crop, patch_map, sample, intensity)
        return self.squeezed_sample(sample)


@functools.cache
def _same(dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
