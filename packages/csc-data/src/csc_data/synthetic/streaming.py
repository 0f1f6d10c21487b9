"""A volume of tissue for pretraining on disk, made block by block, as the challenge's data lie there.

It is of the second tissue (`csc_data.synthetic.specimen`): whole nuclei, dense reticulum, ribosomes. The demo's tissue
(`csc_data.synthetic.tissue`) is another, and stays as it is.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block, BlockGrid, Execution, Existing, Ledger, Progress, prepare_output, run_blocks
from csc_data.challenge import get_class, get_tested_classes
from csc_data.errors import ExistingOutputError, Problem, ProblemsError
from csc_data.formats.writing import create_array, ensure_groups, open_array_for_writing, read_json, write_json
from csc_data.geometry import Grid, Shape, Triple, as_shape, as_triple
from csc_data.storage.room import check_room
from csc_data.synthetic.microscopes import Microscope, get_microscope
from csc_data.synthetic.scales import FACTOR, halve_tissue
from csc_data.synthetic.specimen.boxes import Box
from csc_data.synthetic.specimen.drawing import Specimen, choose_origin
from csc_data.synthetic.specimen.noise import derive
from csc_data.synthetic.tissue.growing import Tissue
from csc_data.volumes import downsampled_grid, grid_attributes, multiscale_attributes
from csc_data.volumes.annotation_attributes import annotation_type, class_attributes, crop_attributes
from csc_data.volumes.output import OutputStorage, create_output, open_output_array
from csc_data.volumes.pyramid import LevelBlock, level_grids

BLOCK: Shape = (64, 128, 128)
RAW_CHUNKS: Shape = (64, 64, 64)
LABEL_LEVELS = 2
LEAST_VOXELS = 16
VERSION = 1
"""Of the tissue: whatever changes its voxels makes this one more, so that a volume of before is not gone on with."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecimenVolume:
    """A volume to be made, checked when it is made up.

    Attributes
    ----------
    root : Path
        The data folder.
    dataset : str
        Name of its data set.
    shape : tuple of int
        Voxels, z, y, x.
    voxel_size : tuple of float
        nm.
    classes : tuple of str
        Classes of the challenge that are annotated. Where ``ribo`` is one, ribosomes are not cytosol.
    seed : int
        At least 0. The same seed, size and versions of numpy and scipy give the same bytes.
    microscope : str
        One of `MICROSCOPES`.

    Raises
    ------
    ProblemsError
        With all that cannot be.
    UnknownClassError
        If a class does not exist.

    Examples
    --------
    >>> volume = SpecimenVolume(root=Path("data"), shape=(128, 256, 300))
    >>> volume.crop_shape, len(volume.crops), len(volume.blocks)
    ((64, 256, 256), 4, 12)
    """

    root: Path
    shape: Shape
    dataset: str = "jrc_synth-pretraining"
    voxel_size: Triple = (8.0, 8.0, 8.0)
    classes: tuple[str, ...] = field(default_factory=get_tested_classes)
    seed: int = 0
    microscope: str = "enhanced-fibsem"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))
        object.__setattr__(self, "voxel_size", as_triple(self.voxel_size, "voxel_size"))
        problems = []
        if min(self.shape) < LEAST_VOXELS:
            problems.append(Problem(where="shape", what=f"{self.shape} is less than {LEAST_VOXELS} voxels on an axis"))
        if not 1 <= min(self.voxel_size) <= max(self.voxel_size) <= 64:
            problems.append(Problem(where="voxel_size", what=f"{self.voxel_size} nm is not between 1 and 64"))
        if self.seed < 0:
            problems.append(Problem(where="seed", what=f"{self.seed} is below 0"))
        if not _NAME.fullmatch(self.dataset):
            problems.append(Problem(where="dataset", what=f"{self.dataset!r} is not a name of a folder"))
        if problems:
            raise ProblemsError("synthetic volume", problems)
        get_microscope(self.microscope)
        for name in self.classes:
            get_class(name)

    @property
    def grid(self) -> Grid:
        """Of the raw volume's finest level."""
        return Grid(voxel_size=self.voxel_size, translation=(0.0, 0.0, 0.0), shape=self.shape)

    @property
    def parts(self) -> Shape:
        """How many crops there are along each axis: two, so that some train and some validate; one if it is short."""
        parts = [1 + (n > 2 * b) for n, b in zip(self.shape, BLOCK, strict=True)]
        if max(parts) == 1:
            parts[self.shape.index(max(self.shape))] = 2
        return as_shape(parts)

    @property
    def block_shape(self) -> Shape:
        """Voxels of a block; of a small volume each crop is one."""
        edges = [math.ceil(n / p) for n, p in zip(self.shape, self.parts, strict=True)]
        return as_shape([min(b, e + e % FACTOR) for b, e in zip(BLOCK, edges, strict=True)])

    @property
    def crop_shape(self) -> Shape:
        """Voxels of a crop, whole blocks; the last one of an axis may be smaller."""
        edges = [math.ceil(n / p) for n, p in zip(self.shape, self.parts, strict=True)]
        return as_shape([math.ceil(e / b) * b for e, b in zip(edges, self.block_shape, strict=True)])

    @property
    def crops(self) -> BlockGrid:
        """The annotated crops, which cover the volume; the first is ``crop1``."""
        return BlockGrid(shape=self.shape, block_shape=self.crop_shape)

    @property
    def blocks(self) -> BlockGrid:
        """What is made at a time."""
        return BlockGrid(shape=self.shape, block_shape=self.block_shape)

    @property
    def levels(self) -> list[Grid]:
        """Grids of the raw volume's levels, the coarsest of at most 64 voxels."""
        return level_grids(self.grid, 1 + max(0, (max(self.shape) - 1).bit_length() - 6))

    @property
    def bytes(self) -> int:
        """About how much it takes on the disk, at most: noise hardly packs, labels do."""
        voxels, ids = math.prod(self.shape), sum(1 + get_class(name).instance for name in self.classes)
        return int(voxels * 1.15) + voxels * ids // 60 + 4096 * len(self.crops) * (len(self.classes) + 1) * 4

    @property
    def folder(self) -> Path:
        """Of the data set."""
        return self.root / self.dataset

    @property
    def raw(self) -> Path:
        """The raw volume."""
        return self.folder / f"{self.dataset}.zarr" / "recon-1" / "em" / "fibsem-uint8"

    def crop_folder(self, index: int) -> Path:
        """Return where the labels of a crop lie."""
        return self.folder / f"{self.dataset}.zarr" / "recon-1" / "labels" / "groundtruth" / f"crop{index + 1}"

    def ledger(self, level: int) -> Ledger:
        """Return the record of a level's blocks."""
        work = {
            "tissue": f"specimen {VERSION}",
            "shape": self.shape,
            "voxel_size": self.voxel_size,
            "classes": list(self.classes),
            "seed": self.seed,
            "microscope": self.microscope,
            "level": level,
        }
        labels = [self.crop_folder(0).parent] if level == 0 else []
        return Ledger(self.folder / f".synthetic.s{level}.ledger", work, outputs=[self.raw / f"s{level}", *labels])


@functools.lru_cache(maxsize=4)
def _specimen(volume: SpecimenVolume) -> tuple[Specimen, Microscope]:
    origin = choose_origin(volume.seed, volume.shape, volume.voxel_size)
    specimen = Specimen(
        seed=volume.seed,
        shape=volume.shape,
        voxel_size=volume.voxel_size,
        origin=origin,
        ribosomes="ribo" in volume.classes,
    )
    return specimen, get_microscope(volume.microscope)


def draw_tissue(volume: SpecimenVolume, begin: tuple[int, int, int], shape: Shape) -> Tissue:
    """Make a box of a volume, in memory: the same voxels whatever box they are made in.

    Parameters
    ----------
    volume : SpecimenVolume
    begin, shape : tuple of int
        First voxel and size of the box.

    Returns
    -------
    Tissue
        Image, classes and objects of the box.

    Examples
    --------
    >>> volume = SpecimenVolume(root=Path("data"), shape=(64, 64, 64), seed=3)
    >>> draw_tissue(volume, (8, 0, 40), (4, 16, 16)).raw.shape
    (4, 16, 16)
    """
    specimen, microscope = _specimen(volume)
    box = Box(begin=begin, shape=shape, voxel_size=volume.voxel_size, origin=specimen.origin)
    margin = microscope.margin(box)
    canvas = specimen.draw(box.grown([a + b for a, b in zip(margin, specimen.margin, strict=True)]))
    known = tuple(slice(m, -m) for m in specimen.margin)
    raw = microscope.image(canvas.grey[known], box, derive(volume.seed, 6))
    inner = tuple(slice(a + b, -(a + b)) for a, b in zip(margin, specimen.margin, strict=True))
    return Tissue(
        voxel_size=volume.voxel_size,
        raw=raw,
        atoms=canvas.atoms[inner],
        objects=canvas.objects[inner],
        cells=canvas.cells[inner],
    )


def write_volume(
    volume: SpecimenVolume,
    *,
    existing: Existing = "resume",
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> bool:
    """Write a volume and its labels; return whether there was anything left to do.

    Parameters
    ----------
    volume : SpecimenVolume
    existing : {"resume", "refuse", "overwrite"}
        What to do with one that is there; one of other settings is never gone on with.
    execution : Execution, optional
        Where blocks are made; here, one by one, by default.
    progress : callable, optional
        Called with (blocks finished, all) of the finest level.

    Raises
    ------
    DiskFullError
        If there is no room, before anything is written.
    ExistingOutputError
        If there is a data set of that name which must not be changed.
    MissingBlocksError
        If a block could not be written.
    """
    ledgers = [volume.ledger(level) for level in range(len(volume.levels))]
    if existing == "resume" and all(ledger.read() and ledger.is_complete for ledger in ledgers):
        return False
    first = ledgers[0]
    if volume.folder.exists() and not first.path.exists() and any(volume.folder.iterdir()):
        raise ExistingOutputError(f"{volume.folder} holds other data; choose another name for the data set")
    if existing == "overwrite" or not first.path.exists():
        check_room("the volume takes about", volume.bytes, volume.root, "or choose another place or size")
    prepare_output(first, existing, lambda: _create(volume))
    for number, ledger in enumerate(ledgers[1:], start=1):
        again = existing if existing == "overwrite" else "resume"
        prepare_output(ledger, again, functools.partial(_create_level, volume, number))
    run_blocks(_VolumeBlock(volume=volume), volume.blocks, ledger=first, execution=execution, progress=progress)
    for number, ledger in enumerate(ledgers[1:], start=1):
        work = LevelBlock(folders=(volume.raw,), number=number, merging="mean")
        blocks = BlockGrid(shape=volume.levels[number].shape, block_shape=BLOCK)
        run_blocks(work, blocks, ledger=ledger, execution=execution)
    _write_counts(volume)
    return True


def _create_level(volume: SpecimenVolume, number: int) -> None:
    storage = OutputStorage(dtype=np.uint8, chunks=RAW_CHUNKS)
    create_output(volume.raw, volume.levels[: number + 1], storage, first=number)


def _create(volume: SpecimenVolume) -> None:
    """Create the raw volume's finest level, and the labels of all crops, empty."""
    _create_level(volume, 0)
    for crop in volume.crops:
        folder = volume.crop_folder(crop.index)
        grids = [volume.grid.window(crop.begin, crop.shape)]
        while len(grids) < LABEL_LEVELS:
            grids.append(downsampled_grid(grids[-1], (FACTOR,) * 3))
        levels = [(f"s{number}", grid) for number, grid in enumerate(grids)]
        for name in ("all", *volume.classes):
            for number, (level, grid) in enumerate(levels):
                create_array(
                    folder / name / level,
                    shape=grid.shape,
                    dtype=_dtype(name),
                    chunks=[max(1, b // FACTOR**number) for b in volume.block_shape],
                    attributes=grid_attributes(grid),
                    overwrite=True,
                    labels=True,
                )
            about = {} if name == "all" else class_attributes(name)
            ensure_groups(folder / name, {**multiscale_attributes(name, levels), **about})
        said = f"Synthetic tissue {VERSION}, seed {volume.seed}; every voxel is known"
        ensure_groups(folder, crop_attributes(folder.name, volume.classes, said, "csc_data.synthetic"))


def _dtype(name: str) -> npt.DTypeLike:
    return np.uint32 if name != "all" and get_class(name).instance else np.uint8


@dataclass(frozen=True, slots=True, kw_only=True)
class _VolumeBlock:
    """Makes a block and writes it; can be pickled."""

    volume: SpecimenVolume

    def __call__(self, block: Block) -> None:
        volume = self.volume
        tissue = draw_tissue(volume, block.begin, block.shape)
        open_output_array(volume.raw / "s0")[block.write] = tissue.raw
        crop = next(crop for crop in volume.crops if _holds(crop, block))
        place = [b - c for b, c in zip(block.begin, crop.begin, strict=True)]
        counts: dict[str, list[int]] = {}
        for number, level in enumerate(_levels(tissue)):
            box = tuple(
                slice(p // FACTOR**number, p // FACTOR**number + n) for p, n in zip(place, level.shape, strict=True)
            )
            for name in ("all", *volume.classes):
                values: npt.NDArray[Any] = level.atoms if name == "all" else level.label(name)
                counts.setdefault(name, []).append(int(np.count_nonzero(values)))
                if min(values.shape) and values.any():  # what is not written is 0
                    open_array_for_writing(volume.crop_folder(crop.index) / name / f"s{number}")[box] = values
        write_json(_counts(volume) / f"{crop.index}-{block.index}.json", counts)


def _holds(crop: Block, block: Block) -> bool:
    return all(c <= b < c + n for c, b, n in zip(crop.begin, block.begin, crop.shape, strict=True))


def _levels(tissue: Tissue) -> Iterator[Tissue]:
    yield tissue
    for _ in range(LABEL_LEVELS - 1):
        tissue = halve_tissue(tissue)
        yield tissue


def _counts(volume: SpecimenVolume) -> Path:
    """Return where blocks leave how many voxels of each class they have."""
    return volume.folder / ".synthetic.counts"


def _write_counts(volume: SpecimenVolume) -> None:
    """Write into the metadata of labels how many voxels have the class and how many not; so nobody need count them."""
    for crop in volume.crops:
        files = sorted(_counts(volume).glob(f"{crop.index}-*.json"))
        blocks = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        for name in volume.classes:
            for number in range(LABEL_LEVELS):
                folder = volume.crop_folder(crop.index) / name / f"s{number}"
                size = math.prod(read_json(folder / ".zarray")["shape"])
                present = sum(block[name][number] for block in blocks)
                about = {
                    "class_name": name,
                    "complement_counts": {"absent": size - present},
                    "annotation_type": annotation_type(instances=get_class(name).instance),
                }
                file = folder / ".zattrs"
                write_json(file, {**read_json(file), "cellmap": {"annotation": about}})
