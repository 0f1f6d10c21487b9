"""Why two rule sets disagree about a class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from csc_eval.rules import Rules
from csc_eval.scoring.results import TOO_MANY_INSTANCES, Difference, LabelScore, SubmissionScore

TOLERANCE = 1e-12


def explain_differences(results: Sequence[SubmissionScore], rule_sets: Sequence[Rules]) -> SubmissionScore:
    """Return the first result, with the others as alternatives and their differences from it explained."""
    first, *others = results
    differences = [
        difference
        for other, rules in zip(others, rule_sets[1:], strict=True)
        for difference in _compare(first, other, rule_sets[0], rules)
    ]
    return replace(first, alternatives=tuple(others), differences=tuple(differences))


def _compare(first: SubmissionScore, other: SubmissionScore, rules: Rules, other_rules: Rules) -> list[Difference]:
    found = []
    for name in dict.fromkeys([*first.combined.classes, *other.combined.classes]):
        scores = [
            result.combined.classes[name].score if name in result.combined.classes else math.nan
            for result in (first, other)
        ]
        if abs(scores[0] - scores[1]) <= TOLERANCE:
            continue
        reasons = dict.fromkeys(
            reason
            for crop, labels in first.crops.items()
            for reason in _reasons(labels.get(name), other.crops.get(crop, {}).get(name), rules, other_rules, crop)
        )
        found.append(
            Difference(
                class_name=name,
                score=scores[0],
                other_score=scores[1],
                rules=rules.name,
                other_rules=other_rules.name,
                reasons=tuple(reasons),
            )
        )
    return found


def _reasons(one: LabelScore | None, two: LabelScore | None, rules: Rules, other_rules: Rules, crop: str) -> list[str]:
    if one is None and two is None:
        return []
    if one is None or two is None:
        return [f"{crop}: a mask array of the truth is listed as a label"]
    if one.to_dict() == two.to_dict():
        return []
    if rules.metric != other_rules.metric:
        return ["another metric"]
    if TOO_MANY_INSTANCES in (one.status, two.status):
        return [f"{crop}: too many predicted instances, which one counts as nothing and the other as all wrong"]
    note = one.place_differs or two.place_differs
    if note and (rules.geometry != other_rules.geometry or one.place_differs != two.place_differs):
        return [f"{crop}: {note}"]
    if not one.instance:
        changes = [("offset", "the offset is snapped differently"), ("threshold", "floats are thresholded differently")]
        return [f"{crop}: {text}" for field, text in changes if getattr(rules, field) != getattr(other_rules, field)]
    if (one.tp, one.fp, one.fn) != (two.tp, two.fp, two.fn):
        return [f"{crop}: the offset is snapped differently"]
    if rules.colliding_ids != other_rules.colliding_ids:
        return [f"{crop}: numbers of unmatched components collide with truth ids, which changes distances"]
    return [f"{crop}: another of several optimal matchings"]
