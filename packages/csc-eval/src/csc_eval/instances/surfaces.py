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
    """Return an instance's mask in a box that holds all of it.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[1, 0, 2, 2]]]), np.array([[[1, 0, 2, 2]]]), (8, 8, 8))
    >>> render_instance(pair.grouped[0], 2, (0, 0, 1), (1, 1, 4)).tolist()
    [[[False, True, True]]]
    """
    z, y, start, stop = grouped.of(label).T
    shape = [e - b for b, e in zip(begin, end, strict=True)]
    flat = np.zeros(math.prod(shape) + 1, np.int8)
    lines = ((z - begin[0]).astype(np.int64) * shape[1] + (y - begin[1])) * shape[2] - begin[2]
    # A run switches on at its start and off at its stop; the running sum is the mask.
    np.add.at(flat, lines + start, 1)
    np.add.at(flat, lines + stop, -1)
    mask: BoolArray = np.cumsum(flat, dtype=np.int8)[:-1].reshape(shape).view(np.bool_)
    return mask


def instance_box(grouped: GroupedRuns, label: int) -> tuple[list[int], list[int]]:
    """Return the first and the last plus one voxel of an instance's bounding box.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[1, 0, 2, 2]]]), np.array([[[1, 0, 2, 2]]]), (8, 8, 8))
    >>> instance_box(pair.grouped[0], 2)
    ([0, 0, 2], [1, 1, 4])
    """
    z, y, start, stop = grouped.of(label).T
    begin = [int(z.min()), int(y.min()), int(start.min())]
    return begin, [int(z.max()) + 1, int(y.max()) + 1, int(stop.max())]


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

    Examples
    --------
    >>> truth = np.zeros((1, 1, 6), bool)
    >>> truth[..., 1] = True
    >>> surface_distances(truth, np.roll(truth, 2, axis=2), (8, 8, 8))
    (16.0, 16.0)
    """
    from scipy.ndimage import distance_transform_edt

    one, two = surface(truth), surface(prediction)
    forth = distance_transform_edt(~two, sampling=voxel_size)[one]
    back = distance_transform_edt(~one, sampling=voxel_size)[two]
    mean = float((forth.sum() + back.sum()) / (len(forth) + len(back)))
    return mean, float(max(np.percentile(forth, 95), np.percentile(back, 95)))


def surface_details(pair: InstancePair, matched: Matched, metrics: Sequence[str]) -> dict[str, float]:
    """Work out surface distances, averaged over matched instances; NaN where none is matched.

    Examples
    --------
    >>> from csc_eval.instances.matching import match_overlaps
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[1, 1, 1, 0]]]), np.array([[[1, 1, 1, 0]]]), (8, 8, 8))
    >>> surface_details(pair, match_overlaps(pair.overlaps(1000)), ["surface_distance_mean"])
    {'surface_distance_mean': 0.0}
    """
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
