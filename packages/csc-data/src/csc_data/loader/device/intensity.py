"""Changes of raw intensities on a device: those of `csc_data.loader.intensity`, as they were drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from csc_data.loader.device.normals import add_noise
from csc_data.loader.device.regions import send_table
from csc_data.loader.intensity import Blur, Curve, DrawnIntensity, IntensityTransform, LowResolution
from csc_data.loader.intensity.filter_loops import Taps


def change_intensity(drawn: DrawnIntensity, raw: Tensor, voxel_size: Sequence[float]) -> Tensor:
    """Do to raw what `DrawnIntensity.apply` does: float32 from 0 to 1, (z, y, x), contiguous; in place or not.

    Missing and shifted sections are made on the CPU: raw goes there and back.
    """
    noise, before, after = drawn.stages()
    _bend(drawn.curve, raw)
    for transform, seed in before:
        raw = _change(transform, np.random.default_rng(seed), raw, voxel_size)
    if noise is not None:
        add_noise(raw, (noise.variance, noise.variance_of_white), noise.key)
    for transform, seed in after:
        raw = _change(transform, np.random.default_rng(seed), raw, voxel_size)
    return raw


def _bend(curve: Curve, raw: Tensor) -> None:
    if curve.is_identity:
        return
    if curve.gamma != 1:
        raw.clamp_(0, 1).pow_(curve.gamma)
    mean = raw.mean(dtype=torch.float64) if curve.contrast != 1 else 0.0
    raw.clamp_(0, 1).mul_(curve.contrast).add_(curve.offset(mean)).clamp_(0, 1)


def _change(
    transform: IntensityTransform, rng: np.random.Generator, raw: Tensor, voxel_size: Sequence[float]
) -> Tensor:
    shape = raw.shape[0], raw.shape[1], raw.shape[2]
    if isinstance(transform, Blur):
        return _filter(raw, transform.draw_taps(shape, rng, voxel_size)).clamp_(0, 1)
    if isinstance(transform, LowResolution):
        down, up = transform.draw_taps(shape, rng)
        return _filter(_filter(raw, down), up).clamp_(0, 1)
    changed = transform.change(raw.cpu().numpy(), rng, voxel_size)
    return torch.from_numpy(changed).to(raw.device)


def _filter(raw: Tensor, taps: Sequence[Taps]) -> Tensor:
    for axis, (places, weights) in enumerate(taps):
        if places.shape[1] == 1 and len(places) == raw.shape[axis]:
            continue  # nothing changes along it
        shape = [-1 if other == axis else 1 for other in range(3)]
        index, share = send_table(places, raw.device), send_table(weights, raw.device)
        total = None
        for k in range(places.shape[1]):
            part = raw.index_select(axis, index[:, k]).mul_(share[:, k].reshape(shape))
            total = part if total is None else total.add_(part)
        raw = raw if total is None else total
    return raw
