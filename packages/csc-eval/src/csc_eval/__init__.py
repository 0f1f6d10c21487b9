"""The official CellMap Segmentation Challenge score, exact and in seconds, without torch.

``score_submission`` scores what the portal scores; ``score_crop``, ``score_instances`` and ``score_semantic`` score
parts of it; ``Rules`` say what holds where ways of scoring differ. Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csc_eval.aggregate import combine_scores
    from csc_eval.align import match_crop_space
    from csc_eval.array_scores import Matching, match_instances, score_instances, score_semantic
    from csc_eval.distances import hausdorff_distances
    from csc_eval.instances import connected_components
    from csc_eval.metrics import METRICS
    from csc_eval.results import ClassScore, CombinedScores, Difference, LabelScore, SubmissionScore
    from csc_eval.rules import DEFINITION, LEADERBOARD, PANOPTIC, RULE_SETS, Rules, get_rules
    from csc_eval.submission import score_crop, score_submission, write_results

_HOMES = {
    "csc_eval.aggregate": ("combine_scores",),
    "csc_eval.align": ("match_crop_space",),
    "csc_eval.distances": ("hausdorff_distances",),
    "csc_eval.instances": ("connected_components",),
    "csc_eval.metrics": ("METRICS",),
    "csc_eval.array_scores": ("Matching", "match_instances", "score_instances", "score_semantic"),
    "csc_eval.results": ("ClassScore", "CombinedScores", "Difference", "LabelScore", "SubmissionScore"),
    "csc_eval.rules": ("DEFINITION", "LEADERBOARD", "PANOPTIC", "RULE_SETS", "Rules", "get_rules"),
    "csc_eval.submission": ("score_crop", "score_submission", "write_results"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "DEFINITION",
    "LEADERBOARD",
    "METRICS",
    "PANOPTIC",
    "RULE_SETS",
    "ClassScore",
    "CombinedScores",
    "Difference",
    "LabelScore",
    "Matching",
    "Rules",
    "SubmissionScore",
    "combine_scores",
    "connected_components",
    "get_rules",
    "hausdorff_distances",
    "match_crop_space",
    "match_instances",
    "score_crop",
    "score_instances",
    "score_semantic",
    "score_submission",
    "write_results",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
