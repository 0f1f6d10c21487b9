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
MAYBE = ("may score it", "happens to be in memory", "may not suffice")
"""What is said where the portal's answer depends on what nobody knows: its memory, and how lenient its reader is."""

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


def faults(case: Any, official: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    """Return what is silent or false in what csc-eval says."""
    found = _faults_of_score(official, said)
    if not any(name.startswith("truth") for name in case.layouts):  # which a validation does not see
        found += _faults_of_validation(official, said["validation"])
    return found


def _faults_of_score(official: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    if said["kind"] == "refused":
        if official["kind"] == "refused" or "the portal" in said["why"]:
            return []
        return [f"refused, though official {official['kind']}: {said['why']}"]
    words = [*said["notes"], *said["differs"].values()]
    ends = any(text in word for word in words for text in ENDS)
    may_end = any(text in word for word in words for text in MAYBE)
    refuses = any(REFUSES in text for text in words)
    if official["kind"] in ("ended", "hangs"):
        return (
            [] if (ends or may_end) and not refuses else [f"silent: official ended ({official['why']}); said {words}"]
        )
    if official["kind"] == "refused":
        return [] if refuses else [f"silent: official refused ({official['why']}); said {words}"]
    if ends or refuses:
        return [f"false: official scored it; said {words}"]
    found = []
    for label in {**official["labels"], **said["labels"]}:
        theirs, mine = official["labels"].get(label), said["labels"].get(label)
        same = theirs is not None and mine is not None and _close(theirs, _as_missing(mine))
        maybe = any(text in said["differs"].get(label, "") for text in MAYBE)
        if not same and label not in said["differs"]:
            found.append(f"silent: {label} is {theirs} officially, {mine} here")
        if same and label in said["differs"] and not maybe:
            found.append(f"false: {label} is the same; said {said['differs'][label]}")
    if not words and not _close(official["overall"], said["overall"]):
        found.append(f"silent: overall is {official['overall']} officially, {said['overall']} here")
    return found


def _as_missing(label: Sequence[Any]) -> Sequence[Any]:
    """What is not read here counts as what the portal does not see."""
    return [*label[:-1], "missing"] if label[-1] == "failed" else label


def _close(one: Sequence[Any], two: Sequence[Any]) -> bool:
    return all(
        a == b or (isinstance(a, float) and isinstance(b, int | float) and math.isclose(a, b, rel_tol=0, abs_tol=CLOSE))
        for a, b in zip(one, two, strict=True)
    )


def _faults_of_validation(official: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    expected = {"refused": ("refused",), "ended": ("ends",), "hangs": ("ends",), "scored": ("accepted", "missing")}
    found = []
    expects = expected[official["kind"]]
    if any(text in finding for finding in said["findings"] for text in MAYBE):
        expects += ("ends", "accepted", "missing")
    if any("where its truth" in finding for finding in said["findings"]):
        expects += ("ends",)
    if said["verdict"] not in expects:
        why = official.get("why", "")
        found.append(f"validated as {said['verdict']}, officially {official['kind']} ({why}): {said['findings'][:4]}")
    elif official["kind"] == "scored":
        for label, verdict in said["labels"].items():
            missing = official["labels"][label][-1] == "missing"
            if missing != (verdict == "missing") and verdict != "ends":
                found.append(f"{label} validated as {verdict}, officially {official['labels'][label]}")
    return found


def remake(case: Any, folder: Path) -> dict[str, Any]:
    """Write a case, and return what is said of it; the folder is gone afterwards."""
    try:
        return ours(*case.write(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
