from .checking.check import SubmissionReport as SubmissionReport
from .checking.check import check_submission as check_submission
from .packing.pack import PackResult as PackResult
from .packing.pack import pack_results as pack_results
from .processing.arrays import process_array as process_array
from .processing.arrays import process_arrays as process_arrays
from .processing.calling import load_safe_config as load_safe_config
from .processing.process import ProcessResult as ProcessResult
from .processing.process import process as process
from .settings import ProcessSettings as ProcessSettings

__version__: str
__all__ = [
    "PackResult",
    "ProcessResult",
    "ProcessSettings",
    "SubmissionReport",
    "check_submission",
    "load_safe_config",
    "pack_results",
    "process",
    "process_array",
    "process_arrays",
]
