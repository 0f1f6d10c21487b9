"""People's own data, from and to files of other programs.

Stacks of TIFF, HDF5, numpy, N5 and zarr of any layout become the volumes that everything else reads, raw and labels,
with their coarser levels; and back. All is read and written in blocks, and a run that was killed goes on.
"""

from csc_data.converting.exporting import EXPORT_SUFFIXES, Export, export_volume
from csc_data.converting.planning import Conversion, plan_conversion
from csc_data.converting.sources.opening import open_source
from csc_data.converting.writing import VolumePlan, write_volumes

__all__ = [
    "EXPORT_SUFFIXES",
    "Conversion",
    "Export",
    "VolumePlan",
    "export_volume",
    "open_source",
    "plan_conversion",
    "write_volumes",
]
