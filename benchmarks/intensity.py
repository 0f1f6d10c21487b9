"""What each intensity transform costs, beside MONAI's and batchgeneratorsv2's counterparts where they are installed.

    uv run --with batchgeneratorsv2==0.3.6 --with monai==1.6.1 python benchmarks/intensity.py

CPU milliseconds for a patch of 128^3 and a flat one of 128^2, float32, each transform for certain, with the same
strengths; all of them together, and all with the probabilities that ours have by default. One thread each.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from csc_data.loader.intensity import IntensityTransforms
from csc_data.loader.intensity.transforms import ORDER

SHAPES = {(128, 128, 128): 4, (1, 128, 128): 100}  # and how often before the clock is read
VOXEL = (8.0, 8.0, 8.0)
ROUNDS = 5

Change = Callable[[Any], Any]


def ours(shape: tuple[int, ...]) -> Iterator[tuple[str, Change]]:
    rng = np.random.default_rng(0)
    kinds = [kind for kind in ORDER if shape[0] > 1 or not kind.name.endswith("sections")]
    choices = {kind.name: (kind(probability=1),) for kind in kinds}
    choices["all"] = tuple(kind(probability=1) for kind in kinds)
    choices["all, at times"] = tuple(kind() for kind in kinds)
    for name, chosen in choices.items():
        transforms = IntensityTransforms(transforms=chosen)
        yield name, lambda raw, transforms=transforms: transforms.apply(raw.numpy(), rng, VOXEL)


def of_monai(shape: tuple[int, ...]) -> Iterator[tuple[str, Change]]:
    try:
        from monai import transforms as monai
    except ImportError:
        return
    deviations = (0.25, 1.25)
    names = ("sigma_x", "sigma_y", "sigma_z")[: sum(n > 1 for n in shape)]
    linear = "trilinear" if shape[0] > 1 else "bilinear"
    made = {
        "gamma": monai.RandAdjustContrast(prob=1, gamma=(0.7, 1.5)),
        "contrast": monai.RandScaleIntensityFixedMean(prob=1, factors=(-0.3, 0.3)),
        "brightness": monai.RandShiftIntensity(prob=1, offsets=0.15),
        "blur": monai.RandGaussianSmooth(prob=1, **dict.fromkeys(names, deviations)),
        "low_resolution": monai.RandSimulateLowResolution(prob=1, zoom_range=(1 / 3, 1 / 1.5), upsample_mode=linear),
        "gaussian_noise": monai.RandGaussianNoise(prob=1, std=0.08),
    }
    for name, transform in [*made.items(), ("all", monai.Compose(list(made.values())))]:
        yield name, lambda raw, transform=transform: transform(_channels(raw))


def of_nnunet(shape: tuple[int, ...]) -> Iterator[tuple[str, Change]]:
    try:
        from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
        from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
        from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
        from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
        from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
        from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    except ImportError:
        return
    made = {
        "gamma": GammaTransform((0.7, 1.5), 0, synchronize_channels=True, p_per_channel=1, p_retain_stats=0),
        "contrast": ContrastTransform((0.7, 1.3), preserve_range=True, synchronize_channels=True),
        "blur": GaussianBlurTransform((0.25, 1.25), synchronize_axes=True),
        "low_resolution": SimulateLowResolutionTransform((1 / 3, 1 / 1.5), True, True, ignore_axes=()),
        "gaussian_noise": GaussianNoiseTransform((0.01, 0.08)),
    }
    for name, transform in [*made.items(), ("all", ComposeTransforms(list(made.values())))]:
        yield name, lambda raw, transform=transform: transform(image=_channels(raw))


def _channels(raw: torch.Tensor) -> torch.Tensor:
    """Return a patch with one channel; flat ones without z, as these libraries take them."""
    return raw if raw.shape[0] == 1 else raw[None]


def milliseconds(change: Change, raw: torch.Tensor, count: int) -> float:
    change(raw.clone())
    best = float("inf")
    for _ in range(ROUNDS):
        copies = [raw.clone() for _ in range(count)]
        begin = time.process_time()
        for copy in copies:
            change(copy)
        best = min(best, (time.process_time() - begin) / count)
    return 1000 * best


def main() -> None:
    torch.set_num_threads(1)
    for shape, count in SHAPES.items():
        raw = torch.from_numpy(np.random.default_rng(0).random(shape, dtype=np.float32))
        columns = [
            {name: milliseconds(change, raw, count) for name, change in library(shape)}
            for library in (ours, of_monai, of_nnunet)
        ]
        print(f"\n{shape}, CPU ms{'ours':>{31 - len(str(shape))}}{'MONAI':>10}{'nnU-Net':>10}")
        for name in columns[0]:
            print(
                f"{name:<24}" + "".join(f"{column[name]:10.2f}" if name in column else " " * 10 for column in columns)
            )


if __name__ == "__main__":
    main()
