"""From scores of labels in crops to scores of classes and of a submission."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from csc_eval.rules import LEADERBOARD, Rules, get_rules
from csc_eval.scoring.formulas import instance_metrics, iou, panoptic_quality
from csc_eval.scoring.results import ClassScore, CombinedScores, LabelScore


def combine_scores(
    crops: Mapping[str, Mapping[str, LabelScore]],
    *,
    rules: str | Rules = LEADERBOARD,
    include_missing: bool = True,
) -> CombinedScores:
    """Pool counts and distances per class over crops, and average the classes.

    Parameters
    ----------
    crops : mapping
        Crop name to class name to score.
    rules : str or Rules
        Whose metrics to form.
    include_missing : bool
        Whether labels that were not submitted count.

    Examples
    --------
    >>> from csc_eval import combine_scores
    >>> from csc_eval.scoring.results import LabelScore
    >>> er = [LabelScore(instance=False, tp=80, fp=10, fn=10), LabelScore(instance=False, tp=20, fp=80, fn=0)]
    >>> combine_scores({"crop1": {"er": er[0]}, "crop2": {"er": er[1]}}).classes["er"].score  # 100 / 200 voxels
    0.5
    """
    rules = get_rules(rules)
    pooled: dict[str, list[LabelScore]] = {}
    for labels in crops.values():
        for name, score in labels.items():
            if include_missing or not score.is_missing:
                pooled.setdefault(name, []).append(score)
    classes = {name: _combine_class(scores, rules) for name, scores in sorted(pooled.items())}
    instance = _mean(score.score for score in classes.values() if score.instance)
    semantic = _mean(score.score for score in classes.values() if not score.instance)
    return CombinedScores(
        classes=classes,
        overall_instance_score=instance,
        overall_semantic_score=semantic,
        overall_score=math.sqrt(instance * semantic),
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else 0.0


def _combine_class(scores: Sequence[LabelScore], rules: Rules) -> ClassScore:
    tp, fp, fn = (sum(getattr(score, name) for score in scores) for name in ("tp", "fp", "fn"))
    instance = scores[0].instance
    if rules.metric == "panoptic":
        metrics = panoptic_quality(tp, fp, fn, math.fsum(score.iou_sum for score in scores))
        key = "pq"
    elif instance:
        norm_sum = math.fsum(score.hausdorff_norm_sum for score in scores)
        metrics = instance_metrics(tp, fp, fn, norm_sum, sum(score.n_hausdorff for score in scores))
        key = "combined_score"
    else:
        metrics = {"iou": iou(tp, fp, fn)}
        key = "iou"
    return ClassScore(
        metrics=metrics, score=metrics[key], tp=tp, fp=fp, fn=fn, instance=instance, details=_average_details(scores)
    )


def _average_details(scores: Sequence[LabelScore]) -> dict[str, float]:
    names = dict.fromkeys(name for score in scores for name in score.details)
    averages = {}
    for name in names:
        values = [score.details[name] for score in scores if name in score.details]
        finite = [value for value in values if math.isfinite(value)]
        averages[name] = math.fsum(finite) / len(finite) if finite else math.nan
    return averages
