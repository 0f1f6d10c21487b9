from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from csc_data.splits.splitting import stratify

presences = st.lists(st.sets(st.sampled_from("abcde"), max_size=4), min_size=1, max_size=9)


def sides(present, validates):
    """Count the crops of each class on both sides."""
    names = set().union(*present)
    train = {n: sum(n in p for p, v in zip(present, validates, strict=True) if not v) for n in names}
    validate = {n: sum(n in p for p, v in zip(present, validates, strict=True) if v) for n in names}
    return train, validate


@given(presences, st.floats(0, 0.9), st.integers(0, 100))
def test_no_class_loses_its_last_training_crop(present, share, seed):
    train, _ = sides(present, stratify(present, share, seed))
    assert all(count >= 1 for count in train.values())


@given(presences, st.floats(0.01, 0.9), st.integers(0, 100))
@settings(max_examples=300, deadline=None)
@example(present=[{"a", "b"}, {"a", "c"}, {"b", "c"}, {"a"}, {"b"}, {"c"}], share=0.2, seed=0)
def test_every_class_is_on_both_sides_where_that_can_be(present, share, seed):
    _, validate = sides(present, stratify(present, share, seed))
    both = sum(count > 0 for count in validate.values())
    possible = max(
        sum(v > 0 for v in sides(present, choice)[1].values())
        for choice in itertools.product([False, True], repeat=len(present))
        if all(t > 0 for t in sides(present, choice)[0].values())
    )
    assert both == possible


@given(presences, st.floats(0, 0.9), st.integers(0, 100))
def test_a_split_is_a_function_of_its_arguments(present, share, seed):
    assert stratify(present, share, seed) == stratify([set(p) for p in present], share, seed)


def test_no_share_means_no_validation():
    assert not any(stratify([{"a"}, {"a"}, {"b"}], 0.0, 0))


def test_the_share_is_met_where_nothing_stands_against_it():
    present = [{"a", "b"} for _ in range(20)]
    assert sum(stratify(present, 0.2, 0)) == 4
    assert sum(stratify(present, 0.5, 3)) == 10


def test_seeds_choose_among_equal_splits():
    present = [{"a"} for _ in range(10)]
    assert len({tuple(stratify(present, 0.2, seed)) for seed in range(20)}) > 5


def test_a_rare_class_is_served_first():
    # Only the crops of the rare class can give it a validation crop.
    present = [{"common"} for _ in range(8)] + [{"common", "rare"}, {"common", "rare"}]
    _, validate = sides(present, stratify(present, 0.1, 0))
    assert validate["rare"] == 1


def test_crops_without_classes_never_validate():
    assert stratify([set(), {"a"}, {"a"}], 0.5, 0)[0] is False


@pytest.mark.parametrize("seed", range(3))
def test_many_crops_take_no_time(seed):
    generator = random.Random(seed)
    classes = [f"c{n}" for n in range(48)]
    present = [set(generator.sample(classes, generator.randint(1, 30))) for _ in range(289)]
    train, validate = sides(present, stratify(present, 0.15, seed))
    assert min(train.values()) > 0
    assert min(validate.values()) > 0
