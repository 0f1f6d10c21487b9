"""Work block by block, with a runner that survives being killed.

A block has a box to write, which belongs to it alone, and a box to read, which is larger by the halo and may reach
beyond the array. Blocks whose shape is a multiple of the chunk shape never share a chunk, so different processes can
write them. A `Ledger` on disk records finished blocks; running again does only the others, and since the result of a
block does not depend on the order, the bytes are the same as of one run.
"""

from csc_data.blocks.grid import Block, BlockGrid, align_block_shape
from csc_data.blocks.ledger import Existing, Ledger, prepare_output, unfinished_work
from csc_data.blocks.running import Execution, MissingBlocksError, Progress, run_blocks

__all__ = [
    "Block",
    "BlockGrid",
    "Execution",
    "Existing",
    "Ledger",
    "MissingBlocksError",
    "Progress",
    "align_block_shape",
    "prepare_output",
    "run_blocks",
    "unfinished_work",
]
