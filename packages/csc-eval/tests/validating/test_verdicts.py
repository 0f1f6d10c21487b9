"""Odd submissions: what is said of them is what the official scorer made of them; hostile ones end in our words."""

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

import csc_eval
from csc_data.errors import CscError

FOLDER = Path(__file__).parent / "verdicts"
EVERY = 7
FUZZ_RUNS = int(os.environ.get("CSC_EVAL_FUZZ", "40"))


def load(name):
    """Import a module of the folder beside this file, which is not installed."""
    if "verdicts" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "verdicts", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
        )
        sys.modules["verdicts"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["verdicts"])
    return importlib.import_module(f"verdicts.{name}")


@pytest.fixture(scope="module")
def outcomes():
    return json.loads((FOLDER.parents[1] / "data/verdicts.json").read_text())


def compare(cases, outcomes, folder):
    judging = load("judging")
    found = {}
    for case in cases:
        faults = judging.faults(case, outcomes[case.name], judging.remake(case, folder / "case"))
        if faults:
            found[case.name] = faults
    return found


# The matching of equals is the official solver's; without it scores say so.
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_nothing_said_of_odd_submissions_is_silent_or_false(outcomes, tmp_path):
    pytest.importorskip("ortools")
    cases = list(load("cases").all_cases())
    assert {case.name for case in cases} == set(outcomes)
    assert compare(cases[::EVERY], outcomes, tmp_path) == {}


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_nothing_said_of_any_odd_submission_is_silent_or_false(outcomes, tmp_path):
    pytest.importorskip("ortools")
    assert compare(load("cases").all_cases(), outcomes, tmp_path) == {}


def test_a_false_word_would_be_noticed(outcomes, tmp_path):
    cases, judging = {case.name: case for case in load("cases").all_cases()}, load("judging")
    said = judging.remake(cases["good"], tmp_path / "case")
    for other in ("zip cut off", "mito: chunk cut off", "mito: type |b1", "label missing"):
        assert judging.faults(cases["good"], outcomes[other], said), other


def test_hostile_submissions_end_in_a_word_of_ours(tmp_path):
    """CSC_EVAL_FUZZ runs more; benchmarks/fuzz_eval.py also looks at memory, and goes on where a process dies."""
    hostile, seen = load("hostile"), set()
    for seed in range(FUZZ_RUNS):
        kind, faults = hostile.run_case(seed, tmp_path / str(seed))
        seen.add(kind.split()[0])
        assert not faults, f"seed {seed}: {faults}"
    assert seen == {"scored", "validated", "refused"}


def rewrite(chunk):
    chunk.write_bytes(chunk.read_bytes()[:-3])


def grow(chunk):
    chunk.with_name("1.1.0").write_bytes(chunk.read_bytes())


def replace(chunk):
    chunk.unlink()
    chunk.write_bytes(b"other")


@pytest.mark.parametrize("change", [rewrite, grow, replace, Path.unlink])
def test_a_label_that_changes_while_it_is_scored_is_told(change, tmp_path):
    submission, truth = load("drafts").Draft.good(3).write(tmp_path)
    chunk = min((submission / "crop557/mito").glob("[0-9]*"))
    undisturbed = csc_eval.score_submission(submission, truth)

    def at_the_end(done, total, name):
        if done == total:
            change(chunk)

    result = csc_eval.score_submission(submission, truth, progress=at_the_end)
    assert list(result.failures) == [("crop557", "mito")]
    assert "changed while it was scored" in result.failures["crop557", "mito"]
    assert result.crops["crop557"]["er"] == undisturbed.crops["crop557"]["er"]


@pytest.mark.parametrize("change", [rewrite, replace, Path.unlink])
def test_a_zip_that_changes_while_it_is_scored_is_told(change, tmp_path):
    draft = load("drafts").Draft.good(3)
    draft.wrap = load("drafts").as_zip
    submission, truth = draft.write(tmp_path)

    def at_the_end(done, total, name):
        if done == total:
            change(submission)

    with pytest.raises(CscError, match="changed while it was scored"):
        csc_eval.score_submission(submission, truth, progress=at_the_end)
