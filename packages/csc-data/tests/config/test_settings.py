from __future__ import annotations

import dataclasses
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from csc_data.config.settings import (
    COUNT,
    Choices,
    Given,
    Interval,
    Limits,
    Names,
    OfNames,
    ReadBy,
    not_empty,
    setting,
    settings,
)
from csc_data.errors import Problem, ProblemsError


@settings
class Inner:
    """Settings within others."""

    size: int = setting("how large", COUNT)
    name: str = setting("what it is called", default="a")


def make(annotation, value, *rules):
    """Return what becomes of a value that is given for an annotation."""
    cls = settings(type("One", (), {"__annotations__": {"one": annotation}, "one": setting("a setting", *rules)}))
    return cls(one=value).one


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (3, int, 3),
        (np.int32(3), int, 3),
        (3, float, 3.0),
        (np.float32(0.5), float, 0.5),
        (np.int64(2), float, 2.0),
        (True, bool, True),
        ("a", str, "a"),
        ("a/b", Path, Path("a/b")),
        (None, int | None, None),
        (3, int | None, 3),
        (3, int | str, 3),
        ("b", Literal["a", "b"], "b"),
        ("a", Literal["a", "b"] | Path, "a"),
        ("c", Literal["a", "b"] | Path, Path("c")),
        ([1, 2], tuple[int, ...], (1, 2)),
        (np.array([1, 2]), tuple[int, int], (1, 2)),
        ((), tuple[int, ...], ()),
        ({"a": 1}, Mapping[str, float], {"a": 1.0}),
        ({"a": [1]}, dict[str, tuple[int, ...]], {"a": (1,)}),
        (0.5, float | Mapping[str, float], 0.5),
        ({"a": 1}, float | Mapping[str, float], {"a": 1.0}),
        (len, Callable[[Any], int], len),
        ({"size": 2}, Inner, Inner(size=2)),
        (Inner(size=4), Inner, Inner(size=4)),
        ([{"size": 2}], tuple[Inner, ...], (Inner(size=2),)),
        (b"x", Any, b"x"),
        ((1, 2), Interval, (1.0, 2.0)),
    ],
)
def test_values_that_fit_are_taken(value, annotation, expected):
    result = make(annotation, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "words"),
    [
        (3.0, int, "a whole number"),
        (True, int, "a whole number"),
        (np.True_, int, "a whole number"),
        ("3", int, "a whole number"),
        (True, float, "a number"),
        ("0.5", float, "a number"),
        (1, bool, "true or false"),
        ("yes", bool, "true or false"),
        (3, str, "text"),
        (b"a", str, "text"),
        (3, Path, "a path"),
        ("c", Literal["a", "b"], "one of 'a', 'b'"),
        (True, Literal[1, 2], "one of 1, 2"),
        (3, Literal["a"] | Path, "one of 'a' or a path"),
        ("abc", tuple[str, ...], "a list"),
        ({"b", "a"}, tuple[str, ...], "a list"),
        (3, tuple[int, ...], "a list"),
        ([1, 2], tuple[int, int, int], "3 values"),
        ([1, "a"], tuple[int, int], "a whole number"),
        (3, Mapping[str, int], "a mapping"),
        ({"a": "b"}, Mapping[str, int], "a whole number"),
        ("x", int | None, "a whole number"),
        ("x", float | Mapping[str, float], "a number or a mapping"),
        (3, Callable[..., int], "something to call"),
        (3, Inner, "a mapping with size, name"),
        (3, Inner | Literal["none"], "a mapping with size, name or one of 'none'"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_words(value, annotation, words):
    with pytest.raises(ProblemsError) as caught:
        make(annotation, value)
    (problem,) = caught.value.problems
    assert problem.where.startswith("one")
    assert problem.what.startswith(f"expected {words}, got ")
    assert "pydantic" not in str(caught.value)


@settings
class Outer:
    """Settings with limits and checks."""

    inner: Given[Inner, Inner | Mapping[str, Any]] = setting("more settings")
    share: float = setting("a share", Limits(gt=0, le=1), default=0.5)
    sizes: Given[tuple[int, ...], Sequence[int]] = setting("sizes", COUNT, not_empty, default=[1])
    names: Names = setting("names", OfNames(lambda name, _: _short(name)), default=())
    weights: Mapping[str, float] = setting("weights", OfNames(lambda name, _: _short(name)), factory=dict)
    total: int = setting("at least the size", lambda total, earlier: _at_least(total, earlier), default=100)
    kind: Any = setting("a kind", Choices(("a", "b")), default="a")


def _short(name):
    if len(name) > 3:
        yield Problem(where="", what=f"{name!r} is long")


def _at_least(total, earlier):
    if "inner" in earlier and total < earlier["inner"].size:
        yield Problem(where="", what="is less than inner.size")


def problems_of(**given):
    with pytest.raises(ProblemsError) as caught:
        Outer(**given)
    return [(problem.where, problem.what) for problem in caught.value.problems]


def test_everything_that_is_wrong_comes_at_once_whatever_its_depth_and_kind():
    found = problems_of(
        inner={"size": 0, "nam": "b"},
        share=math.nan,
        sizes=[2, 0],
        names=["er", "mitochondria", 3],
        weights={"mitochondria": "x"},
        kind="c",
        totl=3,
    )
    assert sorted(found) == sorted(
        [
            ("inner.size", "must be at least 1, got 0"),
            ("inner.nam", "there is no such setting"),
            ("share", "must be finite, got nan"),
            ("sizes", "must be at least 1, got 0"),
            ("names", "'mitochondria' is long"),
            ("names", "expected text, got 3"),
            ("weights.mitochondria", "'mitochondria' is long"),
            ("weights.mitochondria", "expected a number, got 'x'"),
            ("kind", "there is no 'c'"),
            ("totl", "there is no such setting"),
        ]
    )


def test_the_nearest_name_is_named_at_every_depth():
    with pytest.raises(ProblemsError) as caught:
        Outer(inner={"siz": 1}, shares=1)
    said = {problem.where: problem.remedy for problem in caught.value.problems}
    assert said["inner.siz"] == "did you mean size?"
    assert said["shares"] == "did you mean share?"
    assert said["inner.size"] == "it has no default"


def test_a_check_sees_the_settings_before_it_that_are_right():
    assert problems_of(inner={"size": 5}, total=3) == [("total", "is less than inner.size")]
    assert problems_of(inner={"size": 0}, total=-3) == [("inner.size", "must be at least 1, got 0")]
    assert Outer(inner={"size": 3}, total=3).total == 3
    assert problems_of(inner={"size": 200}) == [("total", "is less than inner.size")]  # defaults are checked, too


@pytest.mark.parametrize(("share", "ok"), [(0, False), (1e-9, True), (1, True), (1.01, False), (math.inf, False)])
def test_limits_are_where_they_are_said_to_be(share, ok):
    if ok:
        assert Outer(inner=Inner(size=1), share=share).share == share
    else:
        assert [where for where, _ in problems_of(inner=Inner(size=1), share=share)] == ["share"]


def test_numbers_in_lists_and_mappings_are_finite():
    for value, annotation in (([math.nan, 1], Interval), ({"a": -math.inf}, float | Mapping[str, float])):
        with pytest.raises(ProblemsError, match="must be finite"):
            make(annotation, value)


def test_the_right_kind_with_wrong_insides_says_what_is_wrong_inside():
    with pytest.raises(ProblemsError) as caught:
        make(Inner | Literal["none"] | None, {"size": "a"})
    assert [problem.where for problem in caught.value.problems] == ["one.size"]


def test_an_interval_goes_up():
    with pytest.raises(ProblemsError, match="the smaller first"):
        make(Interval, (2, 1))


def test_shorter_forms_are_read_first():
    half = ReadBy(lambda value: {"size": 1} if value is True else value, Inner | bool)
    assert make(Inner, True, half) == Inner(size=1)
    with pytest.raises(ProblemsError, match="size: must be at least 1"):
        make(Inner, {"size": 0}, half)


def test_a_default_may_have_any_form_that_may_be_given():
    assert Outer(inner=Inner(size=1)).sizes == (1,)


def test_settings_are_frozen_equal_by_value_and_can_be_sent_to_other_processes():
    outer = Outer(inner={"size": 1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        outer.share = 0.1
    assert pickle.loads(pickle.dumps(outer)) == outer == Outer(inner=Inner(size=1))
    assert dataclasses.replace(outer, share=1).share == 1.0
    with pytest.raises(ProblemsError, match="share"):
        dataclasses.replace(outer, share=2)


@pytest.mark.parametrize(
    "code",
    [
        "import csc_data; csc_data.Volume, csc_data.Grid, csc_data.read_experiment",
        "from csc_data.config.user_config import load_config; load_config()",
        "import csc_data.fetching, csc_data.splits.splitting, csc_data.challenge",
    ],
)
def test_what_reads_no_settings_imports_no_pydantic(code):
    run = [sys.executable, "-c", f"import sys\n{code}\nsys.exit('pydantic' in sys.modules)"]
    assert subprocess.run(run, check=False).returncode == 0
