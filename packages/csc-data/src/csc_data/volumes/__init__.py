"""OME-Zarr volumes: scale levels with their grids in nm, read at any grid.

Read are multiscale groups of OME-NGFF 0.4 (https://ngff.openmicroscopy.org/0.4/) and plain arrays or groups of arrays
whose attributes carry ``voxel_size`` (or ``resolution``, ``scale``) and ``translation`` (or ``offset``).
"""

from csc_data.formats.ngff import grid_attributes, multiscale_attributes, parse_multiscale
from csc_data.volumes.volume import (
    Level,
    Volume,
    create_multiscale,
    downsampled_grid,
    open_volume,
    write_multiscale,
)

__all__ = [
    "Level",
    "Volume",
    "create_multiscale",
    "downsampled_grid",
    "grid_attributes",
    "multiscale_attributes",
    "open_volume",
    "parse_multiscale",
    "write_multiscale",
]
