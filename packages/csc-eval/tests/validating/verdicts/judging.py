"""What is said of a case by csc-eval, and whether that is what the official scorer makes of it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import csc_eval
from csc_data.config.user_config import load_config
from csc_data.errors import CscError

REFUSES = "the portal refuses it"
ENDS = ("run would have ended", "run ends")
CLOSE = 1e-9


def ours(submission: Path, truth: Path) -> dict[str, Any]:
    """Score and validate a submission; returns what is said of it."""
    return {**_scored(submission, truth), "validation": _validated(submission, truth.parent)}


def _scored(submission: Path, truth: Path) -> dict[str, Any]:
    try:
        result = csc_eval.score_submission(submission, truth)
    except CscError as error:
        return {"kind": "refused", "why": str(error)}
    labels, differs = {}, {}
    for crop, entries in result.crops.items():
        for name, score in entries.items():
            known = (score.hausdorff_norm_sum, score.n_hausdorff) if score.instance else (None, None)
            labels[f"{crop}/{name}"] = [score.tp, score.fp, score.fn, *known, score.status]
            if score.portal_differs:
                differs[f"{crop}/{name}"] = score.portal_differs
    whole = result.combined
    overall = [whole.overall_instance_score, whole.overall_semantic_score, whole.overall_score]
    return {"kind": "scored", "labels": labels, "overall": overall, "differs": differs, "notes": result.portal_differs}


def _validated(submission: Path, data: Path) -> dict[str, Any]:
    found = csc_eval.validate_submission(submission, config=load_config(data=str(data)))
    return {
        "verdict": found.verdict,
        "labels": {f"{label.crop}/{label.class_name}": label.verdict for label in found.labels},
        "findings": [str(finding) for finding in found.findings],
    }


def faults(official: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    """Return what is silent or false in what csc-eval says."""
    return [*_faults_of_score(official, said), *_faults_of_validation(official, said["validation"])]


def _faults_of_score(official: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    if said["kind"] == "refused":
        if official["kind"] == "refused" or "the portal" in said["why"]:
            return []
        return [f"refused, though official {official['kind']}: {said['why']}"]
    words = [*said["notes"], *said["differs"].values()]
    ends = any(text in word for word in words for text in ENDS)
    refuses = any(REFUSES in text for text in words)
    if official["kind"] in ("ended", "hangs"):
        return [] if ends and not refuses else [f"silent: official ended ({official['why']}); said {words}"]
    if official["kind"] == "refused":
        return [] if refuses else [f"silent: official refused ({official['why']}); said {words}"]
    if ends or refuses:
        return [f"false: official scored it; said {words}"]
    found = []
    for label in {**official["labels"], **said["labels"]}:
        theirs, mine = official["labels"].get(label), said["labels"].get(label)
        same = theirs is not None and mine is not None and _close(theirs, mine)
        if not same and label not in said["differs"]:
            found.append(f"silent: {label} is {theirs} officially, {mine} here")
        if same and label in said["differs"]:
            found.append(f"false: {label} is the same; said {said['differs'][label]}")
    if not words and not _close(official["overall"], said["overall"]):
        found.append(f"silent: overall is {official['overall']} officially, {said['overall']} here")
    return found


def _close(one: Sequence[Any], two: Sequence[Any]) -> bool:
    return all(
        a == b or (isinstance(a, float) and isinstance(b, int | float) and math.isclose(a, b, rel_tol=0, abs_tol=CLOSE))
        for a, b in zip(one, two, strict=True)
    )


def _faults_of_validation(official: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    expected = {"refused": ("refused",), "ended": ("ends",), "hangs": ("ends",), "scored": ("accepted", "missing")}
    found = []
    if said["verdict"] not in expected[official["kind"]]:
        why = official.get("why", "")
        found.append(f"validated as {said['verdict']}, officially {official['kind']} ({why}): {said['findings'][:4]}")
    elif official["kind"] == "scored":
        for label, verdict in said["labels"].items():
            missing = official["labels"][label][-1] == "missing"
            if missing != (verdict == "missing"):
                found.append(f"{label} validated as {verdict}, officially {official['labels'][label]}")
    return found


def remake(case: Any, folder: Path) -> dict[str, Any]:
    """Write a case, and return what is said of it; the folder is gone afterwards."""
    try:
        return ours(*case.write(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
