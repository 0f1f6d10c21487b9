"""The errors of the toolbox.

Every error that a user can cause is a `CscError`; leaves also inherit the builtin that fits. Commands print a
`CscError` as it is and exit with 1, so its text must say what was given, what was expected and what to do.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any


class CscError(Exception):
    """Root of all errors that the toolbox raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding of a validation.

    Attributes
    ----------
    where : str
        The place: a file, a setting, a crop and class; empty for all of what was validated.
    what : str
        What is wrong there, with the value that was given.
    remedy : str
        What to do about it; may be empty.
    """

    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return (f"{self.where}: " if self.where else "") + self.what + (f" ({self.remedy})" if self.remedy else "")

    def within(self, place: str) -> Problem:
        """Return the problem of a larger whole, in which this one's place is part of another.

        >>> Problem(where="z", what="is missing").within("scale").where
        'scale.z'
        """
        return replace(self, where=".".join(filter(None, (place, self.where))))


def nearest(name: object, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the name that is most like a misspelt one; None if none is like it (a ratio of difflib's).

    >>> nearest("mitto", ["er", "mito"])
    'mito'
    """
    import difflib  # for the one who misspells; others do not wait for it

    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(name: object, known: Iterable[str], otherwise: str | None = None) -> str:
    """Return the remedy for a name that is not known: the nearest one, else all of them, or what is said instead.

    >>> did_you_mean("gama", ["gamma", "blur"]), did_you_mean("x", ["gamma", "blur"])
    ('did you mean gamma?', 'known are gamma, blur')
    """
    names = list(known)
    near = nearest(name, names)
    return f"did you mean {near}?" if near else otherwise or f"known are {', '.join(names)}"


class ProblemsError(CscError, ValueError):
    """A validation found problems; all of them are reported together.

    Parameters
    ----------
    subject : str
        What was validated, for example the path of an experiment file.
    problems : iterable of Problem
        At least one.

    Examples
    --------
    >>> from csc_data import Problem, ProblemsError
    >>> wrong = Problem(where="epochs", what="must be at least 1", remedy="give a larger number")
    >>> print(ProblemsError("mine.toml", [wrong]))
    mine.toml: epochs: must be at least 1 (give a larger number)
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


class QuestionableDataError(UnreadableDataError):
    """Data that are not as their format has them, and are not read here; other readers may make something of them."""


class OddValueError(ValueError):
    """What makes data questionable, before it is known where they lie."""


class MissingPackageError(CscError, ImportError):
    """A package that an extra brings is not installed; the text has the command that installs it."""


class ExistingOutputError(CscError, FileExistsError):
    """Output exists already, and it was not said what to do with it."""


def import_extra(module: str, what: str, extra: str) -> Any:
    """Import a module of a package that an extra brings.

    Parameters
    ----------
    module : str
        Its name, as in an import.
    what : str
        What needs it, as the message begins.
    extra : str
        Such as ``csc-data[convert]``.

    Raises
    ------
    MissingPackageError
        If it is not installed.

    Examples
    --------
    >>> import_extra("json", "reading", "csc-data[convert]").loads("[1]")
    [1]
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise MissingPackageError(
            f'{what} needs {name}, which the extra {extra} brings: pip install "{extra}", or in a clone of the toolbox '
            f'pip install "./packages/{extra}"',
            name=name,
        ) from error
