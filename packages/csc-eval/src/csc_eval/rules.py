"""Named, versioned rule sets: every point on which ways of scoring differ, as data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from csc_data.errors import InvalidArgumentError, did_you_mean

Geometry = Literal["stated", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How labels are scored.

    Attributes
    ----------
    name : str
        Name with a date, as results carry it.
    metric : {"hausdorff", "panoptic"}
        F1 and normalised Hausdorff distance for instances and IoU for semantic classes, or panoptic quality for both.
    colliding_ids : bool
        Whether the distance of a truth instance is taken to the union of its match and of the unmatched component
        whose number happens to be the truth id.
    excess_is_free : bool
        Whether a crop with too many predicted instances adds nothing to its class.
    masks_are_labels : bool
        Whether a ``*_mask`` array of the truth is listed as a (missing) label.
    offset : {"floor", "nearest"}
        How a prediction's translation is snapped to the crop's voxels.
    geometry : {"stated", "full"}
        Whether the numbers of an OME-NGFF level count as nm as they stand, or with units and the group's own scale.
    threshold : {"positive", "half"}
        What counts as foreground of a semantic prediction: > 0 (> 0.5 once resampled), or half of a float's range.
    seams : bool
        Whether a source of more than 500 MB is resampled in cubes, each as if it were alone.
    alignment : {"challenge", "given"}
        Whether a class is aligned as instances by the challenge's list, or as it is scored.
    ties : {"portal", "centroid"}
        Which of several optimal matchings holds: the one that OR-tools finds, or that of the nearest centroids.
    final_ratio_cutoff, initial_ratio_cutoff, ratio_factor : float
        Too many instances: nP / nG > final + initial * exp(-nG / factor).
    max_overlap_pairs : int
        So many overlapping pairs are matched at most.
    max_volume_ratio : float
        So many times the crop's voxels may a prediction have.
    """

    name: str
    metric: Literal["hausdorff", "panoptic"] = "hausdorff"
    colliding_ids: bool = False
    excess_is_free: bool = False
    masks_are_labels: bool = False
    offset: Literal["floor", "nearest"] = "nearest"
    geometry: Geometry = "full"
    threshold: Literal["positive", "half"] = "half"
    seams: bool = False
    alignment: Literal["challenge", "given"] = "given"
    ties: Literal["portal", "centroid"] = "centroid"
    final_ratio_cutoff: float = 10.0
    initial_ratio_cutoff: float = 50.0
    ratio_factor: float = 5.0
    max_overlap_pairs: int = 5_000_000
    max_volume_ratio: float = 16.0**3

    def ratio_cutoff(self, truth_count: int) -> float:
        """Return the largest ratio of predicted to truth instances that is matched.

        >>> round(LEADERBOARD.ratio_cutoff(5), 6)
        28.393972
        """
        return self.final_ratio_cutoff + self.initial_ratio_cutoff * math.exp(-truth_count / self.ratio_factor)


LEADERBOARD = Rules(
    name="leaderboard-2026-06",
    colliding_ids=True,
    excess_is_free=True,
    masks_are_labels=True,
    offset="floor",
    geometry="stated",
    threshold="positive",
    seams=True,
    alignment="challenge",
    ties="portal",
)
"""The number that the leaderboard shows, with its quirks."""

DEFINITION = Rules(name="definition-2026-06")
"""The leaderboard's formulas without its artefacts."""

PANOPTIC = Rules(name="pq", metric="panoptic")
"""Panoptic quality (Kirillov et al., CVPR 2019) for both kinds of classes."""

RULE_SETS: Mapping[str, Rules] = MappingProxyType({rules.name: rules for rules in (LEADERBOARD, DEFINITION, PANOPTIC)})
"""The rule sets by name."""

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "FINAL_INSTANCE_RATIO_CUTOFF": "final_ratio_cutoff",
        "INITIAL_INSTANCE_RATIO_CUTOFF": "initial_ratio_cutoff",
        "INSTANCE_RATIO_FACTOR": "ratio_factor",
        "MAX_OVERLAP_EDGES": "max_overlap_pairs",
        "MAX_VOLUME_SIZE_RATIO": "max_volume_ratio",
    }
)
"""Variables by which the organisers' server sets rules; the command reads them, the library never does."""


def get_rules(rules: str | Rules) -> Rules:
    """Return a rule set by its name; a rule set is returned as it is.

    Raises
    ------
    InvalidArgumentError
        If there is none of that name.

    Examples
    --------
    >>> from csc_eval import get_rules
    >>> get_rules("pq").metric
    'panoptic'
    >>> try:
    ...     get_rules("leaderboard")
    ... except InvalidArgumentError as error:
    ...     print(error)
    there are no rules 'leaderboard'; did you mean leaderboard-2026-06?
    """
    if isinstance(rules, Rules):
        return rules
    if rules in RULE_SETS:
        return RULE_SETS[rules]
    raise InvalidArgumentError(f"there are no rules {rules!r}; {did_you_mean(rules, RULE_SETS)}")


def parse_rules(rules: str | Rules | Iterable[str | Rules]) -> tuple[Rules, ...]:
    """Return one or several rule sets as a tuple without repetitions.

    Raises
    ------
    InvalidArgumentError
        If one does not exist, or none is given.

    Examples
    --------
    >>> [rules.name for rules in parse_rules(["pq", LEADERBOARD])]
    ['pq', 'leaderboard-2026-06']
    """
    given = [rules] if isinstance(rules, str | Rules) else list(rules)
    chosen = tuple(dict.fromkeys(map(get_rules, given)))
    if not chosen:
        raise InvalidArgumentError(f"no rules given; they are {', '.join(RULE_SETS)}")
    names = [entry.name for entry in chosen]
    if len(set(names)) < len(names):
        raise InvalidArgumentError(f"two different rule sets bear one name: {', '.join(names)}")
    return chosen


def rules_from_environment(rules: Rules, environment: Mapping[str, str]) -> Rules:
    """Return rules with the values that the organisers' variables set.

    Raises
    ------
    InvalidArgumentError
        If a value is not a positive number.

    Examples
    --------
    >>> rules_from_environment(LEADERBOARD, {}) is LEADERBOARD
    True
    >>> variable = next(iter(ENVIRONMENT))
    >>> rules_from_environment(LEADERBOARD, {variable: "7"}) == LEADERBOARD
    False
    """
    changes: dict[str, float | int] = {}
    for variable, field in ENVIRONMENT.items():
        text = environment.get(variable)
        if not text:
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value > 0 and math.isfinite(value)):
            raise InvalidArgumentError(f"{variable}={text!r} is not a positive number")
        changes[field] = int(value) if field == "max_overlap_pairs" else value
    return replace(rules, **changes) if changes else rules  # type: ignore[arg-type]
