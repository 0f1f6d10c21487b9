"""What a run did."""

from __future__ import annotations

from dataclasses import dataclass

from csc_data.errors import Problem
from csc_data.fetching.plan import FetchPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """What a run did.

    Attributes
    ----------
    plan : FetchPlan
    fetched_files, fetched_bytes : int
        What came in this run.
    absent : int
        Chunks that the bucket listed and then did not have: they read as the fill value.
    removed : int
        Files that were there and not in the bucket, when overwriting.
    failed : tuple of Problem
        Files that could not be had, and why.
    withheld : tuple of str
        Crops with failed files: the metadata of their labels was not written, so that nothing reads what is missing
        as background. The next run completes them.
    stopped : str
        Why the run ended before its end; "" if it did not.
    seconds : float
        Time of the transfer.
    """

    plan: FetchPlan
    fetched_files: int
    fetched_bytes: int
    absent: int
    removed: int
    failed: tuple[Problem, ...]
    withheld: tuple[str, ...]
    stopped: str
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is there."""
        return not (self.failed or self.stopped or self.plan.missing)


class FetchInterrupted(KeyboardInterrupt):
    """The user stopped a run (Ctrl-C); ``result`` tells what stands. Running again goes on from there."""

    def __init__(self, result: FetchResult) -> None:
        self.result = result
        super().__init__("interrupted")
