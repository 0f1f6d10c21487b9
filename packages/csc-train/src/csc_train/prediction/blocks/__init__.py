"""Blocks of a prediction: what is read for one, what is computed, and the form in which it is written."""

from csc_train.prediction.blocks.job import BlockJob, region_grid
from csc_train.prediction.blocks.sizes import block_bytes, plan_block_shape

__all__ = ["BlockJob", "block_bytes", "plan_block_shape", "region_grid"]
