from __future__ import annotations

import itertools

import numpy as np
import pytest

from csc_eval import LabelScore
from csc_submit.tuning.choosing import ScoreBook, choose, held_out_gain, make_folds
from csc_submit.tuning.searching import Budget, find_values, search
from csc_submit.tuning.space import Parameter

LEVELS = tuple(round(0.1 * n, 1) for n in range(1, 10))
THRESHOLD = Parameter(name="threshold", values=LEVELS, default=0.5)
NEEDLESS = Parameter(name="smoothing_nm", values=(0.0, 8.0, 16.0), default=0.0)


def make_book(iou_of, crops=8, parameters=(THRESHOLD, NEEDLESS), asked=None):
    """Return a book whose crops of 1000 voxels have an IoU that a function says."""

    def score(point):
        if asked is not None:
            asked.append(point)
        values = dict(zip((p.name for p in parameters), point, strict=True))
        scores = {}
        for crop in range(crops):
            hits = round(1000 * iou_of(crop, **values))
            scores[str(crop)] = LabelScore(instance=False, tp=hits, fp=0, fn=1000 - hits)
        return scores

    return ScoreBook("er", parameters, make_folds([str(n) for n in range(crops)], []), score)


def test_what_gains_in_every_crop_is_found_and_a_needless_parameter_stays():
    book = make_book(lambda crop, threshold, smoothing_nm: 0.8 - abs(threshold - 0.8) + 0.01 * (crop % 3))
    found = find_values(book, Budget(trials=100), 1.0)
    assert found.holds
    assert found.point == (0.8, 0.0)
    assert set(found.parameters) == {"threshold"}
    assert found.gain.mean == pytest.approx(0.3, abs=0.001)
    assert found.gain.better == found.gain.folds == 8


def test_what_is_best_on_each_crop_by_chance_alone_is_not_taken():
    """The oracle gains much on each crop; no value gains on crops that it was not chosen on."""
    kept, oracle = 0, []
    points = list(itertools.product(LEVELS, NEEDLESS.values))
    everything = tuple(range(6))
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.05, (6, len(LEVELS), 3))

        def iou(crop, threshold, smoothing_nm, noise=noise):
            return 0.5 + noise[crop, LEVELS.index(threshold), int(smoothing_nm // 8)]

        book = make_book(iou, crops=6)
        kept += find_values(book, Budget(trials=100), 1.0).point == book.default
        oracle.append(max(book.pooled(point, everything) for point in points) - book.pooled(book.default, everything))
    assert np.mean(oracle) > 0.03
    assert kept >= 16


def test_one_good_crop_among_many_does_not_decide():
    book = make_book(lambda crop, threshold, smoothing_nm: 0.5 + (threshold - 0.5) * (1.5 if crop == 0 else -0.01))
    found = find_values(book, Budget(trials=100), 1.0)
    assert found.point == book.default
    assert not found.holds


def test_of_values_that_are_as_good_the_one_next_to_the_default_is_taken():
    noise = np.random.default_rng(0).normal(0, 0.02, (8, len(LEVELS)))
    book = make_book(
        lambda crop, threshold, smoothing_nm: 0.5 + 0.1 * (threshold > 0.6) + noise[crop, LEVELS.index(threshold)]
    )
    points = [(level, 0.0) for level in LEVELS]
    everything = tuple(range(8))
    best = max(points, key=lambda point: book.pooled(point, everything))
    assert best != (0.7, 0.0)
    assert choose(book, points, everything) == (0.7, 0.0)


def test_each_choice_of_a_large_space_is_led_by_its_own_folds():
    wide = [Parameter(name=name, values=tuple(range(40)), default=0) for name in ("threshold", "smoothing_nm")]
    asked = []
    book = make_book(
        lambda crop, threshold, smoothing_nm: 0.5 - 0.01 * abs(threshold - (35 if crop else 2)), 4, wide, asked
    )
    tried = search(book, [(0,), (1, 2, 3)], Budget(trials=40, seed=1))
    assert [points[0] for points in tried] == [(0, 0)] * 2  # the default is tried first
    assert max(map(len, tried)) <= 40
    assert len(asked) == len(set(asked)) < 1600
    means = [np.mean([point[0] for point in points[10:]]) for points in tried]
    assert means[0] < 15 < 20 < means[1]
    assert search(book, [(0,)], Budget(trials=40, seed=1)) == tried[:1]


def test_time_that_is_up_ends_a_search():
    book = make_book(lambda crop, threshold, smoothing_nm: 0.5)
    points, _ = search(book, [(0,), (1,)], Budget(trials=100, deadline=0.0))
    assert len(points) < 10
    assert book.default in points


def test_gain_is_that_of_points_on_their_own_folds():
    book = make_book(lambda crop, threshold, smoothing_nm: 0.1 * crop + threshold / 10, crops=4)
    gain = held_out_gain(book, [(0.9, 0.0)] * 3 + [(0.1, 0.0)], [book.default] * 4)
    assert gain.mean == pytest.approx((3 * 0.04 - 0.04) / 4)
    assert (gain.better, gain.folds) == (3, 4)
    assert gain.holds(0.5)
    assert not gain.holds(2.0)
