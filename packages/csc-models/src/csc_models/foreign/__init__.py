"""Weights from elsewhere: nnU-Net v2, the authors' MedNeXt, Lightning, averaged models, state dicts under any name.

`load_foreign` finds the network and its weights in a file, and makes a `CheckpointDescription` of what nnU-Net's plans
say. Files are read without running them: what a pickle names beside tensors and plain data is skipped, and told.
"""

from csc_models.foreign.facts import ForeignHints
from csc_models.foreign.loading import ForeignCheckpoint, load_foreign

__all__ = ["ForeignCheckpoint", "ForeignHints", "load_foreign"]
