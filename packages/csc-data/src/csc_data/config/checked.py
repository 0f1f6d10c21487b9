"""Settings of transforms and targets that check themselves, however they are made."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from csc_data.config.typed import MismatchError, coerce
from csc_data.errors import Problem, ProblemsError

CheckedT = TypeVar("CheckedT")


def check_fields(instance: Any, subject: str, *, ascending: Iterable[str] = ()) -> None:
    """Bring the fields of a frozen dataclass to their annotated types and check their limits.

    Field metadata may hold ``minimum``, ``above`` and ``maximum``, for numbers and for tuples of numbers.

    Parameters
    ----------
    instance : dataclass
        Changed in place: lists become tuples, whole numbers floats where the annotation says so.
    subject : str
        What to call it in the error.
    ascending : iterable of str
        Fields that are pairs (low, high).

    Raises
    ------
    ProblemsError
        With everything that is wrong.
    """
    hints = typing.get_type_hints(type(instance))
    problems: list[Problem] = []
    for field in dataclasses.fields(instance):
        try:
            value = coerce(getattr(instance, field.name), hints[field.name])
        except MismatchError as error:
            problems.append(Problem(where=field.name, what=str(error)))
            continue
        object.__setattr__(instance, field.name, value)
        what = _outside(value, field.metadata)
        if not what and field.name in ascending and value[0] > value[1]:
            what = f"must be (low, high), got {value!r}"
        if what:
            problems.append(Problem(where=field.name, what=what))
    if problems:
        raise ProblemsError(subject, problems)


def _outside(value: Any, limits: Mapping[str, Any]) -> str:
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if not math.isfinite(number):
            return f"must be finite, got {value!r}"
        if "minimum" in limits and number < limits["minimum"]:
            return f"must be at least {limits['minimum']}, got {value!r}"
        if "above" in limits and number <= limits["above"]:
            return f"must be above {limits['above']}, got {value!r}"
        if "maximum" in limits and number > limits["maximum"]:
            return f"must be at most {limits['maximum']}, got {value!r}"
    return ""


def build(cls: type[CheckedT], options: Any, where: str, problems: list[Problem]) -> CheckedT | None:
    """Make a checked dataclass from the options of an experiment file; what is wrong is added to the problems."""
    if not isinstance(options, Mapping):
        problems.append(Problem(where=where, what=f"expected a mapping of its options, got {options!r}"))
        return None
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    strange = [name for name in options if name not in names]
    problems.extend(
        Problem(where=f"{where}.{name}", what="there is no such option", remedy=nearest(name, names))
        for name in strange
    )
    try:
        made = cls(**{name: value for name, value in options.items() if name in names})
    except ProblemsError as error:
        problems.extend(dataclasses.replace(found, where=f"{where}.{found.where}") for found in error.problems)
        return None
    return None if strange else made


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the remedy for a name that is not known: the nearest one, or all.

    >>> nearest("gama", ["gamma", "blur"]), nearest("x", ["gamma", "blur"])
    ('did you mean gamma?', 'known are gamma, blur')
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
