import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from csc_data.errors import InvalidArgumentError
from csc_data.loader import ClassCounts
from csc_data.loader.targets import parse_targets
from csc_train.objectives.objective import build_objective
from csc_train.settings import TrainSettings

CLASSES = ["mito", "er", "nuc"]
BOTH = {"output": "binary", "distance": "signed_distance"}


def objective_of(criterion="bce", *, counts=None, targets=None, classes=CLASSES, **given):
    settings = TrainSettings(classes=classes, criterion=criterion, **given)
    return build_objective(settings, counts, None if targets is None else parse_targets(targets))


def sample(shape=(4, 3, 5, 6, 7), *, seed=0, unknown=0.6):
    """Return logits and targets (1, 0, NaN) in float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    target = (torch.rand(shape, generator=generator) > 0.6).double()
    target[torch.rand(shape, generator=generator) < unknown] = torch.nan
    return logits, target


def total_of(objective, outputs, batch):
    return objective.total(objective.losses(outputs, batch), objective.weights(batch))


def test_binary_cross_entropy_is_the_mean_over_known_voxels():
    logits, target = sample()
    known = ~target.isnan()
    objective = objective_of("bce")
    batch = {"output": target}
    assert objective.weights(batch).tolist() == [int(known.sum())]
    expected = functional.binary_cross_entropy_with_logits(logits[known], target[known])
    torch.testing.assert_close(total_of(objective, logits, batch), expected)


def test_dice_is_the_mean_over_samples_and_classes_that_are_known():
    logits, target = sample()
    target[0, 1], target[2] = torch.nan, torch.nan
    expected = []
    for b in range(4):
        for c in range(3):
            known = ~target[b, c].isnan()
            p, t = torch.sigmoid(logits[b, c][known]), target[b, c][known]
            if known.any():
                expected.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    objective = objective_of("dice")
    assert objective.weights({"output": target}).tolist() == [8] == [len(expected)]
    torch.testing.assert_close(total_of(objective, logits, {"output": target}), torch.stack(expected).mean())


def test_a_sum_of_two_is_the_sum_of_both_means():
    logits, target = sample()
    one, other, both = (
        total_of(objective_of(name), logits, {"output": target}) for name in ("bce", "dice", "bce_dice")
    )
    torch.testing.assert_close(both, one + other)


def test_present_voxels_of_rare_classes_weigh_more():
    logits, target = sample(unknown=0.0)
    counts = ClassCounts(present={"er": 60, "mito": 10, "nuc": 1}, known=dict.fromkeys(CLASSES, 100))
    weight = torch.tensor([9.0, 1.0, 10.0]).view(3, 1, 1, 1)  # of nuc the limit
    expected = functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    for criterion in ("bce", nn.BCEWithLogitsLoss):
        weighed = objective_of(criterion, counts=counts)
        torch.testing.assert_close(total_of(weighed, logits, {"output": target}), expected)
    plain = objective_of("bce", counts=counts, weight_loss=False)
    expected = functional.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(total_of(plain, logits, {"output": target}), expected)


@pytest.mark.parametrize("criterion", ["bce", "dice", "bce_dice", nn.MSELoss])
@given(cut=st.integers(0, 6), seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_batches_one_after_the_other_are_one_large_batch(criterion, cut, seed):
    """Sums and weights add up, and so do the gradients of parts that are divided by the weight of the whole."""
    logits, target = sample((6, 3, 3, 4, 5), seed=seed)
    target[:2, 1] = torch.nan
    objective = objective_of(criterion)
    whole = logits.clone().requires_grad_()
    total_of(objective, whole, {"output": target}).backward()
    parts = [slice(0, cut), slice(cut, 6)]
    weights = objective.no_sums()
    for part in parts:
        weights += objective.weights({"output": target[part]})
    sums, pieces = objective.no_sums(), logits.clone().requires_grad_()
    for part in parts:
        losses = objective.losses(pieces[part], {"output": target[part]})
        sums += losses.detach()
        objective.total(losses, weights).backward()
    together = objective.losses(logits, {"output": target})
    torch.testing.assert_close(sums, together, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(pieces.grad, whole.grad, rtol=1e-12, atol=1e-15)


def test_nothing_known_is_a_total_of_zero_with_no_gradient():
    objective = objective_of("bce_dice")
    logits = torch.randn(1, 3, 2, 2, 2, requires_grad=True)
    total = total_of(objective, logits, {"output": torch.full(logits.shape, math.nan)})
    total.backward()
    assert float(total.detach()) == 0
    assert not logits.grad.any()


def test_half_precision_is_added_up_in_single():
    logits, target = torch.full((1, 3, 32, 32, 32), 9.0), torch.zeros(1, 3, 32, 32, 32)
    expected = total_of(objective_of(), logits, {"output": target})
    torch.testing.assert_close(total_of(objective_of(), logits.half(), {"output": target}), expected)


def test_the_centre_of_a_larger_output_is_compared():
    logits, target = sample()
    larger = functional.pad(logits, (1, 1, 2, 2, 1, 1), value=7.0)
    for objective in (objective_of("bce"), objective_of("dice")):
        expected = total_of(objective, logits, {"output": target})
        torch.testing.assert_close(total_of(objective, larger, {"output": target}), expected)


@pytest.mark.parametrize("criterion", ["bse", 3, dict])
def test_an_unknown_criterion_is_an_error(criterion):
    with pytest.raises((InvalidArgumentError, ValueError), match="criterion"):
        objective_of(criterion)


def test_outputs_are_known_by_name_by_order_and_by_channels():
    objective = objective_of(nn.MSELoss, targets=BOTH)
    one, other = torch.rand(2, 3, 4, 4, 4), torch.rand(2, 3, 4, 4, 4)
    for outputs in ({"distance": other, "output": one, "else": 1}, [one, other], torch.cat([one, other], 1)):
        named = objective.named(outputs)
        assert list(named) == ["output", "distance"]
        assert named["output"].equal(one)
        assert named["distance"].equal(other)
    levels = objective.named([torch.cat([one, other], 1), torch.zeros(2, 6, 2, 2, 2)])
    assert [tuple(level.shape) for level in levels["distance"]] == [(2, 3, 4, 4, 4), (2, 3, 2, 2, 2)]
    assert levels["distance"][0].equal(other)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"distance": torch.zeros(1)}, "output"),
        (torch.zeros(1, 4, 2, 2, 2), "3 of output [+] 3 of distance"),
        ("text", "text"),
    ],
)
def test_outputs_that_do_not_fit_are_an_error(outputs, said):
    with pytest.raises(InvalidArgumentError, match=said):
        objective_of(nn.MSELoss, targets=BOTH).named(outputs)


def test_a_missing_target_is_an_error():
    with pytest.raises(InvalidArgumentError, match="target 'output'; batches hold input"):
        objective_of().weights({"input": torch.zeros(1)})
