"""Surface distances of matched instances, on request: mean and 95th percentile.

A surface voxel has a face towards a voxel outside of its instance; distances run between centres of surface voxels,
both ways, as in Heimann et al., IEEE Transactions on Medical Imaging 28 (2009), and DeepMind's surface-distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from csc_eval.instances.distances import GroupedRuns
from csc_eval.instances.matching import Matched
from csc_eval.instances.pair import InstancePair

BoolArray = npt.NDArray[np.bool_]


def render_instance(grouped: GroupedRuns, label: int, begin: Sequence[int], end: Sequence[int]) -> BoolArray:
    """Return an instance's mask in a box that holds all of it."""
    runs = grouped.instances.runs
    own = grouped.order[grouped.label_ptr[label] : grouped.label_ptr[label + 1]]
    z, y = np.divmod(grouped.line[own], runs.shape[1])
    shape = [e - b for b, e in zip(begin, end, strict=True)]
    flat = np.zeros(math.prod(shape) + 1, np.int8)
    lines = ((z - begin[0]).astype(np.int64) * shape[1] + (y - begin[1])) * shape[2] - begin[2]
    # A run switches on at its start and off at its stop; the running sum is the mask.
    np.add.at(flat, lines + runs.start[own], 1)
    np.add.at(flat, lines + runs.stop[own], -1)
    mask: BoolArray = np.cumsum(flat, dtype=np.int8)[:-1].reshape(shape).view(np.bool_)
    return mask


def instance_box(grouped: GroupedRuns, label: int) -> tuple[list[int], list[int]]:
    """Return the first and the last plus one voxel of an instance's bounding box."""
    runs = grouped.instances.runs
    own = grouped.order[grouped.label_ptr[label] : grouped.label_ptr[label + 1]]
    z, y = np.divmod(grouped.line[own], runs.shape[1])
    begin = [int(z.min()), int(y.min()), int(runs.start[own].min())]
    return begin, [int(z.max()) + 1, int(y.max()) + 1, int(runs.stop[own].max())]


def surface(mask: BoolArray) -> BoolArray:
    """Return the voxels of a mask that have a face towards the outside.

    >>> surface(np.ones((1, 1, 3), bool)).tolist()
    [[[True, True, True]]]
    """
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(3):
        for shift in (-1, 1):
            inner &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1]
    return mask & ~inner


def surface_distances(truth: BoolArray, prediction: BoolArray, voxel_size: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the 95th percentile of the surface distances of two masks, in nm.

    The mean is over the surface voxels of both; of the two directed percentiles the larger counts.
    """
    from scipy.ndimage import distance_transform_edt

    one, two = surface(truth), surface(prediction)
    forth = distance_transform_edt(~two, sampling=voxel_size)[one]
    back = distance_transform_edt(~one, sampling=voxel_size)[two]
    mean = float((forth.sum() + back.sum()) / (len(forth) + len(back)))
    return mean, float(max(np.percentile(forth, 95), np.percentile(back, 95)))


def surface_details(pair: InstancePair, matched: Matched, metrics: Sequence[str]) -> dict[str, float]:
    """Work out surface distances, averaged over matched instances; NaN where none is matched."""
    means, percentiles = [], []
    truth, prediction = pair.grouped
    for t, p in zip(matched.truth.tolist(), matched.prediction.tolist(), strict=True):
        boxes = instance_box(truth, t), instance_box(prediction, p)
        begin = [min(values) for values in zip(boxes[0][0], boxes[1][0], strict=True)]
        end = [max(values) for values in zip(boxes[0][1], boxes[1][1], strict=True)]
        masks = render_instance(truth, t, begin, end), render_instance(prediction, p, begin, end)
        mean, percentile = surface_distances(*masks, pair.voxel_size)
        means.append(mean)
        percentiles.append(percentile)
    values = {"surface_distance_mean": means, "surface_distance_95": percentiles}
    return {name: math.fsum(values[name]) / len(means) if means else math.nan for name in metrics}
