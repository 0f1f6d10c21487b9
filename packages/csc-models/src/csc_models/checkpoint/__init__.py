"""Checkpoints that describe themselves.

A file holds the weights, and as plain data what is needed to use them again: the network's name and arguments, the
classes, the input and target arrays, and the range that raw intensities are scaled to. Files are always read with
``weights_only=True``: opening one from somebody else runs no code of theirs.
"""

from csc_models.checkpoint.contents import CheckpointDescription
from csc_models.checkpoint.loading import LoadedCheckpoint, load_checkpoint
from csc_models.checkpoint.saving import save_checkpoint
from csc_models.checkpoint.weights import load_weights

__all__ = [
    "CheckpointDescription",
    "LoadedCheckpoint",
    "load_checkpoint",
    "load_weights",
    "save_checkpoint",
]
