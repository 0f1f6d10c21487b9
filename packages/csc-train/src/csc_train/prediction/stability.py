"""How much a prediction depends on where its windows lie: the same place twice, windows shifted by half a step.

A network without normalisation over the patch, with enough context, says the same of a voxel in every window. Instance
norm, and few voxels of context, make it depend on what else is in the window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from csc_data.blocks import BlockGrid
from csc_data.geometry import as_shape
from csc_train.prediction.blocks import BlockJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """How two predictions of one place differ.

    Attributes
    ----------
    region : str
        Where the place is.
    classes : tuple of str
    mean, largest : tuple of float
        For each class the mean and the largest absolute difference of the values that are blended (probabilities,
        unless logits or distances are predicted).
    changed : tuple of float
        For each class the share of voxels that lie on the other side of a half (of 0 for logits and distances).
    voxels : tuple of int
        Of the place.
    """

    region: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    largest: tuple[float, ...]
    changed: tuple[float, ...]
    voxels: tuple[int, int, int]


def measure_stability(job: BlockJob) -> Stability:
    """Predict a place in the middle of a region twice, windows shifted by half a step the second time.

    Parameters
    ----------
    job : BlockJob
        Of the region. The place is about two steps wide; nothing is written.

    Raises
    ------
    CscError
        As `BlockJob.compute`.
    """
    predictor = job.source.load(job.device).predictor
    output = "probability" if predictor.settings.output == "mask" else predictor.settings.output
    settings = replace(predictor.settings, output=output, output_dtype="float32")
    source = replace(job.source, given=replace(predictor, settings=settings), key=f"{job.source.key} stability")
    windows = job.windows
    edge = 2 * max(windows.step)
    shape = as_shape([min(n, edge) for n in job.grid.shape])
    grid = job.grid.window([(n - m) // 2 for n, m in zip(job.grid.shape, shape, strict=True)], shape)
    grains = windows.grains
    shift = as_shape([max(g, s // 2 // g * g) if s > 1 else 0 for s, g in zip(windows.step, grains, strict=True)])
    (block,) = BlockGrid(shape=shape, block_shape=shape)
    found = []
    try:
        for by in ((0, 0, 0), shift):
            moved = replace(job, source=source, windows=replace(windows, shift=by), grid=grid, output=grid, arrays=())
            found.append(torch.from_numpy(moved.compute(block)))
    finally:
        source.release()
    one, two = (values.flatten(1) for values in found)
    half = 0.5 if output == "probability" else 0.0
    apart = (one - two).abs()
    return Stability(
        region=job.name,
        classes=job.classes or tuple(map(str, range(len(one)))),
        mean=tuple(apart.mean(1).tolist()),
        largest=tuple(apart.amax(1).tolist()),
        changed=tuple(((one > half) != (two > half)).float().mean(1).tolist()),
        voxels=shape,
    )
