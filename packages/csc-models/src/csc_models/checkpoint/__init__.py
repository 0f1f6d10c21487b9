"""Checkpoints that describe themselves.

A file holds the weights, and as plain data what is needed to use them again: the network's name and arguments, the
classes, the input and target arrays, and the range that raw intensities are scaled to. Files are always read with
``weights_only=True``: opening one from somebody else runs no code of theirs. State dicts of the challenge's toolbox are
recognised. Several checkpoints become one by `average_checkpoints` (mean weights) or `ensemble_checkpoints` (mean
predictions).
"""

from csc_models.checkpoint.contents import CheckpointDescription, OutputDescription
from csc_models.checkpoint.identity import CheckpointIdentity, identify
from csc_models.checkpoint.joining import average_checkpoints, ensemble_checkpoints
from csc_models.checkpoint.loading import LoadedCheckpoint, load_checkpoint
from csc_models.checkpoint.reading import StoredCheckpoint, read_checkpoint
from csc_models.checkpoint.saving import save_checkpoint
from csc_models.checkpoint.selection import best_checkpoint, best_index, load_best_val, load_latest
from csc_models.checkpoint.state_dicts import LeftOut, load_weights

__all__ = [
    "CheckpointDescription",
    "CheckpointIdentity",
    "LeftOut",
    "LoadedCheckpoint",
    "OutputDescription",
    "StoredCheckpoint",
    "average_checkpoints",
    "best_checkpoint",
    "best_index",
    "ensemble_checkpoints",
    "identify",
    "load_best_val",
    "load_checkpoint",
    "load_latest",
    "load_weights",
    "read_checkpoint",
    "save_checkpoint",
]
