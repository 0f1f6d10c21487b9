from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from csc_data.config.typed import MismatchError, build_dataclass, coerce


@dataclass(frozen=True)
class Inner:
    """A dataclass within another."""

    size: int = field(metadata={"minimum": 1})
    name: str = "a"


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (3, int, 3),
        (np.int32(3), int, 3),
        (3, float, 3.0),
        (np.float32(0.5), float, 0.5),
        (True, bool, True),
        ("a", str, "a"),
        ("a/b", Path, Path("a/b")),
        (None, int | None, None),
        (3, int | None, 3),
        (3, int | str, 3),
        ("b", Literal["a", "b"], "b"),
        ([1, 2], tuple[int, ...], (1, 2)),
        (np.array([1, 2]), tuple[int, int], (1, 2)),
        ((), tuple[int, ...], ()),
        ({"a": 1}, Mapping[str, float], {"a": 1.0}),
        ({"a": [1]}, dict[str, tuple[int, ...]], {"a": (1,)}),
        (0.5, float | Mapping[str, float], 0.5),
        ({"a": 1}, float | Mapping[str, float], {"a": 1.0}),
        (len, Callable[[Any], int], len),
        ({"size": 2}, Inner, Inner(2)),
        (Inner(4), Inner, Inner(4)),
        ([{"size": 2}], tuple[Inner, ...], (Inner(2),)),
        (b"x", Any, b"x"),
    ],
)
def test_values_that_fit_are_taken(value, annotation, expected):
    result = coerce(value, annotation)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "words"),
    [
        (3.0, int, "a whole number"),
        (True, int, "a whole number"),
        ("3", int, "a whole number"),
        (True, float, "a number"),
        (1, bool, "true or false"),
        (3, str, "text"),
        (3, Path, "a path"),
        ("c", Literal["a", "b"], "one of 'a', 'b'"),
        (True, Literal[1, 2], "one of 1, 2"),
        ("abc", tuple[str, ...], "a list"),
        (3, tuple[int, ...], "a list"),
        ([1, 2], tuple[int, int, int], "3 values"),
        ([1, "a"], tuple[int, int], "a whole number"),
        (3, Mapping[str, int], "a mapping"),
        ({"a": "b"}, Mapping[str, int], "a whole number"),
        ("x", int | None, "a whole number or nothing"),
        (3, Callable[..., int], "something to call"),
        (3, Inner, "a mapping with size, name"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_words(value, annotation, words):
    with pytest.raises(MismatchError, match=f"expected {words}"):
        coerce(value, annotation)


@dataclass(frozen=True)
class Outer:
    """Fields with limits."""

    inner: Inner
    share: float = field(default=0.5, metadata={"above": 0, "maximum": 1})
    sizes: tuple[int, ...] = field(default=(1,), metadata={"minimum": 1})
    hidden: int = field(default=0, init=False)


def test_problems_within_a_dataclass_have_dotted_names():
    _, problems = build_dataclass(Outer, {"inner": {"size": 0, "nam": "b"}, "share": float("nan"), "sizes": [2, 0]})
    said = {problem.where: problem for problem in problems}
    assert set(said) == {"inner.size", "inner.nam", "share", "sizes"}
    assert said["inner.size"].what == "must be at least 1, got 0"
    assert said["inner.nam"].remedy == "did you mean name?"
    assert said["share"].what == "is not a number"
    assert "at least 1" in said["sizes"].what


@pytest.mark.parametrize(("share", "ok"), [(0, False), (1e-9, True), (1, True), (1.01, False)])
def test_limits_are_where_they_are_said_to_be(share, ok):
    instance, problems = build_dataclass(Outer, {"inner": {"size": 1}, "share": share})
    assert (instance is not None) == ok == (not problems)


def test_missing_unknown_and_computed_fields():
    _, problems = build_dataclass(Outer, {"hidden": 3, "zzz": 1})
    said = {problem.where: problem for problem in problems}
    assert set(said) == {"inner", "hidden", "zzz"}
    assert said["inner"].what == "is missing"
    assert said["zzz"].remedy == "known are inner, share, sizes"


def test_the_right_kind_with_wrong_insides_says_what_is_wrong_inside():
    @dataclass(frozen=True)
    class Choice:
        value: Inner | None = None

    _, (problem,) = build_dataclass(Choice, {"value": {"size": "a"}})
    assert problem.where == "value.size"
