"""The challenge: its classes, its crops, where its data lies, and the organisers' lists of all that.

Names are imported when they are first used: most callers want the classes alone.
"""

from typing import Any

import lazy_loader

_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Give `TEST_CROPS` and `TEST_CROPS_DICT` of the official tools; their list is read when it is first asked for."""
    if name not in {"TEST_CROPS", "TEST_CROPS_DICT"}:
        return _find(name)
    from csc_data.challenge.current_lists import load_test_crops
    from csc_data.challenge.test_crops import as_rows

    rows = as_rows(load_test_crops().values())
    return rows if name == "TEST_CROPS" else {(row.id, row.class_label): row for row in rows}
