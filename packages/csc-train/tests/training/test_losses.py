import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from csc_data.errors import InvalidArgumentError
from csc_train.training.losses import KnownVoxelLoss, positive_weights


def example(seed=0, shape=(2, 3, 5, 6, 7), share=0.1):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    target = (torch.rand(shape, generator=generator) > 0.6).double()
    known = torch.rand(shape, generator=generator) < share
    return logits, target, known


CRITERIA = ["bce", "dice", "bce_dice", nn.BCEWithLogitsLoss, nn.MSELoss]


@pytest.mark.parametrize("criterion", CRITERIA)
@given(seed=st.integers(0, 10**6), share=st.floats(0.02, 0.9))
@settings(max_examples=20, deadline=None)
def test_unknown_voxels_change_nothing(criterion, seed, share):
    """Whatever the network says where nobody knows, loss and gradient are the same; unknown voxels get none."""
    logits, target, known = example(seed, share=share)
    target[~known] = torch.nan
    loss = KnownVoxelLoss(criterion)
    one = logits.clone().requires_grad_()
    other = torch.where(known, logits, torch.full_like(logits, 50.0)).requires_grad_()
    first, second = loss(one, target), loss(other, target)
    assert first.known == int(known.sum())
    torch.testing.assert_close(first.value, second.value)
    first.value.backward()
    second.value.backward()
    torch.testing.assert_close(one.grad, other.grad)
    assert not one.grad[~known].any()


@pytest.mark.parametrize("criterion", ["bce", nn.BCEWithLogitsLoss])
def test_ten_percent_known_give_the_loss_of_these_voxels_alone(criterion):
    logits, target, known = example()
    alone = nn.functional.binary_cross_entropy_with_logits(logits[known], target[known])
    target[~known] = torch.nan
    torch.testing.assert_close(KnownVoxelLoss(criterion)(logits, target).value, alone)


def test_dice_is_the_mean_over_the_classes_that_are_known():
    logits, target, _ = example()
    target[:, 1] = torch.nan
    probability = torch.sigmoid(logits)
    expected = []
    for channel in (0, 2):
        p, t = probability[:, channel], target[:, channel]
        expected.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    torch.testing.assert_close(KnownVoxelLoss("dice")(logits, target).value, torch.stack(expected).mean())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_nothing_known_is_a_loss_of_zero_with_no_gradient(criterion):
    logits = torch.randn(1, 2, 3, 3, 3, requires_grad=True)
    loss = KnownVoxelLoss(criterion)(logits, torch.full((1, 2, 3, 3, 3), torch.nan))
    loss.value.backward()
    assert (float(loss.value.detach()), loss.known) == (0.0, 0)
    assert not logits.grad.any()


def test_present_voxels_weigh_as_told():
    logits, target, known = example(shape=(1, 2, 4, 4, 4), share=1.0)
    weight = torch.tensor([3.0, 1.0], dtype=torch.float64)
    expected = nn.functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight.view(1, 2, 1, 1, 1))
    assert known.all()
    torch.testing.assert_close(KnownVoxelLoss("bce", None, weight)(logits, target).value, expected)


def test_weights_balance_absent_and_present_within_limits():
    weights = positive_weights({"a": 10, "b": 60, "c": 1, "d": 0}, {"a": 100, "b": 100, "c": 1000, "d": 5}, 20.0)
    assert weights.tolist() == [9.0, 1.0, 20.0, 1.0]


@pytest.mark.parametrize("criterion", ["bse", 3, dict])
def test_an_unknown_criterion_is_an_error(criterion):
    with pytest.raises(InvalidArgumentError, match="criterion"):
        KnownVoxelLoss(criterion)(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2)).value.item()
