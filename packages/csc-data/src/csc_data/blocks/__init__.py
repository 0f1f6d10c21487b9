"""Work block by block, with runners that survive being killed, and share the blocks of an output.

A block has a box to write, which belongs to it alone, and a box to read, which is larger by the halo and may reach
beyond the array. Blocks whose shape is a multiple of the chunk shape never share a chunk, so different processes can
write them. A `Ledger` on disk records finished blocks; running again does only the others, and since the result of a
block does not depend on the order, the bytes are the same as of one run. Processes that work on one output at the same
time, on any machine that has the folder, claim blocks beside the ledger, and take over those of one that dies.
"""

from csc_data.blocks.executions import on_cluster, on_processes, on_scheduler
from csc_data.blocks.grid import Block, BlockGrid, align_block_shape
from csc_data.blocks.ledger import Ledger, check_finished, unfinished_work
from csc_data.blocks.output import Existing, discard_record, prepare_output
from csc_data.blocks.running import run_blocks, run_chains
from csc_data.blocks.runs import BlockRun, Chain, Execution, MissingBlocksError, Progress

__all__ = [
    "Block",
    "BlockGrid",
    "BlockRun",
    "Chain",
    "Execution",
    "Existing",
    "Ledger",
    "MissingBlocksError",
    "Progress",
    "align_block_shape",
    "check_finished",
    "discard_record",
    "on_cluster",
    "on_processes",
    "on_scheduler",
    "prepare_output",
    "run_blocks",
    "run_chains",
    "unfinished_work",
]
