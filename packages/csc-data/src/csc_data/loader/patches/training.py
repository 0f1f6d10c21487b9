"""Samples drawn from crops for training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Triple
from csc_data.loader.intensity import IntensityTransforms
from csc_data.loader.patches.reader import PatchReader, Sample
from csc_data.loader.patches.value_transforms import ValueTransforms
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.poses.placement import draw_begin
from csc_data.loader.poses.spatial import Pose, SpatialTransforms
from csc_data.loader.sampling.count_cache import counts_key, find_counts, keep_counts
from csc_data.loader.sampling.counts import ClassCounts, CropCounts, count_classes, count_crop, find_voxel

_TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchPlace:
    """Where one sample comes from.

    Attributes
    ----------
    crop : int
        Its number in the reader.
    patch_map : PatchMap
    class_name : str or None
        The class of which the sample must hold a voxel; None for any place.
    """

    crop: int
    patch_map: PatchMap
    class_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is done to the samples of training.

    Attributes
    ----------
    spatial : SpatialTransforms
        How patches are turned, scaled and bent.
    intensity : IntensityTransforms
        What happens to raw.
    values : ValueTransforms
        What is done to each sample, last of all.
    """

    spatial: SpatialTransforms = field(default_factory=SpatialTransforms)
    intensity: IntensityTransforms = field(default_factory=IntensityTransforms)
    values: ValueTransforms = field(default_factory=ValueTransforms)


class TrainingPatches:
    """Samples drawn from crops; the sample of an index depends on the seed and the index alone.

    Parameters
    ----------
    reader : PatchReader
    augmentation : Augmentation, optional
        None by default: patches lie along the axes, as they are.
    seed : int
    foreground_share : float, optional
        Share of the samples that are to hold a voxel of a class, each class as often as the others and crops of a
        class alike; the others lie anywhere, all positions equally likely. By default that many as there are classes,
        and one for anywhere.

    Attributes
    ----------
    transforms : SpatialTransforms
    values : ValueTransforms
        Both may be set anew; they are read at each sample.
    """

    def __init__(
        self,
        reader: PatchReader,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        foreground_share: float | None = None,
    ) -> None:
        if foreground_share is not None and not 0 <= foreground_share <= 1:
            raise InvalidArgumentError(f"foreground_share must be from 0 to 1, got {foreground_share}")
        augmentation = augmentation or Augmentation()
        self.reader = reader
        self.transforms = augmentation.spatial.for_shape(reader.patch.input.shape)
        self.intensity = augmentation.intensity
        self.values = augmentation.values
        self.seed = seed
        channels = len(reader.classes)
        self.foreground_share = channels / (channels + 1) if foreground_share is None else foreground_share
        self._counts: dict[int, CropCounts] = {}
        sizes = np.array([reader.grid(crop).size for crop in range(len(reader.crops))], dtype=np.float64)
        self._ends = np.cumsum(sizes / sizes.sum())
        extents = [array.extent for array in (*reader.inputs.values(), *reader.targets.values())]
        self._extent: Triple = (max(e[0] for e in extents), max(e[1] for e in extents), max(e[2] for e in extents))
        self._annotating = [
            [crop for crop, source in enumerate(reader.crops) if name in source.labels] for name in reader.classes
        ]

    def __getitem__(self, index: int) -> Sample:
        return self._sample(np.random.default_rng([self.seed, index]), None)

    def draw_from(self, crop: int, number: int) -> Sample:
        """Return the sample of a number among those of one crop."""
        return self._sample(np.random.default_rng([self.seed, crop, number]), crop)

    def _sample(self, rng: np.random.Generator, crop: int | None) -> Sample:
        sample = {name: np.empty(shape, dtype=np.float32) for name, shape in self.shapes().items()}
        self._fill(rng, sample, crop)
        return self.reader.squeezed_sample(sample)

    def read_batch(self, indices: Sequence[int], batch: Sample) -> None:
        """Fill a batch in place; see `shapes` for its arrays."""
        for number, index in enumerate(indices):
            rng = np.random.default_rng([self.seed, index])
            self._fill(rng, {name: array[number] for name, array in batch.items()}, None)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array of a sample, with its channels first and z also where flat."""
        return self.reader.shapes()

    def squeezed(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch, of arrays or tensors, with flat patches less their z axis."""
        return self.reader.squeezed(batch)

    def _fill(self, rng: np.random.Generator, sample: Sample, crop: int | None) -> None:
        placed = self._place(rng, crop)
        self.reader.gather(placed.crop, placed.patch_map, sample, self.intensity.draw(rng) if self.intensity else None)
        if self.values:
            self.reader.apply(self.values, sample, rng)

    def place(self, index: int) -> PatchPlace:
        """Return where the sample of an index comes from, and how it lies there."""
        return self._place(np.random.default_rng([self.seed, index]), None)

    def _place(self, rng: np.random.Generator, crop: int | None) -> PatchPlace:
        pose = self.transforms.draw(rng, self.reader.patch.input.shape, self._extent)
        channel, crop, anchor = self._draw_anchor(rng, crop)
        if pose.linear is None:
            patch_map = self._along_axes(rng, crop, pose, anchor)
        else:
            patch_map = self._anywhere(rng, crop, pose, anchor)
        name = None if channel is None else self.reader.classes[channel]
        return PatchPlace(crop=crop, patch_map=patch_map, class_name=name)

    def _along_axes(
        self, rng: np.random.Generator, crop: int, pose: Pose, anchor_nm: npt.NDArray[np.float64] | None
    ) -> PatchMap:
        """Place a patch on whole voxels of the crop."""
        grid = self.reader.grid(crop, pose.orientation)
        anchor = None
        if anchor_nm is not None:
            z, y, x = (
                min(n - 1, max(0, int((p - b) // v)))
                for p, b, v, n in zip(anchor_nm, grid.bounds.begin, grid.voxel_size, grid.shape, strict=True)
            )
            anchor = (z, y, x)
        shape = self.reader.patch.target_shape(pose.orientation)
        begin = draw_begin(rng, grid, shape, anchor)
        voxel = np.asarray(grid.voxel_size)
        centre = np.asarray(grid.translation) + (np.asarray(begin) + (np.asarray(shape) - 1) / 2) * voxel
        return PatchMap(centre=centre, linear=pose.matrix, displacement=pose.displacement)

    def _anywhere(
        self, rng: np.random.Generator, crop: int, pose: Pose, anchor: npt.NDArray[np.float64] | None
    ) -> PatchMap:
        """Place a turned patch so that it would lie in the crop if it were not turned, and holds the anchor."""
        target = self.reader.patch.target
        bounds = self.reader.crops[crop].bounds
        half = np.asarray(pose.orientation.to_world(target.extent)) / 2
        begin, end = np.asarray(bounds.begin), np.asarray(bounds.end)
        low = np.minimum(begin + half, (begin + end) / 2)
        high = np.maximum(end - half, (begin + end) / 2)
        if anchor is None:
            return PatchMap(centre=rng.uniform(low, high), linear=pose.matrix, displacement=pose.displacement)
        for _ in range(_TRIES):
            offset = rng.uniform(-0.5, 0.5, 3) * target.extent
            centre = np.clip(anchor - pose.matrix @ offset, low, high)
            patch_map = PatchMap(centre=centre, linear=pose.matrix, displacement=pose.displacement)
            if patch_map.holds(anchor, target):
                return patch_map
        # The voxel is in a corner of the crop: only a patch that reaches beyond the crop can hold it.
        offset = rng.uniform(-0.5, 0.5, 3) * target.extent
        return PatchMap(centre=anchor - pose.matrix @ offset, linear=pose.matrix, displacement=pose.displacement)

    def _draw_anchor(
        self, rng: np.random.Generator, only: int | None
    ) -> tuple[int | None, int, npt.NDArray[np.float64] | None]:
        """Draw a class, a crop, and the nm position of a voxel that the patch must hold; None for any."""
        if rng.random() < self.foreground_share:
            # Classes in a random order until a crop has one: absent classes must not lower the foreground share.
            for channel in rng.permutation(len(self._annotating)).tolist():
                annotating = self._annotating[channel]
                candidates = annotating if only is None else [only] * (only in annotating)
                for number in rng.permutation(len(candidates)).tolist():
                    crop = candidates[number]
                    counts = self.counts(crop)
                    total = int(counts.present[channel].sum())
                    if total:
                        look = self.reader.sources(crop)[1].read_class
                        voxel = find_voxel(look, counts, channel, int(rng.integers(total)))
                        grid = counts.grid
                        position = np.asarray(grid.translation) + np.asarray(voxel) * np.asarray(grid.voxel_size)
                        return channel, crop, position
        if only is not None:
            return None, only, None
        return None, int(np.searchsorted(self._ends, rng.random() * self._ends[-1], side="right")), None

    def counts(self, crop: int) -> CropCounts:
        """Return the counts of a crop; it is read the first time, unless the user's cache knows them."""
        if crop not in self._counts:
            source, grid = self.reader.crops[crop], self.reader.grid(crop)
            key = counts_key(source, self.reader.classes, self.reader.excludes, grid)
            counts = find_counts(key, grid)
            if counts is None:
                counts = count_crop(self.reader.sources(crop)[1].read, grid)
                keep_counts(key, counts)
            self._counts[crop] = counts
        return self._counts[crop]

    def class_counts(self) -> ClassCounts:
        """Return the counts of all crops together; those not counted yet are read, several at once."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            counts = list(pool.map(self.counts, range(len(self.reader.crops))))
        return count_classes(counts, self.reader.classes)

    def class_weights(self) -> dict[str, float]:
        """Return for each class how many voxels are known for each one that is present; 1 where none is."""
        counts = self.class_counts()
        return {name: counts.known[name] / present if present else 1.0 for name, present in counts.present.items()}
