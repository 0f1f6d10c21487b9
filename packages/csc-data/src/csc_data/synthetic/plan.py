"""What a synthetic challenge holds: data sets, their volumes, and the crops that are annotated or tested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from csc_data.challenge import get_class
from csc_data.errors import InvalidArgumentError, Problem, ProblemsError
from csc_data.geometry import Grid, Shape, Triple
from csc_data.synthetic.tissue.anatomy import Anatomy

TESTED_CLASSES = ("mito_mem", "mito_lum", "ves_mem", "ves_lum", "ld_lum", "er_mem", "ves", "mito")
"""Classes that are scored in the test crops unless others are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticCrop:
    """A box of a volume that is annotated (to train on) or tested.

    Attributes
    ----------
    id : int
        Unique over the data sets.
    begin, shape : tuple of int
        First voxel and size in voxels of the raw volume's finest level, z, y, x.
    tested : bool
        Whether its truth is kept for scoring instead of being given to train on.
    omitted : tuple of str
        Classes that nobody annotated in it.
    """

    id: int
    begin: Shape
    shape: Shape
    tested: bool = False
    omitted: tuple[str, ...] = ()

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box in the volume."""
        z, y, x = (slice(b, b + n) for b, n in zip(self.begin, self.shape, strict=True))
        return z, y, x

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"crop{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticDataset:
    """A data set: one raw volume and its crops.

    Attributes
    ----------
    name : str
        Name of the folder and of the zarr in it.
    grid : Grid
        Grid of the raw volume's finest level, in nm.
    crops : tuple of SyntheticCrop
        Inside the volume.
    """

    name: str
    grid: Grid
    crops: tuple[SyntheticCrop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengePlan:
    """What a synthetic challenge holds, checked when it is made.

    Attributes
    ----------
    datasets : tuple of SyntheticDataset
    tested_classes : tuple of str
        Classes that are scored in the test crops.
    masks : bool
        Whether the truth also gets a ``{class}_mask`` array for each class, all ones.
    anatomy : Anatomy
        Sizes and numbers of organelles.

    Raises
    ------
    ProblemsError
        If crops do not lie in their volumes, or ids are not unique; with all that is wrong.
    InvalidArgumentError
        If no class is tested.
    UnknownClassError
        If a class does not exist.
    """

    datasets: tuple[SyntheticDataset, ...]
    tested_classes: tuple[str, ...] = TESTED_CLASSES
    masks: bool = False
    anatomy: Anatomy = field(default_factory=Anatomy)

    def __post_init__(self) -> None:
        if problems := list(_problems(self.datasets)):
            raise ProblemsError("plan of a synthetic challenge", problems)
        if not self.tested_classes:
            raise InvalidArgumentError("tested_classes is empty; name at least one class to score")
        omitted = [name for dataset in self.datasets for crop in dataset.crops for name in crop.omitted]
        for name in (*omitted, *self.tested_classes):
            get_class(name)


def _problems(datasets: Sequence[SyntheticDataset]) -> Iterator[Problem]:
    if not datasets:
        yield Problem(where="datasets", what="there is no data set")
    seen: set[int] = set()
    for dataset in datasets:
        for crop in dataset.crops:
            where = f"{dataset.name}, {crop.name}"
            if crop.id in seen:
                yield Problem(where=where, what="the id is that of another crop", remedy="number them anew")
            seen.add(crop.id)
            size, ends = dataset.grid.shape, tuple(part.stop for part in crop.slices)
            if min(crop.begin) < 0 or min(crop.shape) < 1 or any(e > n for e, n in zip(ends, size, strict=True)):
                what = f"voxels {crop.begin} to {ends} are not all in a volume of {size}"
                yield Problem(where=where, what=what, remedy="move or shrink the crop")


def default_plan(*, quick: bool = False) -> ChallengePlan:
    """Plan two data sets, an isotropic one of 8 nm and one of 5.24 x 4 x 4 nm, each with training and test crops.

    Parameters
    ----------
    quick : bool
        Smaller volumes, which take about a third of the time.
    """
    return ChallengePlan(datasets=_quick_datasets() if quick else _full_datasets())


def _full_datasets() -> tuple[SyntheticDataset, ...]:
    size = (112, 96, 112)
    crops = (
        SyntheticCrop(id=1, begin=(8, 8, 8), shape=size, omitted=("golgi", "golgi_mem", "golgi_lum")),
        SyntheticCrop(id=2, begin=(8, 104, 8), shape=size),
        SyntheticCrop(id=3, begin=(8, 8, 120), shape=size, omitted=("mt", "mt_out", "mt_in")),
        SyntheticCrop(id=4, begin=(8, 104, 120), shape=size, omitted=("ecs", "pm")),
        SyntheticCrop(id=501, begin=(16, 40, 240), shape=(96, 128, 120), tested=True),
    )
    fine = (144, 176, 160)
    fine_crops = (
        SyntheticCrop(id=11, begin=(12, 8, 8), shape=fine),
        SyntheticCrop(
            id=12, begin=(12, 188, 12), shape=(144, 108, 160), omitted=("er", "er_mem", "er_lum", "er_mem_all")
        ),
        SyntheticCrop(id=502, begin=(12, 56, 184), shape=(144, 192, 192), tested=True),
    )
    return (
        _dataset("jrc_synth-1", (8.0, 8.0, 8.0), (4000.0, 12000.0, 8000.0), (128, 208, 368), crops),
        _dataset("jrc_synth-2", (5.24, 4.0, 4.0), (1572.0, 6400.0, 3200.0), (168, 304, 392), fine_crops),
    )


def _quick_datasets() -> tuple[SyntheticDataset, ...]:
    crops = (
        SyntheticCrop(id=1, begin=(8, 8, 8), shape=(64, 64, 64), omitted=("golgi", "golgi_mem", "golgi_lum")),
        SyntheticCrop(id=2, begin=(8, 72, 8), shape=(64, 64, 64), omitted=("ecs", "pm")),
        SyntheticCrop(id=501, begin=(8, 40, 88), shape=(64, 64, 64), tested=True),
    )
    fine_crops = (
        SyntheticCrop(id=11, begin=(8, 8, 8), shape=(80, 96, 96), omitted=("er", "er_mem", "er_lum", "er_mem_all")),
        SyntheticCrop(id=502, begin=(8, 24, 112), shape=(80, 96, 96), tested=True),
    )
    return (
        _dataset("jrc_synth-1", (8.0, 8.0, 8.0), (4000.0, 12000.0, 8000.0), (80, 144, 160), crops),
        _dataset("jrc_synth-2", (5.24, 4.0, 4.0), (1572.0, 6400.0, 3200.0), (96, 144, 216), fine_crops),
    )


def _dataset(
    name: str, voxel_size: Triple, translation: Triple, shape: Shape, crops: tuple[SyntheticCrop, ...]
) -> SyntheticDataset:
    return SyntheticDataset(
        name=name, grid=Grid(voxel_size=voxel_size, translation=translation, shape=shape), crops=crops
    )
