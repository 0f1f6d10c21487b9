"""How far it is, in nm, to the next voxel with another label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.geometry import Shape

Labels = npt.NDArray[Any]


def reach_in_voxels(reach_nm: float, voxel_size: Sequence[float], *, in_plane: bool = False) -> Shape:
    """Return how many voxels away a voxel can be and still be nearer than a distance, for each axis.

    Distance is from a voxel's centre to the nearest point of the other voxel, half a voxel less than between centres.

    >>> reach_in_voxels(20.0, (8.0, 8.0, 40.0))
    (2, 2, 0)
    """
    z, y, x = (max(0, math.ceil(reach_nm / size + 0.5) - 1) for size in voxel_size)
    return (0 if in_plane else z), y, x


def square_distances(
    labels: Labels, voxel_size: Sequence[float], reach_nm: float, *, in_plane: bool = False
) -> npt.NDArray[np.float32]:
    """Measure from each voxel's centre to the surface of the nearest voxel that has another label.

    Exact for anisotropic voxels: the surface of a voxel is that of its box, so next to a flat boundary the distance is
    half a voxel, on both sides. One pass per axis in the manner of Felzenszwalb and Huttenlocher (2012), for any number
    of labels at once, with a window in place of the envelope: nothing beyond the reach is looked at.

    Parameters
    ----------
    labels : ndarray
        Integers, shape (z, y, x), with a margin of `reach_in_voxels` on all sides.
    voxel_size : sequence of float
        nm, z, y, x.
    reach_nm : float
        Larger distances count as this one.
    in_plane : bool
        Whether each z plane is by itself; it then has no margin in z.

    Returns
    -------
    ndarray
        Squared distances in nm^2, at most ``reach_nm ** 2``; float32, without the margin.

    Examples
    --------
    >>> labels = np.array([[[0, 0, 0, 1, 1, 1]] * 5])
    >>> square_distances(labels, voxel_size=(8, 8, 8), reach_nm=8.0, in_plane=True).tolist()
    [[[64.0, 16.0, 16.0, 64.0], [64.0, 16.0, 16.0, 64.0], [64.0, 16.0, 16.0, 64.0]]]
    """
    from csc_data.loader.targets.compiled import extend_square_distances, square_distances_in_rows

    margin = reach_in_voxels(reach_nm, voxel_size, in_plane=in_plane)
    inner = crop(labels, margin)
    far = np.float32(reach_nm**2)
    if labels.size and (labels == labels.flat[0]).all():
        return np.full(inner.shape, far)
    depth, height, width = labels.shape
    field: npt.NDArray[np.float32] = square_distances_in_rows(
        np.ascontiguousarray(labels).reshape(-1, width), _steps(margin[2], voxel_size[2]), far, margin[2]
    )
    field = field.reshape(depth, height, -1)
    labels = np.ascontiguousarray(labels[:, :, margin[2] : width - margin[2]])
    field = extend_square_distances(labels, field, _steps(margin[1], voxel_size[1]), margin[1])
    if not in_plane and depth > 1:
        labels = np.ascontiguousarray(labels[:, margin[1] : height - margin[1]])
        field = extend_square_distances(
            labels.reshape(1, depth, -1), field.reshape(1, depth, -1), _steps(margin[0], voxel_size[0]), margin[0]
        )
    return field.reshape(inner.shape)


def _steps(count: int, size: float) -> npt.NDArray[np.float32]:
    """Return squared distances from a centre to the surface of the voxel that is 0, 1, ... count voxels away."""
    away = np.maximum(np.arange(count + 1) - 0.5, 0) * size
    squares: npt.NDArray[np.float32] = (away**2).astype(np.float32)
    return squares


def crop(values: npt.NDArray[Any], margin: Sequence[int]) -> npt.NDArray[Any]:
    """Leave out a margin of voxels on both sides of the last three axes; a view.

    Examples
    --------
    >>> crop(np.arange(27).reshape(3, 3, 3), (1, 1, 0)).tolist()
    [[[12, 13, 14]]]
    """
    z, y, x = (slice(m, n - m) for m, n in zip(margin, values.shape[-3:], strict=True))
    return values[..., z, y, x]
