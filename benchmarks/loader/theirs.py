"""What others do with the same crops: cellmap-data, MONAI, and nnU-Net's augmentation (batchgeneratorsv2).

cellmap-data reads the files as ours does. MONAI and batchgeneratorsv2 get what suits them best: crops that are decoded
and float32 in memory, one integer label for all classes, read by nearest neighbour, and a region that is larger than
the patch by the largest factor alone, as nnU-Net cuts it, so that corners of turned patches are filled and not read.
Both choose places by class, as ours does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loader.measuring import NotInstalledError, Result, clock
from loader.ours import check
from loader.works import CLASSES, FEW_SPLIT, SCALES, Work

PIXELS = 10  # largest displacement of nnU-Net's; ours goes as far
WAVE = 20  # voxels of its Gaussian

Crop = tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]


def measure_cellmap(folder: Path, work: Work) -> Result:
    """Measure cellmap-data's loader, made as the official toolbox makes it."""
    from cellmap_data import CellMapDataLoader, CellMapDataSplit

    info = {"shape": work.shape, "scale": (8, 8, 8)}
    split = CellMapDataSplit(
        input_arrays={"input": info},
        target_arrays={"output": info},
        classes=list(CLASSES),
        pad=True,
        csv_path=str(folder / FEW_SPLIT),
        spatial_transforms=work.transforms,
    )
    loader = CellMapDataLoader(
        split.train_datasets_combined,
        classes=list(CLASSES),
        batch_size=work.batch_size,
        weighted_sampler=True,
        is_train=True,
        iterations_per_epoch=10**6,
    )
    batches = iter(loader)
    next(batches)  # metadata is read once
    return clock(batches, work.theirs, work.batch_size, partial(check, work=work, size=work.batch_size))


def measure_monai(folder: Path, work: Work) -> Result:
    """Measure MONAI: crops and the places of classes in a CacheDataset, then dictionary transforms."""
    try:
        from monai.data import CacheDataset, DataLoader
    except ImportError:
        raise NotInstalledError("there is no monai: pip install monai==1.6.1") from None
    from monai.transforms import ClassesToIndicesd, Compose, EnsureTyped, RandCropByLabelClassesd, RandFlipd
    from torch.utils.data import RandomSampler

    crops = [{"input": raw[np.newaxis], "label": labels[np.newaxis]} for raw, labels in load_crops(folder)]
    count = len(CLASSES) + 1
    steps = [
        EnsureTyped(keys=["input", "label"], track_meta=False),
        ClassesToIndicesd(keys="label", num_classes=count),  # the last one that a CacheDataset does once
        RandCropByLabelClassesd(
            keys=["input", "label"],
            label_key="label",
            indices_key="label_cls_indices",
            spatial_size=larger(work.shape),
            num_classes=count,
            ratios=[0, *(1 for _ in CLASSES)],
        ),
        _monai_turn(work),
        *(RandFlipd(keys=["input", "label"], prob=0.5, spatial_axis=axis) for axis in range(3)),
    ]
    dataset = CacheDataset(crops, Compose(steps), progress=False)
    sampler = RandomSampler(dataset, replacement=True, num_samples=10**6)
    batches = iter(DataLoader(dataset, batch_size=work.batch_size, sampler=sampler))
    return _clock_packed(batches, work, "label")


def _monai_turn(work: Work) -> Any:
    from monai.transforms import Rand3DElasticd, RandAffined

    low, high = SCALES
    scales = {"scale_range": ((low - 1, high - 1),) * 3} if "scale" in work.transforms else {}
    common = {
        "keys": ["input", "label"], "prob": 1.0, "spatial_size": work.shape, "rotate_range": (math.pi,) * 3,
        "mode": ("bilinear", "nearest"), **scales,
    }  # fmt: skip
    if "elastic" in work.transforms:
        return Rand3DElasticd(sigma_range=(5, 7), magnitude_range=(50, 150), **common)  # as in MONAI's tutorials
    return RandAffined(cache_grid=True, **common)


def measure_nnunet(folder: Path, work: Work) -> Result:
    """Measure nnU-Net's SpatialTransform and mirroring, with the options of its trainer, on crops in memory."""
    try:
        from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
        from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    except ImportError:
        raise NotInstalledError("there is no batchgeneratorsv2: pip install batchgeneratorsv2==0.3.6") from None

    turn = SpatialTransform(
        work.shape,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=1,
        rotation=(-math.pi, math.pi),
        p_scaling=float("scale" in work.transforms),
        scaling=SCALES,
        p_synchronize_scaling_across_axes=1,
        p_elastic_deform=float("elastic" in work.transforms),
        elastic_deform_scale=WAVE / work.shape[0],
        elastic_deform_magnitude=PIXELS,
        bg_style_seg_sampling=False,
        mode_seg="nearest",
    )
    batches = _nnunet_batches(load_crops(folder), work, [turn, MirrorTransform(allowed_axes=(0, 1, 2))])
    return _clock_packed(batches, work, "segmentation")


def _nnunet_batches(crops: list[Crop], work: Work, transforms: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield batches as nnU-Net's loader makes them: a box around a voxel of a class, larger than the patch, turned."""
    import torch

    rng = np.random.default_rng(0)
    size = larger(work.shape)
    places = [[np.argwhere(labels == n + 1)[::100] for n in range(len(CLASSES))] for _, labels in crops]
    while True:
        samples = []
        for _ in range(work.batch_size):
            number = int(rng.integers(len(crops)))
            raw, labels = crops[number]
            voxels = places[number][int(rng.integers(len(CLASSES)))]
            anchor = voxels[int(rng.integers(len(voxels)))]
            begin = [int(np.clip(a - n // 2, 0, m - n)) for a, n, m in zip(anchor, size, raw.shape, strict=True)]
            box = tuple(slice(b, b + n) for b, n in zip(begin, size, strict=True))
            sample = {
                "image": torch.from_numpy(raw[box][np.newaxis].copy()),
                "segmentation": torch.from_numpy(labels[box][np.newaxis].copy()),
            }
            for transform in transforms:
                sample = transform(**sample)
            samples.append(sample)
        stacked = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
        yield {"input": stacked["image"], "segmentation": stacked["segmentation"]}


def larger(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the region that is cut out for a patch that may be scaled."""
    z, y, x = (math.ceil(n * SCALES[1]) for n in shape)
    return z, y, x


def load_crops(folder: Path) -> list[Crop]:
    """Return raw and packed labels of all crops at 8 nm; 0 is what no class has."""
    from csc_data.splits.split_file import read_datasplit
    from csc_data.volumes import open_volume

    crops = []
    for row in read_datasplit(folder / FEW_SPLIT):
        image = open_volume(row.raw).levels[1]
        labels = np.zeros(image.grid.shape, dtype=np.int16)
        for number, name in enumerate(CLASSES):
            level = open_volume(f"{row.labels}/{name}").levels[1]
            begin = [
                round((t - o) / v)
                for t, o, v in zip(level.grid.translation, image.grid.translation, image.grid.voxel_size, strict=True)
            ]
            box = tuple(slice(b, b + n) for b, n in zip(begin, level.grid.shape, strict=True))
            labels[box][np.asarray(level.array[...]) > 0] = number + 1
        crops.append((np.asarray(image.array[...]).astype(np.float32) / np.float32(255), labels))
    return crops


def _clock_packed(batches: Iterator[dict[str, Any]], work: Work, labels: str) -> Result:
    def checked(batch: dict[str, Any]) -> None:
        check(batch, work, work.batch_size, classes=None)
        assert tuple(batch[labels].shape) == (work.batch_size, 1, *work.shape), batch[labels].shape

    next(batches)
    return clock(batches, work.theirs, work.batch_size, checked)
