"""What all kinds of targets have in common, and the binary one."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from csc_data.config.settings import settings
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Shape
from csc_data.loader.sources.packing import VALUES
from csc_data.loader.targets.distances import Labels, crop
from csc_data.volumes.annotation_values import PRESENT, UNKNOWN, Codes

Ids = npt.NDArray[Any]
Target = npt.NDArray[np.float32]


@settings
class TargetKind(abc.ABC):
    """A kind of target: what a network is to say of each voxel, computed from what is known there.

    What is computed never depends on where the patch ends: `compute` gets a grid that is larger by `margin`. A flat
    patch of one plane gets the plane of the three-dimensional target.

    Raises
    ------
    ProblemsError
        When made with options of the wrong kind or out of their limits.

    Examples
    --------
    >>> from csc_data.loader.targets import parse_targets
    >>> kind = parse_targets("binary")["output"]
    >>> kind.margin((8, 8, 8)), kind.channel_names(["nuc", "mito"]), kind.to_plain()
    ((0, 0, 0), ('nuc', 'mito'), {'kind': 'binary'})
    >>> codes = np.array([[[[1, 0, 2]]]], np.uint8)  # present, absent, unknown
    >>> kind.compute(codes, None, (8, 8, 8)).tolist()
    [[[[1.0, 0.0, nan]]]]
    """

    kind: ClassVar[str]
    needs_ids: ClassVar[bool] = False
    """Whether objects of a class are told apart; without ids, a class is a single object."""

    def margin(self, voxel_size: Sequence[float]) -> Shape:
        """Return how many voxels beyond the target it depends on, on either side of z, y, x."""
        return (0, 0, 0)

    @abc.abstractmethod
    def channel_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Name the channels of the target; their number is K."""

    def compute(
        self, codes: Codes, ids: Ids | None, voxel_size: Sequence[float], *, out: Target | None = None
    ) -> Target:
        """Compute the target of a patch.

        Parameters
        ----------
        codes : ndarray
            0 absent, 1 present, 255 unknown; uint8, shape (C, z, y, x), with the margin on all sides.
        ids : ndarray or None
            Integers of the same shape: which object a present voxel belongs to. 0 where a class has no ids: all its
            voxels are one object. None stands for 0 everywhere.
        voxel_size : sequence of float
            nm, z, y, x.
        out : ndarray, optional
            float32, where to write the result.

        Returns
        -------
        ndarray
            float32, shape (K, z, y, x) without the margin; NaN where nobody knows.

        Raises
        ------
        InvalidArgumentError
            If shapes do not fit, or nothing is left between the margins.
        """
        margin = self.margin(voxel_size)
        if codes.ndim != 4 or codes.dtype != np.uint8:
            raise InvalidArgumentError(f"codes must be uint8 (C, z, y, x), got {codes.dtype} {codes.shape}")
        if ids is not None and ids.shape != codes.shape:
            raise InvalidArgumentError(f"ids must have the shape of the codes, {codes.shape}, got {ids.shape}")
        shape = tuple(n - 2 * m for n, m in zip(codes.shape[1:], margin, strict=True))
        if min(shape) < 1:
            raise InvalidArgumentError(
                f"a target of kind {self.kind} needs a margin of {margin} voxels, got codes of shape {codes.shape}"
            )
        whole = (len(self.channel_names([""] * len(codes))), *shape)
        if out is None:
            out = np.empty(whole, dtype=np.float32)
        elif out.shape != whole or out.dtype != np.float32:
            raise InvalidArgumentError(f"out must be float32 {whole}, got {out.dtype} {out.shape}")
        self._fill(codes, ids if self.needs_ids else None, voxel_size, out)
        return out

    @abc.abstractmethod
    def _fill(self, codes: Codes, ids: Ids | None, voxel_size: Sequence[float], out: Target) -> None:
        """Write the target; shapes are right."""

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values that `parse_targets` understands, for a checkpoint."""
        options = {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {"kind": self.kind, **options}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def object_labels(codes: Codes, ids: Ids | None) -> tuple[Labels, int]:
    """Number what the voxels of one class belong to.

    Parameters
    ----------
    codes : ndarray
        uint8, any shape.
    ids : ndarray or None
        Integers of the same shape.

    Returns
    -------
    labels : ndarray
        0 absent, above 0 for each object a number of its own.
    unknown : int
        The label of unknown voxels.

    Examples
    --------
    >>> codes = np.array([[[1, 1, 0]]], np.uint8)
    >>> labels, _ = object_labels(codes, np.array([[[7, 8, 0]]]))
    >>> len(set(labels.ravel().tolist()))
    3
    """
    if ids is None or not ids.any():
        return codes, UNKNOWN
    if ids.min() < 0 or ids.max() >= np.iinfo(np.int32).max:
        ids = np.unique(ids, return_inverse=True)[1].reshape(ids.shape)
    labels = ids.astype(np.int32) + np.int32(1)
    labels *= codes == PRESENT
    labels[codes == UNKNOWN] = -1
    return labels, -1


@settings
class BinaryTarget(TargetKind):
    """1 present, 0 absent, NaN unknown; one channel per class.

    Examples
    --------
    >>> BinaryTarget().compute(np.array([[[[0, 1, 255]]]], dtype=np.uint8), None, (8, 8, 8))
    array([[[[ 0.,  1., nan]]]], dtype=float32)
    """

    kind: ClassVar[str] = "binary"

    def channel_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Name the channels: the classes."""
        return tuple(classes)

    def _fill(self, codes: Codes, ids: Ids | None, voxel_size: Sequence[float], out: Target) -> None:
        # mode="clip" spares numpy a buffer; codes cannot be out of range.
        np.take(VALUES, crop(codes, self.margin(voxel_size)), out=out, mode="clip")
