"""Networks for other programs: TorchScript, ``torch.export``, ONNX, and BioImage.IO model packages.

Every function runs the file that it wrote before the file gets its name, and raises `ExportError` unless it gives the
outputs of the network. Files say what their classes are and what raw data has to be scaled to.
"""

from csc_models.errors import ExportError
from csc_models.export.bioimageio import to_bioimageio
from csc_models.export.exportable import Trial
from csc_models.export.exported_program import to_exported_program
from csc_models.export.loading import LoadedExport, is_exported, load_exported
from csc_models.export.onnx import to_onnx
from csc_models.export.package_details import Author, Citation, PackageDetails
from csc_models.export.torchscript import to_torchscript
from csc_models.export.verification import ExportedFile

__all__ = [
    "Author",
    "Citation",
    "ExportError",
    "ExportedFile",
    "LoadedExport",
    "PackageDetails",
    "Trial",
    "is_exported",
    "load_exported",
    "to_bioimageio",
    "to_exported_program",
    "to_onnx",
    "to_torchscript",
]
