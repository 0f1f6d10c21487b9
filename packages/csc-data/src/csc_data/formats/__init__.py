"""Stored arrays and their metadata: zarr formats 2 and 3, N5, OME-NGFF; chunks read through one cache."""
