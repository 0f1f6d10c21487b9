"""The scores of the demo beside those of the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csc_data.wording import table

if TYPE_CHECKING:
    from csc_eval import CombinedScores

OVERALL = ("overall_instance_score", "overall_semantic_score", "overall_score")


def score_table(ours: CombinedScores, baseline: CombinedScores) -> str:
    """Lay out the score of each class, the network's and the baseline's.

    Examples
    --------
    >>> from csc_eval import combine_scores
    >>> from csc_eval.scoring.results import LabelScore
    >>> scores = combine_scores({"crop1": {"er": LabelScore(instance=False, tp=80, fp=10, fn=10)}})
    >>> print(score_table(scores, scores).splitlines()[2])
      overall instance score           0.000           0.000
    """
    rows = []
    for name, score in ours.classes.items():
        kind = "combined score" if score.instance else "IoU"
        rows.append((name, kind, f"{score.score:.3f}", f"{baseline.classes[name].score:.3f}"))
    one, other = ours.overall(), baseline.overall()
    rows += [(name.replace("_", " "), "", f"{one[name]:.3f}", f"{other[name]:.3f}") for name in OVERALL]
    note = (
        "  best threshold: the best band of grey values, raw or blurred, chosen on the test crops with their truth,\n"
        "  without the specks that would make the leaderboard skip a crop"
    )
    return table(["class", "score", "network", "best threshold"], rows, indent="  ") + "\n" + note
