"""What was found in a submission, and what the portal does with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from csc_data.errors import Problem
from csc_eval.causes import CAUSES, Cause, Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cause at one place: the submission ("."), a file, ``crop557`` or ``crop557/mito``; detail has the figures."""

    cause: Cause
    where: str
    detail: str = ""

    @property
    def problem(self) -> Problem:
        """It, for people."""
        what = f"{self.cause.what} ({self.detail})" if self.detail else self.cause.what
        return Problem(where=self.where, what=what, remedy=self.cause.remedy)

    def __str__(self) -> str:
        return str(self.problem)


def found(name: str, where: str, detail: str = "") -> Finding:
    """Return a finding of a cause by its name.

    Examples
    --------
    >>> str(found("label_name", "crop557/Mito", "mito is meant"))
    'crop557/Mito: is not the name of a class (mito is meant) (`csc validate --fix` mends it)'
    """
    return Finding(cause=CAUSES[name], where=where, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelVerdict:
    """What the portal does with one class of one test crop.

    Attributes
    ----------
    verdict : {"accepted", "missing", "ends"}
    dtype : str
        Of the array; "" if there is none.
    voxels : int
        How many are not 0.
    instances : int or None
        How many ids; None for semantic classes.
    """

    crop: str
    class_name: str
    verdict: Verdict
    dtype: str = ""
    voxels: int = 0
    instances: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Whether the portal takes a submission.

    Attributes
    ----------
    path : Path
    labels : tuple of LabelVerdict
        One a class and test crop; none where nothing of the submission is read.
    findings : tuple of Finding
    """

    path: Path
    labels: tuple[LabelVerdict, ...]
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """``refused``, ``ends``, ``accepted``, or ``missing`` where there is nothing that could be scored."""
        said = worst([finding.cause.verdict for finding in self.findings])
        if said in ("refused", "ends"):
            return said
        return "accepted" if self.accepted else "missing"

    @property
    def accepted(self) -> tuple[LabelVerdict, ...]:
        """The labels that are scored."""
        return tuple(label for label in self.labels if label.verdict == "accepted")

    @property
    def ok(self) -> bool:
        """Whether something is scored, and all that was handed in as it is meant."""
        return self.verdict == "accepted" and not any(finding.cause.harmful for finding in self.findings)
