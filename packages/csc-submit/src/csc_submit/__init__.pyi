from .packing.arrays import pack_array as pack_array
from .packing.official_calls import package_submission as package_submission
from .packing.official_calls import save_numpy_binary_to_zarr as save_numpy_binary_to_zarr
from .packing.official_calls import save_numpy_class_arrays_to_zarr as save_numpy_class_arrays_to_zarr
from .packing.official_calls import save_numpy_class_labels_to_zarr as save_numpy_class_labels_to_zarr
from .packing.official_calls import save_numpy_labels_to_zarr as save_numpy_labels_to_zarr
from .packing.official_calls import zip_submission as zip_submission
from .packing.pack import pack_results as pack_results
from .packing.results import PackResult as PackResult
from .processing.arrays import process_array as process_array
from .processing.arrays import process_arrays as process_arrays
from .processing.calling import load_safe_config as load_safe_config
from .processing.process import ProcessResult as ProcessResult
from .processing.process import process as process
from .repairing.fix import FixResult as FixResult
from .repairing.fix import fix_submission as fix_submission
from .settings import ProcessSettings as ProcessSettings
from .tuning.results import TuneResult as TuneResult
from .tuning.tune import tune as tune

__version__: str
__all__ = [
    "FixResult",
    "PackResult",
    "ProcessResult",
    "ProcessSettings",
    "TuneResult",
    "fix_submission",
    "load_safe_config",
    "pack_array",
    "pack_results",
    "package_submission",
    "process",
    "process_array",
    "process_arrays",
    "save_numpy_binary_to_zarr",
    "save_numpy_class_arrays_to_zarr",
    "save_numpy_class_labels_to_zarr",
    "save_numpy_labels_to_zarr",
    "tune",
    "zip_submission",
]
