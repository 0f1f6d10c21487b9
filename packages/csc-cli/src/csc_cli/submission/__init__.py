"""From an experiment to the file to upload: predict, process, pack and validate, crop by crop.

Crops are done one after the other, so that only one of them has predictions and processed volumes on the disk. What is
finished of each is recorded, so a run that was killed goes on, and ends with the bytes of one that was not.
"""

from csc_cli.submission.disk import DiskBudgetError
from csc_cli.submission.making import plan_submission, submit
from csc_cli.submission.options import SubmitOptions
from csc_cli.submission.plan import CropTask, SubmitPlan
from csc_cli.submission.results import CropOutcome, SubmitProgress, SubmitResult, Watch
from csc_cli.submission.running_alone import AlreadyRunningError

__all__ = [
    "AlreadyRunningError",
    "CropOutcome",
    "CropTask",
    "DiskBudgetError",
    "SubmitOptions",
    "SubmitPlan",
    "SubmitProgress",
    "SubmitResult",
    "Watch",
    "plan_submission",
    "submit",
]
