"""The facts that make up a fingerprint. Lengths are in nm, volumes in nm^3."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from csc_data.challenge import ClassTable, label_classes
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Triple

_SHARES = (5.0, 50.0, 75.0, 95.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Percentiles of a quantity."""

    p5: float
    median: float
    p75: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the percentiles of some values, of which there is at least one.

        >>> Spread.of([1, 2, 3]).median
        2.0
        """
        p5, median, p75, p95 = (float(value) for value in np.percentile(np.asarray(values, dtype=float), _SHARES))
        return cls(p5=p5, median=median, p75=p75, p95=p95)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFacts:
    """One class in the crops that train.

    Attributes
    ----------
    name : str
    crops, crops_present : int
        Crops in which somebody annotated it, and those of them that hold some of it.
    known_nm3, present_nm3 : float
        Volume in which it is known, and that it fills.
    objects : int
        Objects that were measured: instances where the annotation numbers them, else connected components.
    diameter_nm : Spread or None
        Of balls of the objects' volumes. What a crop cuts off is left out where enough is whole. None without objects.
    bulk_nm : float or None
        The diameter of the object that, with the smaller ones, makes half of the volume: specks do not count in it.
    thickness_nm : float or None
        Twice the distance from the surface that 95 % of its voxels stay below; the width of a membrane or tube.
    small_nm : float or None
        The diameter that one in ten of the whole objects of a crop stays below, in the crop where that is least; crumbs
        of a few voxels do not count. None without a crop that holds enough whole ones.
    instance : bool
        Whether it is scored as instances.
    """

    name: str
    crops: int
    crops_present: int
    known_nm3: float
    present_nm3: float
    objects: int
    diameter_nm: Spread | None
    bulk_nm: float | None
    thickness_nm: float | None
    small_nm: float | None = None
    instance: bool = False

    @property
    def share(self) -> float:
        """Share of what is known that it fills."""
        return self.present_nm3 / self.known_nm3 if self.known_nm3 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """One data set.

    Attributes
    ----------
    name : str
    crops : int
        Crops that train.
    annotated_nm3 : float
        Volume of these crops.
    raw_voxel_size, label_voxel_size : tuple of float
        Finest levels, nm, z, y, x; of labels those of most of the annotated volume.
    grey : Spread
        Raw values in the crops.
    """

    name: str
    crops: int
    annotated_nm3: float
    raw_voxel_size: Triple
    label_voxel_size: Triple
    grey: Spread

    @property
    def voxel_size(self) -> Triple:
        """The voxel size, nm, z, y, x, that both raw and labels have, or a finer one."""
        z, y, x = map(max, self.raw_voxel_size, self.label_voxel_size)
        return z, y, x


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What the crops of a datasplit are like.

    Attributes
    ----------
    classes : mapping
        By name, in the order asked for.
    datasets : tuple of DatasetFacts
    validation_crops : int
        Crops that validate; they are not looked at.
    crop_extent_nm : Spread
        The shortest edges of the crops that train.
    looked_at : str
        What was read to find this out, for people.
    table : ClassTable
        Which classes there are.
    """

    classes: Mapping[str, ClassFacts]
    datasets: tuple[DatasetFacts, ...]
    validation_crops: int
    crop_extent_nm: Spread
    looked_at: str
    table: ClassTable = field(default_factory=label_classes)

    @property
    def crops(self) -> int:
        """Crops that train."""
        return sum(dataset.crops for dataset in self.datasets)

    @property
    def annotated_nm3(self) -> float:
        """Volume of all crops that train."""
        return sum(dataset.annotated_nm3 for dataset in self.datasets)

    @property
    def native_voxel_size(self) -> Triple:
        """The voxel size, nm, z, y, x, that half of the annotated volume has, or a finer one.

        Along each axis the longer one of raw's and the annotation's: some are drawn on finer voxels than raw has.
        """
        reached = 0.0
        for dataset in sorted(self.datasets, key=lambda dataset: math.prod(dataset.voxel_size)):
            reached += dataset.annotated_nm3
            if reached >= self.annotated_nm3 / 2:
                break
        return dataset.voxel_size

    def of(self, names: Sequence[str]) -> tuple[ClassFacts, ...]:
        """Return the facts of some classes.

        Raises
        ------
        InvalidArgumentError
            If one was not looked at.
        """
        missing = [name for name in names if name not in self.classes]
        if missing:
            raise InvalidArgumentError(f"the fingerprint is not of {', '.join(missing)}; take it with these classes")
        return tuple(self.classes[name] for name in names)
