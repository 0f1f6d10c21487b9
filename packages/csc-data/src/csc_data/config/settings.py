"""Settings: declared once as frozen dataclasses, checked by pydantic, reported in our words.

A class of settings says what each one is once made (``tuple[str, ...]``) and, by `Given`, what people may give for it
(any sequence of text); `settings` makes a dataclass of it that checks what it is given, without guessing: no text for a
number, no true for 1. Everything that is wrong, at whatever depth, comes as one `ProblemsError`.

This imports pydantic, so only what declares settings imports this: the loader, training, and post-processing.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import numbers
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, Union

import pydantic
import pydantic.dataclasses

from csc_data.config.validation import MismatchError, class_problems, union_problems
from csc_data.errors import Problem, ProblemsError

ClassT = TypeVar("ClassT")
MadeT = TypeVar("MadeT", covariant=True)
AcceptedT = TypeVar("AcceptedT", contravariant=True)

Earlier = Mapping[str, Any]
"""The settings of the same class that stand before one, and are right."""
Check = Callable[[Any, Earlier], Iterable[Problem]]
"""Yields what is wrong with a value beyond its type and limits; ``where`` is within the setting, or empty."""

if TYPE_CHECKING:

    class Given(Generic[MadeT, AcceptedT]):
        """The type of a setting, and what people may give for it: ``Given[tuple[str, ...], Sequence[str]]``.

        To a type checker it is a descriptor: what is read is narrower than what is given.
        """

        def __get__(self, instance: object, owner: type[Any]) -> MadeT: ...
        def __set__(self, instance: object, value: AcceptedT) -> None: ...

else:

    class Given:
        """The type of a setting, and what people may give for it: ``Given[tuple[str, ...], Sequence[str]]``."""

        def __class_getitem__(cls, types):
            """Return the first type, with the second as a remark."""
            return Annotated[types[0], Accepts(types[1])]


@dataclasses.dataclass(frozen=True, slots=True)
class Accepts:
    """What people may give for a setting, where it is not just what it is."""

    type: Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where the numbers of a setting must lie, also those in a list or a mapping; all are finite."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None


SHARE = Limits(ge=0, le=1)
POSITIVE = Limits(gt=0)
NOT_NEGATIVE = Limits(ge=0)
COUNT = Limits(ge=1)


@dataclasses.dataclass(frozen=True, slots=True)
class Choices:
    """The names that a setting may have; or it is something to call, or an object that has the method."""

    names: tuple[str, ...]
    method: str = "__call__"

    def __call__(self, value: Any, _: Earlier) -> Iterable[Problem]:
        """Check a value."""
        if isinstance(value, str) and value not in self.names:
            yield Problem(where="", what=f"there is no {value!r}", remedy=f"known are {', '.join(self.names)}")
        elif not isinstance(value, str) and not hasattr(value, self.method) and not callable(value):
            yield Problem(where="", what=f"must be a name or something to call, got {value!r}")


@dataclasses.dataclass(frozen=True, slots=True)
class OfNames:
    """A check of each name in a list or of a mapping, which tells its findings even where something else is wrong."""

    check: Callable[[str, Earlier], Iterable[Problem]]

    def problems(self, given: Any, earlier: Earlier) -> list[Problem]:
        """Return what is wrong with the names."""
        names = [name for name in given if isinstance(name, str)] if isinstance(given, list | tuple | Mapping) else []
        places = {name: name if isinstance(given, Mapping) else "" for name in names}
        return [found.within(place) for name, place in places.items() for found in self.check(name, earlier)]


@dataclasses.dataclass(frozen=True, slots=True)
class ReadBy:
    """What makes a setting's type of other forms that may be given; ``form`` is what may be given, for the schema."""

    read: Callable[[Any], Any]
    form: Any


Rule = Limits | OfNames | ReadBy | Check


@dataclasses.dataclass(frozen=True, slots=True)
class _Declared:
    field: Any
    rules: tuple[Rule, ...]

    def accept(self, annotation: Any) -> Any:
        """Return what pydantic is to make of the setting's annotation."""
        limits = next((rule for rule in self.rules if isinstance(rule, Limits)), Limits())
        accepted = _accept(annotation, limits)
        for rule in self.rules:
            if isinstance(rule, ReadBy):
                form = _accept(rule.form, limits)
                accepted = Annotated[accepted, pydantic.BeforeValidator(rule.read, json_schema_input_type=form)]
        return Annotated[accepted, pydantic.WrapValidator(self.validate)] if self.rules else accepted

    def validate(self, given: Any, handler: Callable[[Any], Any], info: pydantic.ValidationInfo) -> Any:
        """Return the setting made of what is given, once all checks have found nothing wrong."""
        problems = [
            found for rule in self.rules if isinstance(rule, OfNames) for found in rule.problems(given, info.data)
        ]
        try:
            value = handler(given)
        except pydantic.ValidationError as error:
            problems += class_problems(error, ())
        else:
            problems += [found for rule in self.rules if callable(rule) for found in rule(value, info.data)]
        if problems:
            raise ProblemsError(str(info.field_name), problems)
        return value


def setting(
    doc: str, *rules: Rule, default: Any = dataclasses.MISSING, factory: Callable[[], Any] | None = None
) -> Any:
    """Declare a setting.

    Parameters
    ----------
    doc : str
        What it is for, for people and for the JSON schema.
    *rules : Limits, OfNames, ReadBy or callable
        What holds beyond its type.
    default, factory : optional
        The default, or what makes it, in any form that may be given; without either the setting must be given.

    Examples
    --------
    >>> @settings
    ... class Walk:
    ...     steps: int = setting("How many steps.", default=10)
    >>> Walk(), Walk(steps=20)
    (Walk(steps=10), Walk(steps=20))
    >>> Walk(steps="many")
    Traceback (most recent call last):
        ...
    csc_data.errors.ProblemsError: Walk: steps: expected a whole number, got 'many'
    """
    options: dict[str, Any] = {"description": doc}
    if factory is not None:
        options["default_factory"] = factory
    elif default is not dataclasses.MISSING:
        options["default"] = default
    for rule in rules:
        if isinstance(rule, Choices):
            options["json_schema_extra"] = {"enum": list(rule.names)}
    return _Declared(pydantic.Field(**options), rules)


_CONFIG = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True, arbitrary_types_allowed=True)


# Frozen, but type checkers are not told: of frozen classes mypy gives inherited settings the type that they accept.
@typing.dataclass_transform(kw_only_default=True, field_specifiers=(setting,))
def settings(cls: type[ClassT]) -> type[ClassT]:
    """Make a frozen, keyword-only dataclass that checks what it is made of, and raises a `ProblemsError`.

    A static method ``adapt_given`` may bring what is given for several settings into another form before.

    Examples
    --------
    >>> @settings
    ... class Walk:
    ...     steps: int = setting("How many steps.", default=10)
    ...     way: list[str] = setting("What it passes.", not_empty, default=("home",))
    >>> Walk(steps=20)
    Walk(steps=20, way=['home'])
    >>> Walk(way=[])
    Traceback (most recent call last):
        ...
    csc_data.errors.ProblemsError: Walk: way: is empty (name at least one)
    """
    annotations = inspect.get_annotations(cls, eval_str=True)
    accepted = {}
    for name, annotation in annotations.items():
        declared = cls.__dict__.get(name)
        if isinstance(declared, _Declared):
            remarks = [remark.type for remark in getattr(annotation, "__metadata__", ()) if isinstance(remark, Accepts)]
            accepted[name] = remarks[-1] if remarks else annotation
            annotations[name] = declared.accept(annotation)
            setattr(cls, name, declared.field)
    cls.__annotations__ = annotations
    cls._accepted = accepted  # type: ignore[attr-defined]
    cls._report_problems = _report_problems  # type: ignore[attr-defined]
    made: Any = pydantic.dataclasses.dataclass(cls, frozen=True, kw_only=True, config=_CONFIG)
    construct, adapt = made.__init__, getattr(made, "adapt_given", dict)

    def init(self: Any, **given: Any) -> None:
        try:
            construct(self, **adapt(given))
        except pydantic.ValidationError as error:
            raise error.errors()[0]["ctx"]["error"] from None

    made.__init__ = functools.update_wrapper(init, construct)
    result: type[ClassT] = made
    return result


def _report(cls: Any, given: Any, handler: Callable[[Any], Any]) -> Any:
    try:
        return handler(given)
    except pydantic.ValidationError as error:
        names = [field.name for field in dataclasses.fields(cls)]
        if error.errors()[0]["type"] == "dataclass_type":
            raise MismatchError(f"a mapping with {', '.join(names)}") from None
        raise ProblemsError(cls.__name__, class_problems(error, names)) from None


_wrapped: Any = classmethod(_report)
_report_problems = pydantic.model_validator(mode="wrap")(_wrapped)


def _accept(annotation: Any, limits: Limits) -> Any:
    """Return what pydantic is to make of an annotation: strict where guessing hurts, open to lists and numpy."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is int or annotation is float:
        kind = numbers.Integral if annotation is int else numbers.Real
        bounds = pydantic.Field(
            **{name: bound for name, bound in dataclasses.asdict(limits).items() if bound is not None}
        )
        return Annotated[annotation, pydantic.Strict(), bounds, pydantic.BeforeValidator(_plain(annotation, kind))]
    if annotation is bool or annotation is str:
        return Annotated[annotation, pydantic.Strict()]
    if origin is Annotated:
        return Annotated[(_accept(arguments[0], limits), *arguments[1:])]
    if origin in (Union, UnionType):
        members = [_accept(argument, limits) for argument in arguments]
        several = sum(argument is not type(None) for argument in arguments) > 1
        return Annotated[Union[tuple(members)], pydantic.WrapValidator(_either)] if several else Union[tuple(members)]  # noqa: UP007
    if origin is tuple:
        inner = tuple(a if a is Ellipsis else _accept(a, limits) for a in arguments)
        count = None if Ellipsis in arguments else len(arguments)
        return Annotated[tuple[inner], pydantic.Strict(), pydantic.BeforeValidator(_as_tuple(count))]  # type: ignore[valid-type]
    if origin is Literal:
        return Annotated[annotation, pydantic.BeforeValidator(_exactly(arguments))]
    if origin in (dict, Mapping):
        return dict[_accept(arguments[0], limits), _accept(arguments[1], limits)]  # type: ignore[misc]
    return Callable if origin is Callable else annotation


def _plain(kind: type[int] | type[float], numeric: Any) -> Callable[[Any], Any]:
    """Return what makes Python's own of numpy's numbers; true and false are not numbers."""
    return lambda value: kind(value) if isinstance(value, numeric) and type(value) not in (int, float, bool) else value


def _exactly(choices: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Return what refuses true where a choice is 1, which Python takes for equal."""

    def read(value: Any) -> Any:
        if any(type(value) is type(choice) and value == choice for choice in choices):
            return value
        raise MismatchError(f"one of {', '.join(map(repr, choices))}")

    return read


def _as_tuple(count: int | None) -> Callable[[Any], Any]:
    """Return what makes a tuple of anything that has an order, and counts its values where their number is fixed."""

    def read(value: Any) -> Any:
        if isinstance(value, str | bytes | Mapping | Set) or not isinstance(value, Iterable):
            return value
        values = tuple(value)
        if count is not None and len(values) != count:
            raise MismatchError(f"{count} values")
        return values

    return read


def _ascending(value: Any) -> Any:
    if value[0] > value[1]:
        raise ValueError(f"must be two numbers, the smaller first, got {value!r}")
    return value


Ascending = pydantic.AfterValidator(_ascending)
"""Holds of pairs whose first number is not the larger one."""
Range = Annotated[tuple[float, float], Ascending]
Interval = Given[Range, Sequence[float]]
WholeInterval = Given[Annotated[tuple[int, int], Ascending], Sequence[int]]
Names = Given[tuple[str, ...], Sequence[str]]


def not_empty(value: Any, _: Earlier) -> Iterable[Problem]:
    """Check that a list has something in it.

    Examples
    --------
    >>> [problem.what for problem in not_empty([], {})]
    ['is empty']
    >>> list(not_empty(["nuc"], {}))
    []
    """
    if not value:
        yield Problem(where="", what="is empty", remedy="name at least one")


def _either(value: Any, handler: Callable[[Any], Any]) -> Any:
    try:
        return handler(value)
    except pydantic.ValidationError as error:
        raise ProblemsError("value", union_problems(error)) from None
