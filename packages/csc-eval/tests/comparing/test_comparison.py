"""Differences with intervals, against resamples that are pooled one by one."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata

from csc_data.errors import InvalidArgumentError
from csc_eval.comparing.comparison import compare_results
from csc_eval.comparing.words import describe_comparison
from csc_eval.scoring.aggregate import combine_scores
from csc_eval.scoring.bootstrap import draw_crops
from csc_eval.scoring.results import LabelScore, SubmissionScore


def label(rng, instance, quality):
    tp, wrong = int(rng.integers(5, 60)), int(rng.integers(0, 40) * (1 - quality))
    total = tp + wrong
    return LabelScore(
        instance=instance,
        tp=tp,
        fp=wrong // 2,
        fn=wrong - wrong // 2,
        hausdorff_norm_sum=float(total * quality),
        n_hausdorff=total if instance else 0,
    )


def result(rng, quality, crops=8, kinds=(("mito", True), ("nuc", True), ("er", False))):
    labels = {
        f"crop{n}": {name: label(rng, instance, quality) for name, instance in kinds if name != "nuc" or n % 2}
        for n in range(crops)
    }
    return of(labels)


def of(crops):
    combined = combine_scores(crops)
    return SubmissionScore(
        rules="leaderboard-2026-06", crops=crops, combined=combined, submitted=combined, total_evals=1
    )


@pytest.fixture
def three():
    rng = np.random.default_rng(5)
    return {"b": result(rng, 0.6), "a": result(rng, 0.8), "c": result(rng, 0.55)}


def naive(results, resamples):
    """Overall and class scores of each resample, by the scorer's own pooling."""
    names = list(next(iter(results.values())).crops)
    scores = []
    for row in draw_crops(len(names), resamples):
        drawn = [(number, copy) for number, times in enumerate(row) for copy in range(times)]
        scores.append(
            {
                name: combine_scores({f"{number}-{copy}": one.crops[names[number]] for number, copy in drawn})
                for name, one in results.items()
            }
        )
    return scores


def test_everything_is_what_resamples_pooled_one_by_one_say(three):
    found = compare_results(three, resamples=300)
    each = naive(three, 300)
    assert [one.name for one in found.standings] == sorted(three, key=lambda n: -three[n].overall_score)
    for pair in found.overall.pairs:
        gaps = np.array([s[pair.one].overall_score - s[pair.other].overall_score for s in each])
        assert pair.difference == three[pair.one].overall_score - three[pair.other].overall_score > 0
        assert (pair.interval.low, pair.interval.high) == pytest.approx(np.percentile(gaps, (2.5, 97.5)))
        assert pair.ahead == pytest.approx(np.mean(gaps > 0))
    for one in found.classes:
        for pair in one.pairs:
            both = [(s[pair.one].classes.get(one.name), s[pair.other].classes.get(one.name)) for s in each]
            gaps = [left.score - right.score for left, right in both if left is not None]
            assert (pair.interval.low, pair.interval.high) == pytest.approx(np.percentile(gaps, (2.5, 97.5)))
    assert {one.name: one.crops for one in found.classes} == {"er": 8, "mito": 8, "nuc": 4}
    order = [one.name for one in found.standings]
    overall = np.array([[s[name].overall_score for name in order] for s in each])
    ranks = np.array([rankdata(-row, method="min") for row in overall])
    for number, one in enumerate(found.standings):
        assert one.rank == number + 1
        assert one.shares == pytest.approx([np.mean(ranks[:, number] == k) for k in (1, 2, 3)])
        assert one.ranks == tuple(np.percentile(ranks[:, number], (2.5, 97.5), method="nearest").astype(int))
    whole = [three[name].overall_score for name in order]
    assert found.tau == pytest.approx(np.mean([kendalltau(whole, row).statistic for row in overall]))


def test_a_result_is_not_told_apart_from_itself_and_one_that_is_better_everywhere_is(three):
    twin = compare_results({"a": three["a"], "again": three["a"]})
    (pair,) = twin.overall.pairs
    assert (pair.difference, pair.ahead, pair.is_told_apart) == (0, 0.5, False)
    assert [one.rank for one in twin.standings] == [1, 1]
    assert twin.not_told_apart == ((1, 2),)
    worse = of(
        {
            crop: {name: replace(score, fp=score.fp + 9) for name, score in labels.items()}
            for crop, labels in three["a"].crops.items()
        }
    )
    (pair,) = compare_results({"a": three["a"], "worse": worse}).overall.pairs
    assert pair.is_told_apart
    assert pair.ahead == 1


def test_the_chance_of_a_false_difference_is_about_one_in_twenty():
    """Of results without a true difference; percentile intervals of few crops are a little too narrow."""
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(200):
        both = {"a": result(rng, 0.6, crops=20), "b": result(rng, 0.6, crops=20)}
        told += compare_results(both, resamples=400).overall.pairs[0].is_told_apart
    assert 1 <= told <= 25


def test_the_order_of_crops_in_a_file_does_not_matter(three):
    turned = of(dict(reversed(three["b"].crops.items())))
    assert (
        compare_results({"a": three["a"], "b": turned}).to_dict()
        == compare_results({"a": three["a"], "b": three["b"]}).to_dict()
    )


def test_of_one_crop_nothing_is_said_about_others(three):
    one = {name: of({"crop1": each.crops["crop1"]}) for name, each in three.items()}
    found = compare_results(one)
    assert not any(pair.is_told_apart or pair.ahead == pair.ahead for pair in found.overall.pairs)
    assert "nothing can be said" in describe_comparison(found)


@pytest.mark.parametrize(("kinds", "kind"), [((("mito", True),), "instance"), ((("er", False),), "semantic")])
def test_where_there_is_one_kind_of_class_its_mean_is_compared(kinds, kind):
    rng = np.random.default_rng(1)
    both = {name: result(rng, quality, kinds=kinds) for name, quality in (("a", 0.9), ("b", 0.2))}
    found = compare_results(both)
    assert found.overall.name == kind
    assert found.overall.scores["a"] > found.overall.scores["b"] > 0
    assert f"{kind} score by leaderboard" in describe_comparison(found)


def test_what_cannot_be_compared_is_said(three):
    with pytest.raises(InvalidArgumentError, match="name two or more"):
        compare_results({"a": three["a"]})
    with pytest.raises(InvalidArgumentError, match="by the rules leaderboard-2026-06, b by pq"):
        compare_results({"a": three["a"], "b": replace(three["b"], rules="pq")})
    fewer = of({crop: labels for crop, labels in three["b"].crops.items() if crop != "crop3"})
    with pytest.raises(InvalidArgumentError, match=r"different truths: crop3/er is in a alone, one of 3 such"):
        compare_results({"a": three["a"], "b": fewer})


def test_the_words_name_every_pair(three):
    words = describe_comparison(compare_results(three))
    for one, other in itertools.combinations("abc", 2):
        assert f"{one} - {other}: " in words
    assert "surely ahead" in words
    assert "8 crops drawn with replacement 2000 times" in words


def test_a_score_that_says_nothing_of_the_voxels_is_marked(three):
    nothing = LabelScore(instance=False, tp=0, fp=0, fn=0)
    empty = {name: of({c: {**ls, "ld": nothing} for c, ls in each.crops.items()}) for name, each in three.items()}
    empty["b"] = of({crop: {**labels, "ld": replace(nothing, fp=3)} for crop, labels in three["b"].crops.items()})
    words = describe_comparison(compare_results(empty))
    assert "1.0000*" in words
    assert "0.0000*" in words
    assert "* ld of a, c: counts as 1" in words
    assert "* ld of b: counts as 0" in words
    assert "*" not in describe_comparison(compare_results(three))
