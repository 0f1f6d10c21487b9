"""Volumes, data splits and block-wise processing for the CellMap Segmentation Challenge: OME-Zarr in nanometres, no torch needed."""

__all__: list[str] = []
