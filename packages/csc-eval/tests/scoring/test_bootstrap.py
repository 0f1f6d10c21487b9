"""Intervals over crops: against formulas that pool one resample at a time."""

import numpy as np
import pytest

from csc_eval.scoring.aggregate import combine_scores
from csc_eval.scoring.bootstrap import score_intervals
from csc_eval.scoring.results import LabelScore


def crops(rng, count=12):
    def label(instance):
        tp, fp, fn = rng.integers(0, 30, 3).tolist()
        n = tp + fp + fn if instance else 0
        total = float(rng.random() * n)
        return LabelScore(instance=instance, tp=tp, fp=fp, fn=fn, hausdorff_norm_sum=total, n_hausdorff=n)

    return {f"crop{n}": {"mito": label(True), "er": label(False)} for n in range(count)}


def test_intervals_are_those_of_resamples_that_are_pooled_one_by_one():
    given = crops(np.random.default_rng(3))
    found = score_intervals(given, resamples=4000)
    rng = np.random.default_rng(11)
    pooled = {"mito": [], "er": [], "": []}
    for _ in range(1500):
        drawn = rng.integers(0, len(given), len(given))
        names = list(given)
        scores = combine_scores({f"{n}": given[names[k]] for n, k in enumerate(drawn)})
        pooled[""].append(scores.overall_score)
        for name in ("mito", "er"):
            pooled[name].append(scores.classes[name].score)
    for name, values in pooled.items():
        low, high = np.percentile(values, (2.5, 97.5))
        assert found[name].low == pytest.approx(low, abs=0.02)
        assert found[name].high == pytest.approx(high, abs=0.02)
        assert found[name].crops == 12


def test_the_same_crops_give_the_same_score_whichever_are_drawn_and_the_same_seed_the_same_interval():
    one = crops(np.random.default_rng(1), 1)["crop0"]
    found = score_intervals({f"crop{n}": one for n in range(5)})
    scores = combine_scores({"crop0": one}).classes
    assert found["mito"].low == found["mito"].high == pytest.approx(scores["mito"].score)
    given = crops(np.random.default_rng(2))
    assert score_intervals(given) == score_intervals(given)


def test_a_class_of_one_crop_has_no_interval():
    given = crops(np.random.default_rng(1), 3)
    del given["crop0"]["er"], given["crop1"]["er"]
    found = score_intervals(given)
    assert set(found) == {"mito", ""}
    assert not np.isnan(found[""].low)
    assert score_intervals({"crop0": given["crop2"]}) == {}
