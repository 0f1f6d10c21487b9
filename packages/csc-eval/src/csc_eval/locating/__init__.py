"""Where a label is wrong: objects that were missed, made up, merged or split, and the planes with most wrong voxels.

Worked out on request from the volumes, never while they are scored.
"""

from csc_eval.locating.finding import LabelErrors, locate_errors
from csc_eval.locating.objects import KINDS, ErrorPlace, Kind

__all__ = ["KINDS", "ErrorPlace", "Kind", "LabelErrors", "locate_errors"]
