"""One crop as a `CellMapDataset`: drawn samples for training, tiles for validation."""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from cellmap_data import CellMapDataset, CellMapImage, EmptyImage

from csc_data.errors import InvalidArgumentError
from csc_data.loader.patches.reader import Sample
from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.patches.value_transforms import ValueTransforms
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.spatial import SpatialTransforms
from csc_data.loader.sampling.counts import CropCounts

if TYPE_CHECKING:
    from typing import Self

AXES = ("z", "y", "x")
AxisRanges = dict[str, tuple[float, float]]


class Annotation(CellMapImage):  # type: ignore[misc]  # cellmap-data has no type hints that mypy could read
    """A class in a crop: where it is, and how much of it; cellmap-data's counting would write to the annotation."""

    def __init__(self, path: str, class_name: str, target: ArrayInfo, crop: CropDataset) -> None:
        super().__init__(path, class_name, target.scale, target.shape, pad=True)
        self.crop = crop

    @property
    def class_counts(self) -> dict[str, int]:
        """Voxels present, at the voxel size of the targets."""
        return {self.label_class: self.crop.class_counts["totals"][self.label_class]}

    @property
    def total_voxels(self) -> int:
        """Voxels known, at the voxel size of the targets."""
        total: int = self.crop.class_counts["totals_total"][self.label_class]
        return total


class CropDataset(CellMapDataset):  # type: ignore[misc]
    """One crop of a reader; see `DrawnCrop` and `TiledCrop`.

    Attributes
    ----------
    patches : TrainingPatches or ValidationPatches
        Its own copy, so that setting transforms changes this crop only; what is cached is shared.
    crop : int
        Number of the crop in the reader.
    classes, input_arrays, target_arrays, raw_path, target_path, input_sources, target_sources
        As in cellmap-data. The sources name files and counts; samples are not read through them.
    """

    def __init__(
        self,
        patches: TrainingPatches | ValidationPatches,
        crop: int,
        *,
        length: int,
        count: Callable[[int], CropCounts],
    ) -> None:
        # CellMapDataset.__init__ is not called: it opens files with its own reader, which knows neither S3 nor groups.
        reader = patches.reader
        source = reader.crops[crop]
        self.patches: Any = copy.copy(patches)
        self.crop = crop
        self.classes = list(reader.classes)
        self.input_arrays = {name: _spec(array) for name, array in reader.inputs.items()}
        self.target_arrays = {name: _spec(array) for name, array in reader.targets.items()}
        self.pad = True
        self.spatial_transforms_config: Any = None
        self.raw_value_transforms: Any = self.patches.values.raw
        self.target_value_transforms: Any = self.patches.values.target
        self.class_relation_dict = None
        self.force_has_data = False
        self._length = length
        self._count = count
        self._rng = np.random.default_rng()  # CellMapDataLoader replaces it by a seeded one, another in each worker

        annotated = [name for name in self.classes if name in source.labels]
        folder = posixpath.dirname(next(iter(source.labels.values()))[0].path)
        self.raw_path = source.raw.path
        self.target_path = f"{folder}/[{','.join(annotated)}]"
        self.input_sources = {
            name: CellMapImage(source.raw.path, name, array.scale, array.shape, pad=True)
            for name, array in reader.inputs.items()
        }
        target = reader.patch.target
        self.target_sources = {
            name: Annotation(source.labels[name][0].path, name, target, self)
            if name in source.labels
            else EmptyImage(f"{folder}/{name}", name, target.scale, target.shape)
            for name in self.classes
        }

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, idx: int) -> dict[str, torch.Tensor]:
        index = int(idx)
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        sample = {name: torch.from_numpy(values) for name, values in self._sample(index).items()}
        return {"idx": torch.tensor(index), **sample}

    def _sample(self, index: int) -> Sample:
        raise NotImplementedError

    @property
    def bounding_box(self) -> AxisRanges:
        """The annotated box in nm, from the outer face of the first voxel to that of the last."""
        bounds = self.patches.reader.crops[self.crop].bounds
        return dict(zip(AXES, zip(bounds.begin, bounds.end, strict=True), strict=True))

    @property
    def sampling_box(self) -> AxisRanges:
        """Where the centre of an upright patch lies; the middle of the crop where the patch is larger."""
        extent = dict(zip(AXES, self.patches.reader.patch.target.extent, strict=True))
        box = {}
        for axis, (begin, end) in self.bounding_box.items():
            middle, half = (begin + end) / 2, extent[axis] / 2
            box[axis] = (min(begin + half, middle), max(end - half, middle))
        return box

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """Voxels of each class at the voxel size of the targets: ``totals`` present, ``totals_total`` known."""
        counts = self._count(self.crop)
        present = counts.present.sum(axis=1)
        return {
            "totals": {name: int(n) for name, n in zip(self.classes, present, strict=True)},
            "totals_total": {name: int(n) for name, n in zip(self.classes, counts.known, strict=True)},
        }

    def get_crop_class_matrix(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Tell for each class whether it is annotated, shape (1, C)."""
        labels = self.patches.reader.crops[self.crop].labels
        return np.array([[name in labels for name in self.classes]])

    def set_raw_value_transforms(self, transforms: Callable[..., Any] | None) -> None:
        """Set what is applied to raw, see `csc_data.loader.patches.value_transforms`."""
        self._set_values(transforms, self.target_value_transforms)

    def set_target_value_transforms(
        self, transforms: Callable[..., Any] | Mapping[str, Callable[..., Any]] | None
    ) -> None:
        """Set what is applied to each class."""
        self._set_values(self.raw_value_transforms, transforms)

    def _set_values(self, raw: Any, target: Any) -> None:
        self.patches.values = ValueTransforms(raw=raw, target=target, classes=self.classes)
        self.raw_value_transforms, self.target_value_transforms = raw, target

    def to(self, device: str | torch.device) -> Self:
        """Return itself: samples are made on the CPU, as cellmap-data's are."""
        return self

    def __repr__(self) -> str:
        name = self.patches.reader.crops[self.crop].name
        return f"{type(self).__name__}({name!r}, classes={self.classes}, len={len(self)})"


class DrawnCrop(CropDataset):
    """Training samples of a crop.

    An index does not stand for a place: each access draws a sample anew, a place and what is done to it, from the
    state that cellmap-data's loader seeds. So an epoch brings new samples, whatever the sampler repeats.
    """

    patches: TrainingPatches

    def _sample(self, index: int) -> Sample:
        return self.patches.draw_from(self.crop, int(self._rng.integers(2**62)))

    def get_indices(self, chunk_size: Mapping[str, float]) -> list[int]:
        """Return as many indices as chunks of a size in nm cover the crop."""
        counts = [max(1, -(-(end - begin) // chunk_size[axis])) for axis, (begin, end) in self.bounding_box.items()]
        return list(range(min(len(self), int(np.prod(counts)))))

    def set_spatial_transforms(self, transforms: Mapping[str, Any] | SpatialTransforms | None) -> None:
        """Set how samples are turned, see `SpatialTransforms.parse`."""
        parsed = SpatialTransforms.parse(transforms)
        self.patches.transforms = parsed.for_shape(self.patches.reader.patch.input.shape)
        self.spatial_transforms_config = transforms


class TiledCrop(CropDataset):
    """Validation tiles of a crop: an index stands for a tile."""

    patches: ValidationPatches

    def __init__(
        self, patches: ValidationPatches, crop: int, *, first: int, length: int, count: Callable[[int], CropCounts]
    ) -> None:
        super().__init__(patches, crop, length=length, count=count)
        self.first = first

    def _sample(self, index: int) -> Sample:
        return self.patches.tile(self.first + index)

    def get_indices(self, chunk_size: Mapping[str, float]) -> list[int]:
        """Return all tiles.

        Raises
        ------
        InvalidArgumentError
            If the chunks are not as large as the tiles.
        """
        tile = dict(zip(AXES, self.patches.reader.patch.target.extent, strict=True))
        if not all(np.isclose(chunk_size.get(axis, extent), extent) for axis, extent in tile.items()):
            raise InvalidArgumentError(f"tiles are {tile} nm large, got chunks of {dict(chunk_size)}")
        return list(range(len(self)))

    def set_spatial_transforms(self, transforms: Mapping[str, Any] | SpatialTransforms | None) -> None:
        """Accept None.

        Raises
        ------
        InvalidArgumentError
            If it is anything else: validation is never transformed.
        """
        if SpatialTransforms.parse(transforms) != SpatialTransforms():
            raise InvalidArgumentError("validation is never transformed")


def _spec(info: ArrayInfo) -> dict[str, Sequence[float]]:
    return {"shape": info.shape, "scale": info.scale}
