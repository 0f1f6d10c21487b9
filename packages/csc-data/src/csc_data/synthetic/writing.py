"""A synthetic challenge on disk, laid out as the challenge's own data is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from csc_data.challenge import TestCrop, get_class
from csc_data.challenge.test_crops import FILE_NAME, write_test_crops
from csc_data.errors import ExistingOutputError
from csc_data.formats.writing import create_array, ensure_groups, join, read_json, write_json
from csc_data.synthetic.plan import ChallengePlan, SyntheticCrop, SyntheticDataset, default_plan
from csc_data.synthetic.scales import FACTOR, halve_image, halve_tissue
from csc_data.synthetic.tissue.growing import Tissue, generate_tissue
from csc_data.volumes import downsampled_grid, grid_attributes, write_multiscale
from csc_data.volumes.annotation_attributes import array_attributes, class_attributes, crop_attributes

RAW_LEVELS = 3
LABEL_LEVELS = 2
LABEL_CHUNKS = (128, 128, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticChallenge:
    """What was written.

    Attributes
    ----------
    root : Path
        The data folder.
    datasets : tuple of SyntheticDataset
        Volumes and crops.
    annotated : dict of str to tuple of str
        Training crop to the classes annotated in it.
    test_crops : tuple of TestCrop
        What a submission must hold, as in the manifest.
    truth : Path
        What a submission is scored against.
    n_bytes : int
        Size on disk.
    """

    root: Path
    datasets: tuple[SyntheticDataset, ...]
    annotated: dict[str, tuple[str, ...]]
    test_crops: tuple[TestCrop, ...]
    truth: Path
    n_bytes: int


def write_challenge(
    root: str | os.PathLike[str],
    *,
    seed: int = 0,
    quick: bool = False,
    plan: ChallengePlan | None = None,
    progress: Callable[[str], None] | None = None,
) -> SyntheticChallenge:
    """Write data sets with training crops and test crops, the truth of the test crops, and their manifest.

    Parameters
    ----------
    root : path-like
        The data folder; it may exist, but must not hold these data sets, a truth, or a manifest.
    seed : int
        The same seed, plan and versions of numpy and scipy give the same voxels.
    quick : bool
        Whether to take the smaller of the two default plans.
    plan : ChallengePlan, optional
        Data sets, crops and tested classes of your own, instead of a default plan.
    progress : callable, optional
        Called with the name of each data set before it is made.

    Returns
    -------
    SyntheticChallenge

    Raises
    ------
    ExistingOutputError
        If the folder holds such data already.
    """
    plan = plan or default_plan(quick=quick)
    folder = Path(root)
    truth = folder / "ground_truth.zarr"
    for place in (truth, folder / FILE_NAME, *(folder / dataset.name for dataset in plan.datasets)):
        if place.exists():
            raise ExistingOutputError(f"{place} exists; choose another folder or remove it")
    annotated: dict[str, tuple[str, ...]] = {}
    test_crops: list[TestCrop] = []
    for index, dataset in enumerate(plan.datasets):
        if progress is not None:
            progress(dataset.name)
        own_seed = int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
        tissue = generate_tissue(dataset.grid.shape, dataset.grid.voxel_size, seed=own_seed, anatomy=plan.anatomy)
        _write_raw(folder, dataset, tissue)
        for crop in dataset.crops:
            if crop.tested:
                test_crops.append(_write_truth(truth, plan, dataset, crop, tissue))
            else:
                annotated[crop.name] = _write_annotations(folder, dataset, crop, tissue)
    write_test_crops(folder / FILE_NAME, test_crops)
    written = [folder / FILE_NAME, truth, *(folder / dataset.name for dataset in plan.datasets)]
    return SyntheticChallenge(
        root=folder,
        datasets=plan.datasets,
        annotated=annotated,
        test_crops=tuple(test_crops),
        truth=truth,
        n_bytes=sum(_size(place) for place in written),
    )


def _write_raw(folder: Path, dataset: SyntheticDataset, tissue: Tissue) -> None:
    levels, grids = [tissue.raw], [dataset.grid]
    while len(levels) < RAW_LEVELS:
        levels.append(halve_image(levels[-1]))
        grids.append(downsampled_grid(grids[-1], (FACTOR,) * 3))
    path = join(folder, dataset.name, f"{dataset.name}.zarr", "recon-1", "em", "fibsem-uint8")
    write_multiscale(path, levels, grids, chunks=(64, 64, 64))


def _write_annotations(folder: Path, dataset: SyntheticDataset, crop: SyntheticCrop, tissue: Tissue) -> tuple[str, ...]:
    """Write all classes of the tissue but those that the crop omits, also where they are absent in the crop."""
    classes = tuple(name for name in tissue.class_names() if name not in crop.omitted)
    levels = [tissue.crop(crop.slices)]
    grids = [dataset.grid.window(crop.begin, crop.shape)]
    while len(levels) < LABEL_LEVELS:
        levels.append(halve_tissue(levels[-1]))
        grids.append(downsampled_grid(grids[-1], (FACTOR,) * 3))
    group = Path(folder, dataset.name, f"{dataset.name}.zarr", "recon-1", "labels", "groundtruth", crop.name)
    known = [_known_atoms(level, crop.omitted) for level in levels]
    write_multiscale(group / "all", known, grids, chunks=LABEL_CHUNKS)
    for name in classes:
        labels = _smallest([level.label(name) for level in levels])
        write_multiscale(group / name, labels, grids, chunks=LABEL_CHUNKS, attributes=class_attributes(name))
        for number, values in enumerate(labels):
            file = group / name / f"s{number}" / ".zattrs"
            write_json(file, {**read_json(file), **array_attributes(name, values)})
    described = crop_attributes(crop.name, classes, "Synthetic tissue; every voxel is known", "csc_data.synthetic")
    ensure_groups(group, described)
    return classes


def _known_atoms(tissue: Tissue, omitted: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return the atomic ids, 0 where the class of a voxel was not annotated."""
    table = np.arange(256, dtype=np.uint8)
    table[[get_class(name).id for name in omitted]] = 0
    known: npt.NDArray[np.uint8] = table[tissue.atoms]
    return known


def _smallest(levels: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Cast labels to the smallest unsigned type that holds the ids of the finest level."""
    dtype = np.min_scalar_type(int(levels[0].max(initial=0)))
    return [values.astype(dtype) for values in levels]


def _write_truth(
    truth: Path, plan: ChallengePlan, dataset: SyntheticDataset, crop: SyntheticCrop, tissue: Tissue
) -> TestCrop:
    part, grid = tissue.crop(crop.slices), dataset.grid.window(crop.begin, crop.shape)
    for name in plan.tested_classes:
        labels: npt.NDArray[Any] = part.label(name)
        if get_class(name).instance:
            labels = number_objects(labels)
        arrays = {name: labels, **({f"{name}_mask": np.ones(grid.shape, np.uint8)} if plan.masks else {})}
        for array_name, values in arrays.items():
            array = create_array(
                truth / crop.name / array_name,
                shape=grid.shape,
                dtype=values.dtype,
                chunks=LABEL_CHUNKS,
                attributes=grid_attributes(grid),
            )
            array[...] = values
    return TestCrop(
        id=crop.id,
        dataset=dataset.name,
        voxel_size=grid.voxel_size,
        translation=grid.translation,
        shape=grid.shape,
        classes=plan.tested_classes,
    )


def number_objects(ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Number the connected pieces of objects from 1, as the truth of the test crops does.

    Parameters
    ----------
    ids : numpy.ndarray of unsigned int
        Object ids, 0 is background. An object that the crop's border cuts into pieces becomes several, as no
        prediction could know that they are one.

    Returns
    -------
    numpy.ndarray
        Of the smallest unsigned type that holds the count.

    Examples
    --------
    >>> number_objects(np.array([[[7, 7, 0, 7]]], np.uint16))
    array([[[1, 1, 0, 2]]], dtype=uint8)
    """
    present, compact = np.unique(ids, return_inverse=True)
    compact = compact.reshape(ids.shape) + (0 if present[0] == 0 else 1)
    numbered = np.zeros(ids.shape, np.uint32)
    count = 0
    for index, box in enumerate(ndimage.find_objects(compact), start=1):
        pieces, found = ndimage.label(compact[box] == index, structure=np.ones((3, 3, 3)))
        numbered[box] += np.where(pieces > 0, pieces + count, 0).astype(np.uint32)
        count += found
    return numbered.astype(np.min_scalar_type(count))


def _size(place: Path) -> int:
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)
