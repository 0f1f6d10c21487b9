"""Samples drawn from crops for training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.geometry import Triple
from csc_data.loader.intensity import DrawnIntensity, IntensityTransforms
from csc_data.loader.patches.reader import PatchReader, Sample
from csc_data.loader.patches.value_transforms import ValueTransforms
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.poses.placement import draw_begin
from csc_data.loader.poses.reach import nearest_centre
from csc_data.loader.poses.spatial import Pose, SpatialTransforms
from csc_data.loader.sampling.drawing import AnchorDraws, Visit
from csc_data.loader.sampling.read_ahead import ReadAhead
from csc_data.loader.sampling.visits import VISITS_AT_ONCE, Visits, samples_a_visit

DrawVisit = Callable[[np.random.Generator], Visit]

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

    Samples that follow each other come from a few crops, see `csc_data.loader.sampling.visits`; the next ones are read
    while samples are made of these.

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
    draws : AnchorDraws
        Which crop, and which voxel of a class, a sample comes from; it knows how much of each class there is.
    """

    def __init__(
        self,
        reader: PatchReader,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        foreground_share: float | None = None,
    ) -> None:
        augmentation = augmentation or Augmentation()
        self.reader = reader
        self.transforms = augmentation.spatial.for_shape(reader.patch.input.shape)
        self.intensity = augmentation.intensity
        self.values = augmentation.values
        self.seed = seed
        self.draws = AnchorDraws(reader, foreground_share)
        self._visits = self._ahead = None
        if len(reader.crops) > VISITS_AT_ONCE:
            voxels = float(np.mean([reader.grid(crop).size for crop in range(len(reader.crops))]))
            samples = samples_a_visit(voxels, math.prod(reader.patch.target.shape))
            self._visits = Visits(self.draws, seed, samples)
            self._ahead = ReadAhead(self._visits, partial(_bring_in, reader, self.draws), reader.regions.max_bytes)
        extents = [array.extent for array in (*reader.inputs.values(), *reader.targets.values())]
        self._extent: Triple = (max(e[0] for e in extents), max(e[1] for e in extents), max(e[2] for e in extents))

    def __getitem__(self, index: int) -> Sample:
        self._read_ahead(index, index)
        return self._sample(np.random.default_rng([self.seed, index]), self._draw_of(index))

    def draw_from(self, crop: int, number: int) -> Sample:
        """Return the sample of a number among those of one crop."""
        return self._sample(np.random.default_rng([self.seed, crop, number]), partial(self.draws.draw_visit, only=crop))

    def _sample(self, rng: np.random.Generator, draw: DrawVisit) -> Sample:
        sample = {name: np.empty(shape, dtype=np.float32) for name, shape in self.shapes().items()}
        self._fill(rng, sample, draw)
        return self.reader.squeezed_sample(sample)

    def read_batch(self, indices: Sequence[int], batch: Sample) -> None:
        """Fill a batch in place; see `shapes` for its arrays."""
        if indices:
            self._read_ahead(indices[0], indices[-1])
        for number, index in enumerate(indices):
            rng = np.random.default_rng([self.seed, index])
            self._fill(rng, {name: array[number] for name, array in batch.items()}, self._draw_of(index))

    def drawn(self, indices: Sequence[int]) -> Iterator[tuple[PatchPlace, DrawnIntensity | None]]:
        """Yield where samples come from and what happens to their raw, for who reads them otherwise."""
        if indices:
            self._read_ahead(indices[0], indices[-1])
        for index in indices:
            rng = np.random.default_rng([self.seed, index])
            placed = self._place(rng, self._draw_of(index))
            yield placed, self.intensity.draw(rng) if self.intensity else None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array of a sample, with its channels first and z also where flat."""
        return self.reader.shapes()

    def squeezed(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch, of arrays or tensors, with flat patches less their z axis."""
        return self.reader.squeezed(batch)

    def _draw_of(self, index: int) -> DrawVisit:
        return self.draws.draw_visit if self._visits is None else partial(self._visits.draw, index=index)

    def _read_ahead(self, first: int, last: int) -> None:
        if self._visits is not None and self._ahead is not None:
            self._ahead.follow(range(self._visits.at_once(first).start, self._visits.at_once(last).stop))

    def _fill(self, rng: np.random.Generator, sample: Sample, draw: DrawVisit) -> None:
        placed = self._place(rng, draw)
        self.reader.gather(placed.crop, placed.patch_map, sample, self.intensity.draw(rng) if self.intensity else None)
        if self.values:
            self.reader.apply(self.values, sample, rng)

    def place(self, index: int) -> PatchPlace:
        """Return where the sample of an index comes from, and how it lies there."""
        return self._place(np.random.default_rng([self.seed, index]), self._draw_of(index))

    def _place(self, rng: np.random.Generator, draw: DrawVisit) -> PatchPlace:
        pose = self.transforms.draw(rng, self.reader.patch.input.shape, self._extent)
        visit = draw(rng)
        anchor = self.draws.draw_anchor(rng, visit)
        if pose.linear is None:
            patch_map = self._along_axes(rng, visit.crop, pose, anchor)
        else:
            patch_map = self._anywhere(rng, visit.crop, pose, anchor)
        name = None if visit.channel is None else self.reader.classes[visit.channel]
        return PatchPlace(crop=visit.crop, patch_map=patch_map, class_name=name)

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
        high = np.maximum(end - half, low)
        if anchor is None:
            return PatchMap(centre=rng.uniform(low, high), linear=pose.matrix, displacement=pose.displacement)
        for _ in range(_TRIES):
            offset = rng.uniform(-0.5, 0.5, 3) * target.extent
            centre = np.clip(anchor - pose.matrix @ offset, low, high)
            patch_map = PatchMap(centre=centre, linear=pose.matrix, displacement=pose.displacement)
            if patch_map.holds(anchor, target):
                return patch_map
        # The voxel is near a face of the crop: only a patch that reaches beyond the crop can hold it, just so far.
        centre = nearest_centre(anchor, np.clip(anchor, low, high), pose.matrix, target)
        return PatchMap(centre=centre, linear=pose.matrix, displacement=pose.displacement)


def _bring_in(reader: PatchReader, draws: AnchorDraws, crop: int) -> int:
    """Read what patches of a crop are drawn and cut from into the cache; return its bytes."""
    raw, labels = reader.sources(crop)
    targets = {array.scale for array in reader.targets.values()}
    if targets:
        draws.bring_in(crop)
    inputs = {array.scale for array in reader.inputs.values()}
    return sum(raw.bring_in(scale) for scale in inputs) + sum(labels.bring_in(scale) for scale in targets)
