"""One count of progress over several arrays."""

from __future__ import annotations

from csc_data.blocks import Progress


def shift_progress(progress: Progress | None, base: int, total: int) -> Progress | None:
    """Return a callback for one array that reports to that of all.

    Parameters
    ----------
    progress : callable or None
        That of all.
    base : int
        What the arrays before it count together.
    total : int
        What all count together.

    Examples
    --------
    >>> report = shift_progress(lambda done, total: print(f"{done} of {total}"), base=10, total=20)
    >>> report(3, 5)
    13 of 20
    """
    if progress is None:
        return None
    report = progress
    return lambda done, _: report(base + done, total)
