"""What is told while a submission is made, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from csc_data.errors import Problem
from csc_eval import Finding, SubmissionScore, Validation

if TYPE_CHECKING:
    from csc_cli.submission.plan import SubmitPlan

Doing = Literal["predict", "process", "pack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitProgress:
    """Where the work is: a stage of a crop (the number of how many), and its finished blocks, of how many."""

    crop: str
    number: int
    crops: int
    stage: Doing
    done: int
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CropOutcome:
    """What became of a crop.

    Attributes
    ----------
    crop : str
        Its data set and name.
    packed, there : tuple of str
        Classes that this run packed, and that were packed before.
    problems : tuple of Problem
        What failed.
    findings : tuple of Finding
        What the portal makes of what was packed.
    disk : int
        Bytes of all of the submission when the crop was packed, before its intermediates went.
    seconds : float
    """

    crop: str
    packed: tuple[str, ...] = ()
    there: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    findings: tuple[Finding, ...] = ()
    disk: int = 0
    seconds: float = 0.0


class Watch:
    """Is told of the work; does nothing by itself."""

    def planned(self, plan: SubmitPlan) -> None:
        """Take what will be done, before the first block."""

    def worked(self, state: SubmitProgress) -> None:
        """Take where the work is, after each block."""

    def finished(self, outcome: CropOutcome) -> None:
        """Take what became of a crop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitResult:
    """A submission.

    Attributes
    ----------
    archive : Path or None
        The file to upload; None where nothing could be packed.
    crops : tuple of CropOutcome
    validation : Validation or None
        What the portal will make of it, and what it lacks.
    score : SubmissionScore or None
        By the truth, where that is in the data folder.
    unscored : str
        Why that truth cannot be used.
    seconds : float
    """

    archive: Path | None
    crops: tuple[CropOutcome, ...]
    validation: Validation | None
    score: SubmissionScore | None
    unscored: str = ""
    seconds: float

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What failed, of all crops."""
        return tuple(problem for crop in self.crops for problem in crop.problems)

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and the portal scores what was handed in as it is meant."""
        return not self.problems and self.validation is not None and self.validation.ok
