"""From predictions to a submission: post-processing block by block, packing, checking, zipping.

Needs no torch. The functions are imported when first asked for, so that reading the settings alone stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from csc_submit.settings import ProcessSettings

if TYPE_CHECKING:
    from csc_submit.checking import SubmissionReport, check_submission
    from csc_submit.packing import PackResult, pack_results
    from csc_submit.processing import ProcessResult, process

__all__ = [
    "PackResult",
    "ProcessResult",
    "ProcessSettings",
    "SubmissionReport",
    "check_submission",
    "pack_results",
    "process",
]
__version__ = "0.1.0"

_PLACES = {
    "PackResult": "packing",
    "ProcessResult": "processing",
    "SubmissionReport": "checking",
    "check_submission": "checking",
    "pack_results": "packing",
    "process": "processing",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"csc_submit.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
