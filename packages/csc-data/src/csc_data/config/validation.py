"""What pydantic finds wrong, as problems in our words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from csc_data.errors import Problem, ProblemsError, did_you_mean
from csc_data.wording import listed

_EXPECTED = {
    "bool_type": "true or false",
    "callable_type": "something to call",
    "dict_type": "a mapping",
    "float_type": "a number",
    "int_type": "a whole number",
    "none_required": "nothing (None)",
    "path_type": "a path",
    "string_type": "text",
    "tuple_type": "a list",
}
_MANY = 20  # names that nobody wants to read all of
_LIMITS = {
    "finite_number": "must be finite",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
}


class MismatchError(ValueError):
    """A value is not of the type that was expected; its text is that type in words."""


def class_problems(error: ValidationError, names: Sequence[str]) -> list[Problem]:
    """Return everything that is wrong with a class of settings that has these names."""
    found = [problem for detail in error.errors() for problem in _translate(detail, detail["loc"], names)]
    return list(dict.fromkeys(found))


def union_problems(error: ValidationError) -> list[Problem]:
    """Return what is wrong with a value that may be of several types.

    Where it is of one of the types, and wrong inside, that alone is told; else which types there are.
    """
    details: Sequence[Any] = error.errors()
    # The first part of a place is pydantic's name for the type that was tried.
    inside = [detail for detail in details if len(detail["loc"]) > 1 or not _expected(detail)]
    if inside:
        return [problem for detail in inside for problem in _translate(detail, detail["loc"][1:], ())]
    expected = " or ".join(dict.fromkeys(_expected(detail) for detail in details))
    return [Problem(where="", what=f"expected {expected}, got {details[0]['input']!r}")]


def _expected(detail: Any) -> str:
    """Return the type that was expected, in words; nothing where something else is wrong."""
    raised = detail.get("ctx", {}).get("error")
    return str(raised) if isinstance(raised, MismatchError) else _EXPECTED.get(detail["type"], "")


def _translate(detail: Any, place: Sequence[int | str], names: Sequence[str]) -> list[Problem]:
    # Which item of a list it is says the value that is shown.
    where = ".".join(str(part) for part in place if isinstance(part, str) and part != "[key]")
    kind, value = detail["type"], detail["input"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    raised = context.get("error")
    if isinstance(raised, ProblemsError):
        return [problem.within(where) for problem in raised.problems]
    if kind == "missing":
        return [Problem(where=where, what="is missing", remedy="it has no default")]
    if kind == "unexpected_keyword_argument":
        many = f"known are {listed(names)}; `csc settings` lists all" if len(names) > _MANY else None
        remedy = did_you_mean(str(place[-1]), names, many)
        return [Problem(where=where, what="there is no such setting", remedy=remedy)]
    if kind in _LIMITS:
        return [Problem(where=where, what=f"{_LIMITS[kind].format(**context)}, got {value!r}")]
    if expected := _expected(detail):
        return [Problem(where=where, what=f"expected {expected}, got {value!r}")]
    return [Problem(where=where, what=str(raised or detail["msg"]))]
