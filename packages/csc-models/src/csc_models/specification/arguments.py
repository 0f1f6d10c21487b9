"""Arguments of models: checked against the annotations of their builder, and as plain data for files."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

import numpy as np

from csc_models.errors import ModelArgumentError


def check_arguments(
    model: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Check values against annotations, and add defaults.

    Parameters
    ----------
    model : str
        Name of the model, for messages.
    parameters : mapping
        Parameters of the builder with evaluated annotations.
    given : mapping
        Values by name; all names are known.

    Returns
    -------
    dict
        A value per parameter, in their order; lists that stand for tuples (as read from files) are tuples.

    Raises
    ------
    ModelArgumentError
        An argument without default is missing, or a value has the wrong type. All findings are reported together.

    Examples
    --------
    >>> def build(n_classes: int, width: int = 16): ...
    >>> parameters = inspect.signature(build, eval_str=True).parameters
    >>> check_arguments("mine", parameters, {"n_classes": 2})
    {'n_classes': 2, 'width': 16}
    >>> check_arguments("mine", parameters, {"n_classes": "two"})
    Traceback (most recent call last):
        ...
    csc_models.errors.ModelArgumentError: mine: n_classes='two' is not of type int
    """
    complete: dict[str, Any] = {}
    findings = []
    for name, parameter in parameters.items():
        if name in given:
            value = plain_value(given[name])
            if not _matches(value, parameter.annotation):
                findings.append(f"{name}={value!r} is not {_words(parameter.annotation)}")
            complete[name] = value
        elif parameter.default is inspect.Parameter.empty:
            findings.append(f"{name} is missing ({_words(parameter.annotation)})")
        else:
            complete[name] = parameter.default
    if findings:
        raise ModelArgumentError(f"{model}: {'; '.join(findings)}")
    return complete


def plain_value(value: Any) -> Any:
    """Return numbers and arrays of numpy as Python's, and lists, however deep, as tuples.

    Examples
    --------
    >>> import numpy as np
    >>> plain_value([np.int64(3), [np.float32(0.5), "a"]])
    (3, (0.5, 'a'))
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return tuple(plain_value(item) for item in value) if isinstance(value, (list, tuple)) else value


def plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as data that a checkpoint can hold: dataclasses become dicts, tuples lists.

    Examples
    --------
    >>> plain_arguments({"img_size": (64, 64, 64)})
    {'img_size': [64, 64, 64]}
    """
    return {name: _plain(value) for name, value in arguments.items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain_arguments(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return plain_arguments(value)
    value = plain_value(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _matches(value: Any, annotation: Any) -> bool:
    """Whether a value is of an annotated type; only the forms that builders use are known."""
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in typing.get_args(annotation))
    if origin in (Union, types.UnionType):
        return any(_matches(value, choice) for choice in typing.get_args(annotation))
    if origin is tuple:
        items = typing.get_args(annotation)
        if len(items) == 2 and items[1] is Ellipsis:
            return isinstance(value, tuple) and all(_matches(item, items[0]) for item in value)
        return isinstance(value, tuple) and len(value) == len(items) and all(map(_matches, value, items))
    if origin is not None and isinstance(origin, type):
        return isinstance(value, origin)
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is None:
        return value is None
    return isinstance(value, annotation)


def _words(annotation: Any) -> str:
    """An annotation in words, as short as Python writes it."""
    if typing.get_origin(annotation) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(annotation))
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return f"of type {annotation.__name__}"
    return f"of type {annotation}"
