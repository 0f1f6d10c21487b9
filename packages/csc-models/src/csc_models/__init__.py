"""Segmentation networks for electron microscopy volumes, and checkpoints that describe themselves; needs torch only."""

__all__: list[str] = []
