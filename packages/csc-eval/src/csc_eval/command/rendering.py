"""Scores as text, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from csc_data.wording import plural, table
from csc_eval.scoring.results import FAILED, MISSING, TOO_MANY_INSTANCES, SubmissionScore

WORST_CROPS = 3


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def render_result(result: SubmissionScore, *, to_submit: bool = True, intervals: bool = False) -> str:
    """Return the scores of a submission as text: classes, overall, worst crops, and what is to be known of them."""
    parts = [f"rules: {result.rules}", _class_table(result), _overall(result)]
    parts += [_intervals(result)] if intervals else []
    parts += [_overall(other) for other in result.alternatives]
    if result.differences:
        parts.append(_differences(result))
    parts += _remarks(result, to_submit=to_submit)
    return "\n\n".join(part for part in parts if part)


def _class_table(result: SubmissionScore) -> str:
    tables = []
    for instance in (True, False):
        classes = {name: score for name, score in result.combined.classes.items() if score.instance == instance}
        if not classes:
            continue
        names = list(dict.fromkeys(n for score in classes.values() for n in (*score.metrics, *score.details)))
        header = ["instance class" if instance else "semantic class", *names, "tp", "fp", "fn", "crops", "worst crops"]
        rows = []
        for name, score in classes.items():
            values = {
                **score.metrics,
                **{key: value for key, value in score.details.items() if key not in score.metrics},
            }
            numbers = [_number(values.get(key, math.nan)) for key in names]
            counts = [str(score.tp), str(score.fp), str(score.fn)]
            crops = sum(name in labels for labels in result.crops.values())
            rows.append([name, *numbers, *counts, str(crops), _worst_crops(result, name)])
        tables.append(table(header, rows))
    return "\n\n".join(tables)


def _worst_crops(result: SubmissionScore, name: str) -> str:
    scores = [(labels[name].score, crop) for crop, labels in result.crops.items() if name in labels]
    scores = sorted(entry for entry in scores if entry[0] < 1)
    return ", ".join(f"{crop} {score:.2f}" for score, crop in scores[:WORST_CROPS]) if len(scores) else ""


def _overall(result: SubmissionScore) -> str:
    rows = [
        [
            kind,
            _number(combined.overall_instance_score),
            _number(combined.overall_semantic_score),
            _number(combined.overall_score),
        ]
        for kind, combined in (("everything", result.combined), ("what was submitted", result.submitted))
    ]
    return table([result.rules, "instance", "semantic", "overall"], rows)


def _intervals(result: SubmissionScore) -> str:
    from csc_eval.scoring.bootstrap import RESAMPLES, score_intervals

    found = score_intervals(result.crops)
    whole = found.pop("", None)
    rows = [[name, f"{one.low:.4f}", f"{one.high:.4f}", str(one.crops)] for name, one in found.items()]
    rows += [] if whole is None else [["overall", f"{whole.low:.4f}", f"{whole.high:.4f}", str(whole.crops)]]
    if not rows:
        return "95 % intervals: none, as there is one crop of each class only"
    title = f"95 % intervals by {RESAMPLES} draws of crops (classes of several crops):"
    return f"{title}\n{table(['', 'from', 'to', 'crops'], rows)}"


def _differences(result: SubmissionScore) -> str:
    lines = ["where the rules differ:"]
    for entry in result.differences:
        reasons = entry.reasons[:3]
        more = f" (and {len(entry.reasons) - 3} more)" if len(entry.reasons) > 3 else ""
        lines.append(
            f"  {entry.class_name}: {entry.rules} {_number(entry.score)}, {entry.other_rules} "
            f"{_number(entry.other_score)}: {'; '.join(reasons)}{more}"
        )
    return "\n".join(lines)


def _remarks(result: SubmissionScore, *, to_submit: bool) -> list[str]:
    by_status: dict[str, list[str]] = {}
    differing, misplaced = [], []
    for crop, labels in result.crops.items():
        for name, score in labels.items():
            by_status.setdefault(score.status, []).append(f"{crop}/{name}")
            if score.portal_differs and score.status != FAILED:
                differing.append(f"  {crop}/{name}: {score.portal_differs}")
            if score.place_differs:
                misplaced.append(f"  {crop}/{name}: {score.place_differs}")
    remarks = _one_kind(result)
    quirks = [f"  {name}: {score.quirk}" for name, score in result.combined.classes.items() if score.quirk]
    if quirks:
        remarks.append("\n".join(["classes whose score says nothing of the voxels:", *quirks]))
    for status, words in ((MISSING, "not submitted"), (TOO_MANY_INSTANCES, "too many instances to be matched")):
        if status in by_status:
            remarks.append(f"{words}: {_listed(by_status[status])}")
    if result.ignored:
        remarks.append(f"ignored, as the truth has none: {_listed(result.ignored)}")
    if to_submit and (differing or result.portal_differs):  # the portal never sees validation crops
        remarks.append(
            "\n".join(["the portal would say otherwise:", *(f"  {n}" for n in result.portal_differs), *differing])
        )
    if misplaced:
        remarks.append("\n".join(["what other rules place otherwise:", *misplaced]))
    if result.failures:
        lines = [f"  {crop}/{name}: {problem}" for (crop, name), problem in result.failures.items()]
        remarks.append("\n".join([f"FAILED, scored as missing ({len(lines)}):", *lines]))
    return remarks


def _one_kind(result: SubmissionScore) -> list[str]:
    """Say why the overall score is 0 where the truth has classes of one kind alone."""
    kinds = {score.instance for score in result.combined.classes.values()}
    if len(kinds) != 1:
        return []
    one, other = ("instance", "semantic") if True in kinds else ("semantic", "instance")
    return [
        f"overall is 0 as there is no {other} class: it is the geometric mean of both kinds; the {one} score is what "
        "counts here"
    ]


def count_labels(result: SubmissionScore) -> str:
    """Return how many labels were scored, for people."""
    masks = result.num_evals_done - result.total_evals
    return plural(result.total_evals, "label") + (f" and {plural(masks, 'mask')}" if masks > 0 else "")


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more} ({len(names)})"
