"""Pages that show a run, or compare several: what it was trained on, curves, scores, pictures, settings.

They are made of what lies on the disk: torch is not needed.
"""

from csc_train.report.page import RunReportOptions, write_run_report
from csc_train.report.reading import NoRunError, RunFiles, find_run, read_run

__all__ = ["NoRunError", "RunFiles", "RunReportOptions", "find_run", "read_run", "write_run_report"]
