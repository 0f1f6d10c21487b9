"""Samples of annotated crops: drawn ones for training, tiles for validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.blocks import BlockGrid
from csc_data.encoding import Codes
from csc_data.errors import MissingDataError
from csc_data.geometry import Grid
from csc_data.loader.annotations import AnnotatedCrop
from csc_data.loader.cache import VolumeCache
from csc_data.loader.counts import ClassCounts, CropCounts, count_classes, count_crop, find_voxel
from csc_data.loader.placement import PatchShape, draw_begin
from csc_data.loader.raw import DEFAULT_RANGE, read_raw, scale_raw
from csc_data.loader.spatial import Orientation, SpatialTransforms
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
    """

    crops: tuple[AnnotatedCrop, ...]
    classes: tuple[str, ...]
    patch: PatchShape
    raw_range: tuple[float, float] = DEFAULT_RANGE
    excludes: Mapping[str, tuple[int, ...]]
    cache: VolumeCache

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
            cache=cache or VolumeCache(),
        )

    def lattice(self, crop: int, orientation: Orientation = UPRIGHT) -> Grid:
        """Return the lattice of a whole crop at the voxel size of the targets."""
        return self.patch.target_lattice(self.crops[crop].bounds, orientation)

    def codes(self, crop: int, grid: Grid) -> Codes:
        """Return what is known of each class at the voxels of a lattice, shape (C, z, y, x)."""
        source = self.crops[crop]

        def hold(volume: Volume) -> Volume:
            return self.cache.hold(volume, source.bounds, grid.voxel_size)

        return read_codes(source, self.classes, grid, excludes=dict(self.excludes), hold=hold)

    def read(self, crop: int, target: Grid, orientation: Orientation = UPRIGHT) -> Sample:
        """Return the sample whose target lies on a lattice (along the volume's axes), turned as asked."""
        source = self.crops[crop]
        given = self.patch.input_grid(target, orientation)
        raw = source.raw
        # Drawn patches stay in the first box, tiles of validation in the second; anything else is read as it is.
        for overhang in (False, True):
            reach = self.patch.reach(source.bounds, overhang=overhang)
            if reach.contains(given.bounds):
                raw = self.cache.hold(source.raw, reach, given.voxel_size)
                break
        intensities = scale_raw(orientation.turn(read_raw(raw, given)), self.raw_range)[np.newaxis]
        targets = as_target(orientation.turn(self.codes(crop, target)))
        return {
            "input": np.ascontiguousarray(intensities[:, 0] if self.patch.input.flat else intensities),
            "output": np.ascontiguousarray(targets[:, 0] if self.patch.target.flat else targets),
        }


class TrainingPatches:
    """Samples drawn from crops; the sample of an index depends on the seed and the index alone.

    Parameters
    ----------
    reader : PatchReader
    transforms : SpatialTransforms
    seed : int
    weighted : bool
        Each sample holds a voxel of a class, or of anything (as if that were one more class), each as often as the
        others, crops of a class alike. Otherwise all positions are equally likely.
    """

    def __init__(
        self, reader: PatchReader, transforms: SpatialTransforms, *, seed: int = 0, weighted: bool = True
    ) -> None:
        self.reader = reader
        self.transforms = transforms
        self.seed = seed
        self.weighted = weighted
        self._counts: dict[int, CropCounts] = {}
        sizes = np.array([reader.lattice(crop).size for crop in range(len(reader.crops))], dtype=np.float64)
        self._shares = sizes / sizes.sum()

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        orientation = self.transforms.draw(rng, self.reader.patch.target.shape)
        crop, anchor_nm = self._draw_anchor(rng)
        lattice = self.reader.lattice(crop, orientation)
        anchor = None
        if anchor_nm is not None:
            z, y, x = (
                min(n - 1, max(0, int((p - b) // v)))
                for p, b, v, n in zip(anchor_nm, lattice.bounds.begin, lattice.voxel_size, lattice.shape, strict=True)
            )
            anchor = (z, y, x)
        shape = self.reader.patch.target_shape(orientation)
        begin = draw_begin(rng, lattice, shape, anchor)
        return self.reader.read(crop, lattice.window(begin, shape), orientation)

    def _draw_anchor(self, rng: np.random.Generator) -> tuple[int, tuple[float, ...] | None]:
        """Draw a crop and the nm position of a voxel that the patch must hold; None for any position."""
        channels = len(self.reader.classes)
        channel = int(rng.integers(channels + 1)) if self.weighted else channels
        if channel < channels:
            for crop in map(int, rng.permutation(len(self.reader.crops))):
                if self.reader.classes[channel] not in self.reader.crops[crop].labels:
                    continue
                counts = self.counts(crop)
                total = int(counts.present[channel].sum())
                if total:
                    voxel = find_voxel(self._codes_of(crop), counts, channel, int(rng.integers(total)))
                    return crop, tuple(float(counts.lattice.centres(axis)[voxel[axis]]) for axis in range(3))
        return int(rng.choice(len(self._shares), p=self._shares)), None

    def _codes_of(self, crop: int) -> Any:
        return lambda grid: self.reader.codes(crop, grid)

    def counts(self, crop: int) -> CropCounts:
        """Return the counts of a crop; it is read the first time."""
        if crop not in self._counts:
            self._counts[crop] = count_crop(self._codes_of(crop), self.reader.lattice(crop))
        return self._counts[crop]

    def class_counts(self) -> ClassCounts:
        """Return the counts of all crops together; those not counted yet are read."""
        return count_classes([self.counts(crop) for crop in range(len(self.reader.crops))], self.reader.classes)


class ValidationPatches:
    """Tiles that cover the crops fully, each voxel once, in a fixed order.

    Tiles hang over the end of a crop where its size is no multiple of theirs; what is beyond is unknown.

    Parameters
    ----------
    reader : PatchReader
    shuffle_seed : int, optional
        Bring the tiles into a random, but fixed order, so that the first of them are a fair sample of all.
    """

    def __init__(self, reader: PatchReader, *, shuffle_seed: int | None = None) -> None:
        self.reader = reader
        self.shuffle_seed = shuffle_seed
        shape = reader.patch.target.shape
        self._tiles = [
            BlockGrid(shape=reader.lattice(crop).shape, block_shape=shape) for crop in range(len(reader.crops))
        ]
        self._ends = np.cumsum([len(tiles) for tiles in self._tiles])
        self._order = None
        if shuffle_seed is not None:
            self._order = np.random.default_rng(shuffle_seed).permutation(len(self))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        number = int(self._order[index]) if self._order is not None else index
        crop = int(np.searchsorted(self._ends, number, side="right"))
        tile = self._tiles[crop][number - (int(self._ends[crop - 1]) if crop else 0)]
        target = self.reader.lattice(crop).window(tile.begin, self.reader.patch.target.shape)
        return self.reader.read(crop, target)
