"""How large blocks are: long along z, which costs no memory, and so wide that few windows are computed twice."""

from __future__ import annotations

from csc_data.blocks import align_block_shape
from csc_data.geometry import Shape, as_shape
from csc_train.prediction.window.tiling import Windows

_STEPS_LONG = 6
_STEPS_WIDE = 3
_MOST_BYTES = 300 << 20
_FLAT_EDGE = 128


def plan_block_shape(windows: Windows, *, classes: int, itemsize: int, chunks: Shape) -> Shape:
    """Return the voxels that are predicted as one piece of work: whole chunks.

    Parameters
    ----------
    windows : Windows
    classes : int
        That are written.
    itemsize : int
        Bytes of a value as it is stored.
    chunks : tuple of int
        Of what is written.
    """
    step, kept = windows.step, windows.kept
    if windows.patch.target.flat:
        # Means over planes of three directions are kept for the whole block.
        edge = max(_FLAT_EDGE, min(max(step), 2 * _FLAT_EDGE))
        while edge > 32 and 4 * (2 * classes + 1) * edge**3 > _MOST_BYTES:
            edge //= 2
        return align_block_shape([edge] * 3, chunks)
    shape = chunks
    for wide in range(_STEPS_WIDE, 0, -1):
        shape = align_block_shape([_STEPS_LONG * step[0], *(wide * s for s in step[1:])], chunks)
        # What is being blended, and three slabs that wait to be written or are.
        column = kept[0] * 4 * (classes + 1) + 3 * chunks[0] * itemsize * classes
        if column * shape[1] * shape[2] <= _MOST_BYTES:
            break
    return as_shape(shape)
