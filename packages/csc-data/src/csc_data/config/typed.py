"""Values checked against type annotations, for settings that people write by hand.

Only what settings need: numbers, text, paths, tuples, mappings, literals, unions, callables and dataclasses.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import numbers
import types
import typing
from pathlib import Path
from typing import Any, Literal, Union

from csc_data.errors import Problem

_NUMBERS: dict[type, tuple[type, str]] = {
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
}


class MismatchError(TypeError):
    """A value does not fit an annotation; the text says what was expected."""

    def __init__(self, expected: str, value: object, problems: tuple[Problem, ...] = ()) -> None:
        self.expected = expected
        self.problems = problems
        super().__init__(f"expected {expected}, got {value!r}")


def coerce(value: object, annotation: Any) -> Any:
    """Return the value as the annotated type, without guessing.

    An int passes as a float, a list as a tuple, text as a path, a mapping as a dataclass; nothing else is converted.

    Raises
    ------
    MismatchError
        If the value does not fit.

    Examples
    --------
    >>> coerce([8, 8, 8], tuple[float, float, float])
    (8.0, 8.0, 8.0)
    """
    if annotation is Any or annotation is object:
        return value
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return _coerce_union(value, arguments)
    if origin is Literal:
        if value in arguments and type(value) in {type(a) for a in arguments}:
            return value
        raise MismatchError("one of " + ", ".join(map(repr, arguments)), value)
    if origin is tuple:
        return _coerce_tuple(value, arguments)
    if origin in (dict, collections.abc.Mapping):
        if not isinstance(value, collections.abc.Mapping):
            raise MismatchError("a mapping", value)
        return {coerce(k, arguments[0]): coerce(v, arguments[1]) for k, v in value.items()}
    if origin is collections.abc.Callable or annotation is collections.abc.Callable:
        if not callable(value):
            raise MismatchError("something to call", value)
        return value
    if dataclasses.is_dataclass(annotation):
        return _coerce_dataclass(value, annotation)
    return _coerce_plain(value, annotation)


def _coerce_plain(value: object, annotation: Any) -> Any:
    if annotation is None or annotation is type(None):
        if value is None:
            return None
        raise MismatchError("nothing (None)", value)
    if annotation is bool:
        if isinstance(value, bool):
            return value
        raise MismatchError("true or false", value)
    if annotation in (int, float):
        kind, words = _NUMBERS[annotation]
        if isinstance(value, kind) and not isinstance(value, bool):
            return annotation(value)
        raise MismatchError(words, value)
    if annotation is Path:
        if isinstance(value, str | Path):
            return Path(value)
        raise MismatchError("a path", value)
    if isinstance(value, annotation):
        return value
    raise MismatchError({str: "text"}.get(annotation, f"a {getattr(annotation, '__name__', annotation)}"), value)


def _coerce_union(value: object, arguments: tuple[Any, ...]) -> Any:
    expected = []
    for argument in arguments:
        try:
            return coerce(value, argument)
        except MismatchError as error:
            if error.problems and isinstance(value, collections.abc.Mapping):
                raise  # the right kind, wrong inside: its own problems say more
            expected.append(error.expected)
    raise MismatchError(" or ".join(expected), value)


def _coerce_tuple(value: object, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, collections.abc.Iterable):
        raise MismatchError("a list", value)
    items = list(value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(coerce(item, arguments[0]) for item in items)
    if len(items) != len(arguments):
        raise MismatchError(f"{len(arguments)} values", value)
    return tuple(coerce(item, argument) for item, argument in zip(items, arguments, strict=True))


def _coerce_dataclass(value: object, cls: Any) -> Any:
    if isinstance(value, cls):
        return value
    if not isinstance(value, collections.abc.Mapping):
        raise MismatchError(f"a mapping with {', '.join(f.name for f in dataclasses.fields(cls))}", value)
    result, problems = build_dataclass(cls, value)
    if problems:
        raise MismatchError(f"a valid {cls.__name__}", value, tuple(problems))
    return result


def build_dataclass(cls: Any, values: typing.Mapping[str, object]) -> tuple[Any, list[Problem]]:
    """Build a dataclass from named values and collect everything that is wrong with them.

    Field metadata may hold ``minimum``, ``above`` and ``maximum`` for numbers and tuples of numbers. A method
    ``problems()`` of the dataclass may add findings that concern several fields.

    Returns
    -------
    instance or None
        None when there are problems.
    problems : list of Problem
        ``where`` is the dotted name of the field.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    problems = [
        Problem(where=name, what="there is no such setting", remedy=_nearest(name, fields))
        for name in values
        if name not in fields
    ]
    arguments = {}
    for name, field in fields.items():
        if name not in values:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                problems.append(Problem(where=name, what="is missing", remedy="it has no default"))
            continue
        try:
            arguments[name] = coerce(values[name], hints[name])
        except MismatchError as error:
            problems.extend(dataclasses.replace(inner, where=f"{name}.{inner.where}") for inner in error.problems)
            if not error.problems:
                problems.append(Problem(where=name, what=str(error)))
            continue
        problems.extend(_range_problems(field, arguments[name]))
    if problems:
        return None, problems
    instance = cls(**arguments)
    check = getattr(instance, "problems", None)
    found = list(check()) if callable(check) else []
    return (None, found) if found else (instance, [])


def _nearest(name: str, fields: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(fields), n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(fields)}"


def _range_problems(field: dataclasses.Field[Any], value: object) -> list[Problem]:
    numbers_in = value if isinstance(value, tuple) else (value,)
    limits = field.metadata
    for number in numbers_in:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if number != number:
            return [Problem(where=field.name, what="is not a number")]
        if "minimum" in limits and number < limits["minimum"]:
            return [Problem(where=field.name, what=f"must be at least {limits['minimum']}, got {value!r}")]
        if "above" in limits and number <= limits["above"]:
            return [Problem(where=field.name, what=f"must be above {limits['above']}, got {value!r}")]
        if "maximum" in limits and number > limits["maximum"]:
            return [Problem(where=field.name, what=f"must be at most {limits['maximum']}, got {value!r}")]
    return []
