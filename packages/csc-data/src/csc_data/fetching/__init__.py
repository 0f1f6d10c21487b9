"""Fetching the challenge's data: the labels of crops and the raw around them, from the bucket into the data folder.

`estimate_fetch` tells how much it can be at most. `plan_fetch` lists what is needed and compares it with what is there;
`fetch_data` does that, and fetches the rest. Every file appears whole or not at all, so a run can be stopped at any
point, by Ctrl-C or by force: the next one fetches what is missing and nothing else. `fetch_archive` fetches one of the
organisers' zips instead.
"""

from csc_data.fetching.archives.download import ArchivePlan, ArchiveResult, fetch_archive, plan_archive
from csc_data.fetching.archives.unpacking import UnpackResult, UnsafeArchiveError
from csc_data.fetching.fetch import fetch_data
from csc_data.fetching.plan import CropPlan, FetchInterrupted, FetchOptions, FetchPlan, FetchProgress, FetchResult
from csc_data.fetching.planning import plan_fetch
from csc_data.fetching.sources import estimate_fetch
from csc_data.fetching.staging import DiskFullError, UnwritableFolderError
from csc_data.storage.bucket import FetchStopped

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
    "estimate_fetch",
    "fetch_archive",
    "fetch_data",
    "plan_archive",
    "plan_fetch",
]
