"""The errors of the toolbox.

Every error that a user can cause is a `CscError`; leaves also inherit the builtin that fits. Commands print a
`CscError` as it is and exit with 1, so its text must say what was given, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class CscError(Exception):
    """Root of all errors that the toolbox raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding of a validation.

    Attributes
    ----------
    where : str
        The place: a file, a setting, a crop and class.
    what : str
        What is wrong there, with the value that was given.
    remedy : str
        What to do about it; may be empty.
    """

    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.remedy})" if self.remedy else "")


class ProblemsError(CscError, ValueError):
    """A validation found problems; all of them are reported together.

    Parameters
    ----------
    subject : str
        What was validated, for example the path of an experiment file.
    problems : iterable of Problem
        At least one.
    """

    def __init__(self, subject: str, problems: Iterable[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            super().__init__(f"{subject}: {self.problems[0]}")
            return
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{subject}: {len(self.problems)} problems\n{lines}")

    def __reduce__(self) -> tuple[type[ProblemsError], tuple[str, tuple[Problem, ...]]]:
        # Exceptions are rebuilt from args when they cross a process border; ours take two.
        return type(self), (self.subject, self.problems)


class InvalidArgumentError(CscError, ValueError):
    """An argument has a value that cannot be worked with."""


class MissingDataError(CscError, FileNotFoundError):
    """A file, directory, array or crop that was asked for is not there."""


class MissingBucketError(MissingDataError):
    """A bucket is not there: what was asked for in it is not merely absent, the name or the endpoint is wrong."""


class UnreadableDataError(CscError, OSError):
    """Data is there, but cannot be read: truncated, corrupt, or of a format that is not installed."""


class ExistingOutputError(CscError, FileExistsError):
    """Output exists already, and it was not said what to do with it."""
