from .archives.download import ArchivePlan as ArchivePlan
from .archives.download import ArchiveResult as ArchiveResult
from .archives.download import fetch_archive as fetch_archive
from .archives.download import plan_archive as plan_archive
from .archives.unpacking import UnpackResult as UnpackResult
from .archives.unpacking import UnsafeArchiveError as UnsafeArchiveError
from .fetch import DiskFullError as DiskFullError
from .fetch import FetchStopped as FetchStopped
from .fetch import UnwritableFolderError as UnwritableFolderError
from .fetch import fetch_data as fetch_data
from .plan import CropPlan as CropPlan
from .plan import FetchInterrupted as FetchInterrupted
from .plan import FetchOptions as FetchOptions
from .plan import FetchPlan as FetchPlan
from .plan import FetchProgress as FetchProgress
from .plan import FetchResult as FetchResult
from .planning.planner import plan_fetch as plan_fetch
from .sources import estimate_fetch as estimate_fetch
from .verifying import VerifyResult as VerifyResult
from .verifying import verify_data as verify_data

__all__ = [
    "ArchivePlan",
    "ArchiveResult",
    "CropPlan",
    "DiskFullError",
    "FetchInterrupted",
    "FetchOptions",
    "FetchPlan",
    "FetchProgress",
    "FetchResult",
    "FetchStopped",
    "UnpackResult",
    "UnsafeArchiveError",
    "UnwritableFolderError",
    "VerifyResult",
    "estimate_fetch",
    "fetch_archive",
    "fetch_data",
    "plan_archive",
    "plan_fetch",
    "verify_data",
]
