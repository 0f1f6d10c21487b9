from __future__ import annotations

import pickle

import pytest

from csc_data.errors import (
    CscError,
    ExistingOutputError,
    InvalidArgumentError,
    MissingBucketError,
    MissingDataError,
    Problem,
    ProblemsError,
    UnreadableDataError,
)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (InvalidArgumentError, ValueError),
        (MissingDataError, FileNotFoundError),
        (MissingBucketError, MissingDataError),
        (UnreadableDataError, OSError),
        (ExistingOutputError, FileExistsError),
        (ProblemsError, ValueError),
    ],
)
def test_errors_are_of_the_toolbox_and_of_the_builtin_that_fits(error, builtin):
    assert issubclass(error, CscError)
    assert issubclass(error, builtin)


def test_a_problem_reads_as_one_line():
    assert str(Problem(where="epochs", what="is 0")) == "epochs: is 0"
    assert str(Problem(where="epochs", what="is 0", remedy="use 1")) == "epochs: is 0 (use 1)"


def test_problems_are_reported_together_and_cross_processes():
    problems = [Problem(where="a", what="b"), Problem(where="c", what="d", remedy="e")]
    error = ProblemsError("train.py", iter(problems))
    assert str(error) == "train.py: 2 problems\n  - a: b\n  - c: d (e)"
    assert str(ProblemsError("train.py", problems[:1])) == "train.py: a: b"
    again = pickle.loads(pickle.dumps(error))
    assert (again.subject, again.problems, str(again)) == ("train.py", tuple(problems), str(error))
