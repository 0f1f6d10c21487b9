"""The lines that `nox -s mutants` breaks are still there: at least ten of each subject."""

import importlib.util
import sys
from collections import Counter

import pytest


@pytest.fixture(scope="module")
def mutants(root):
    spec = importlib.util.spec_from_file_location("run_mutants", root / "tests/mutants/run.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_line_stands_where_its_list_says(mutants):
    listed = mutants.read_mutants()
    assert mutants.check(listed) == []
    subjects = ["fetching", "formats", "geometry", "loader", "matching", "prediction", "submit"]
    counts = Counter(mutant.subject for mutant in listed)
    assert sorted(counts) == subjects
    assert min(counts.values()) >= 10


@pytest.mark.parametrize(
    ("function", "line", "words"),
    [
        ("f", "return a", "0 times"),
        ("f", "x = 1", "2 times"),
        ("A.g", "x = 1", "0 times"),
        ("A.h", "x = 1", "there is no A.h"),
    ],
)
def test_a_line_that_moved_away_is_an_error(mutants, function, line, words):
    text = "def f():\n    x = 1\n    x = 1\n\nclass A:\n    def g(self):\n        return a\n"
    mutant = mutants.Mutant(subject="s", file="f.py", test="t.py", function=function, line=line, becomes="y", why="")
    with pytest.raises(LookupError, match=words):
        mutant.broken(text)


def test_only_the_line_in_its_function_is_broken(mutants):
    text = "def f():\n    return 1\n\nclass A:\n    def f(self):\n        return 1\n"
    mutant = mutants.Mutant(
        subject="s", file="f.py", test="t.py", function="A.f", line="return 1", becomes="return 2", why=""
    )
    assert mutant.broken(text) == text[: text.rindex("1")] + "2\n"
