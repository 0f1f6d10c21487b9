"""How large blocks are: long along z, which costs no memory, and so wide that few windows are computed twice."""

from __future__ import annotations

import itertools

from csc_data.blocks import align_block_shape
from csc_data.geometry import Shape
from csc_train.prediction.window.tiling import Windows

_STEPS_LONG = 6
_STEPS_WIDE = (1, 2, 3)
_FLAT_EDGE = 128

BLOCK_BYTES = 360 << 20
"""What a block of up to five classes may keep in memory; with batches and reading, 600 MB beside the network."""
_CLASS_BYTES = BLOCK_BYTES // 5
_MOST_BYTES = 550 << 20  # with batches and reading 600 MB, too
_SHARE = 4  # of the memory that is free: at most this part


def block_bytes(classes: int, processes: int) -> int:
    """Return what a block of so many classes may keep in memory, in each of the processes of this machine.

    It grows with the classes, as narrow blocks take up to three times the passes, as long as there is memory.

    Examples
    --------
    >>> block_bytes(classes=1, processes=1) == BLOCK_BYTES
    True
    """
    if classes * _CLASS_BYTES <= BLOCK_BYTES:
        return BLOCK_BYTES
    from csc_eval.running.memory import available_memory

    granted = available_memory() // (_SHARE * processes)
    return max(BLOCK_BYTES, min(classes * _CLASS_BYTES, _MOST_BYTES, granted))


def plan_block_shape(
    windows: Windows, *, classes: int, itemsize: int, chunks: Shape, most_bytes: int = BLOCK_BYTES
) -> Shape:
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
    most_bytes : int
        What may be kept in memory.
    """
    step, kept = windows.step, windows.kept
    if windows.patch.target.flat:
        # Means over planes of three directions are kept for the whole block.
        edge = max(_FLAT_EDGE, min(max(step), 2 * _FLAT_EDGE))
        while edge > 32 and 4 * (2 * classes + 1) * edge**3 > most_bytes:
            edge //= 2
        return align_block_shape([edge] * 3, chunks)
    shapes = [
        align_block_shape([_STEPS_LONG * step[0], y * step[1], x * step[2]], chunks)
        for y, x in sorted(itertools.product(_STEPS_WIDE, _STEPS_WIDE), key=_computed_again)
    ]
    # What is being blended, with its weights, and the slab that is filled and written.
    column = 4 * kept[0] * (classes + 1) + chunks[0] * itemsize * classes
    return next((shape for shape in shapes if column * shape[1] * shape[2] <= most_bytes), shapes[-1])


def _computed_again(steps: tuple[int, int]) -> float:
    """Return how many windows a block touches for each that it has to itself."""
    return (1 + 1 / steps[0]) * (1 + 1 / steps[1])
