import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from csc_train.objectives.losses.exclusive import ExclusiveCrossEntropy
from csc_train.objectives.losses.given import make_given
from csc_train.objectives.losses.overlaps import Dice, Tversky
from csc_train.objectives.losses.skeletons import CenterlineDice, soft_skeleton
from csc_train.objectives.losses.voxelwise import BinaryCrossEntropy, Focal, MeanSquaredError


class OneNumber(nn.Module):
    """A participant's own loss: 1 - IoU, of everything it is given."""

    def forward(self, output, target):
        p = output.sigmoid()
        return 1 - (p * target).sum() / (p + target - p * target).sum()


LOSSES = {
    "bce": BinaryCrossEntropy,
    "focal": lambda: Focal(gamma=0.5, alpha=0.25),
    "mse": MeanSquaredError,
    "dice": Dice,
    "tversky": Tversky,
    "cldice": lambda: CenterlineDice(iterations=2),
    "cross_entropy": ExclusiveCrossEntropy,
    "class": lambda: make_given(nn.SmoothL1Loss, {"beta": 0.5}, None, 3),
    "instance": lambda: make_given(nn.BCEWithLogitsLoss(), {}, None, 3),
    "positions": lambda: make_given(nn.CrossEntropyLoss, {}, None, 3),
    "one number": lambda: make_given(OneNumber(), {}, None, 3),
    "function": lambda: make_given(functional.l1_loss, {}, None, 3),
}


def sample(shape=(3, 3, 4, 5, 6), *, seed=0, unknown=0.6):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    target = (torch.rand(shape, generator=generator) > 0.6).double()
    target[torch.rand(shape, generator=generator) < unknown] = torch.nan
    return logits, target


def evaluate(loss, logits, target):
    """Return sum, weight and the gradient of the sum."""
    logits = logits.clone().requires_grad_()
    total = loss(logits, target)
    total.backward()
    return total.detach(), loss.weight(target), logits.grad


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 6), (2, 2, 6, 5)])
@given(seed=st.integers(0, 10**6), unknown=st.sampled_from([0.1, 0.6, 0.95]))
@settings(max_examples=5, deadline=None)
def test_what_a_network_says_where_nobody_knows_changes_nothing(name, shape, seed, unknown):
    """Neither sum nor gradient, not even as NaN or infinity; and there is no gradient there."""
    logits, target = sample(shape, seed=seed, unknown=unknown)
    target[0] = torch.nan
    hidden = target.isnan()
    if name == "cross_entropy":  # the probabilities of all classes add up to 1 where any is known
        hidden = hidden.all(1, keepdim=True).expand_as(hidden)
    if name == "positions":
        hidden = hidden.any(1, keepdim=True).expand_as(hidden)
    loss = LOSSES[name]()
    expected = evaluate(loss, logits, target)
    assert all(part.isfinite().all() for part in expected)
    assert not expected[2][hidden].any()
    for value in (50.0, torch.nan, torch.inf, -torch.inf):
        other = logits.masked_fill(hidden, value)
        for one, two in zip(expected, evaluate(loss, other, target), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_sums_and_weights_of_samples_are_those_of_the_batch(name):
    logits, target = sample((4, 3, 4, 5, 6))
    target[1], target[2, 1] = torch.nan, torch.nan
    loss = LOSSES[name]()
    whole = evaluate(loss, logits, target)
    parts = [evaluate(loss, logits[i : i + 1], target[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(sum(part[0] for part in parts), whole[0], rtol=1e-12, atol=1e-12)
    assert sum(part[1] for part in parts) == whole[1] > 0
    torch.testing.assert_close(torch.cat([part[2] for part in parts]), whole[2], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(1, 2, 3, 3, 3), (2, 3, 4, 4)])
def test_nothing_known_is_a_sum_of_zero_with_no_gradient(name, shape):
    logits = torch.full(shape, torch.nan)
    total, weight, gradient = evaluate(LOSSES[name](), logits, torch.full(shape, torch.nan))
    assert (float(total), float(weight)) == (0, 0)
    assert gradient.eq(0).all()


def test_focal_is_cross_entropy_times_a_power_of_what_is_missing():
    x, right = torch.tensor([0.7, -1.2]), torch.tensor([1.0, 0.0])
    p = [1 / (1 + math.exp(-0.7)), 1 - 1 / (1 + math.exp(1.2))]
    by_hand = sum(-a * (1 - q) ** 3 * math.log(q) for q, a in zip(p, (0.25, 0.75), strict=True))
    pair = x.view(1, 1, 1, 2), right.view(1, 1, 1, 2)
    assert float(Focal(gamma=3, alpha=0.25)(*pair)) == pytest.approx(by_hand, rel=1e-6)
    weighed = sum(-w * (1 - q) ** 3 * math.log(q) for q, w in zip(p, (5.0, 1.0), strict=True))
    assert float(Focal(gamma=3, positive_weight=torch.tensor([5.0]))(*pair)) == pytest.approx(weighed, rel=1e-6)
    both = Focal(gamma=3, alpha=0.25, positive_weight=torch.tensor([5.0]))
    assert float(both(*pair)) == pytest.approx(by_hand, rel=1e-6)
    torch.testing.assert_close(Focal(gamma=0)(*pair), BinaryCrossEntropy()(*pair))


def test_focal_has_a_gradient_where_the_network_is_sure():
    logits, target = torch.tensor([[[200.0, -200.0]]]), torch.tensor([[[1.0, 0.0]]])
    assert evaluate(Focal(gamma=0.5), logits, target)[2].isfinite().all()


def test_tversky_weighs_surplus_and_missed_voxels():
    logits = torch.tensor([[[50.0, 50.0, 50.0, -50.0]]])  # probabilities of 1 and 0
    target = torch.tensor([[[1.0, 0.0, 0.0, 1.0]]])  # one found, two surplus, one missed
    assert float(Tversky(alpha=0.25, beta=2, smooth=1)(logits, target)) == pytest.approx(1 - 2 / (1 + 0.5 + 2 + 1))
    assert float(Dice(smooth=1)(logits, target)) == pytest.approx(1 - (2 * 1 + 1) / (3 + 2 + 1))


def test_samples_of_a_batch_may_be_compared_as_one():
    logits = torch.randn(3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    target = (logits > 0.3).float()
    target[0, 0], target[1, :, 2:], target[:, 1, 0] = 0, torch.nan, torch.nan
    joined = [values.transpose(0, 1).reshape(1, 2, -1) for values in (logits, target)]
    loss = Dice(batch=True)
    torch.testing.assert_close(loss(logits, target), Dice()(*joined))
    assert float(loss.weight(target)) == 2
    assert float(Dice().weight(target)) == 6
    target[:, 1] = torch.nan
    assert float(loss.weight(target)) == 1


def test_mean_squared_error_is_that_of_distances():
    target = torch.tensor([[[0.5, -0.9, torch.nan]]])
    loss = MeanSquaredError()
    assert float(loss(torch.tensor([[[0.0, -1.0, 9.0]]]), target)) == pytest.approx(0.25 + 0.01)
    assert float(loss.weight(target)) == 2


def by_enumeration(logits, target):
    """Return cross-entropy and weight: -log of the probability of all that a voxel may be, voxel by voxel."""
    total, count = 0.0, 0
    channels = logits.shape[1]
    for x, t in zip(
        logits.movedim(1, -1).reshape(-1, channels), target.movedim(1, -1).reshape(-1, channels), strict=True
    ):
        if t.isnan().all():
            continue
        e = [1.0, *(math.exp(value) for value in x)]
        if (t == 1).any():
            allowed = [number + 1 for number in range(channels) if t[number] == 1]
        else:
            allowed = [0, *(number + 1 for number in range(channels) if t[number].isnan())]
        total -= math.log(sum(e[number] for number in allowed) / sum(e))
        count += 1
    return total, count


@pytest.mark.parametrize("unknown", [0.0, 0.4, 0.9])
def test_exclusive_cross_entropy_is_that_of_all_that_a_voxel_may_be(unknown):
    logits, target = sample((2, 3, 3, 4), unknown=unknown)
    loss = ExclusiveCrossEntropy()
    total, count = by_enumeration(logits, target)
    assert float(loss(logits, target)) == pytest.approx(total, rel=1e-12)
    assert float(loss.weight(target)) == count


def test_exclusive_cross_entropy_of_one_hot_targets_is_that_of_torch():
    logits = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    truth = torch.randint(0, 5, (2, 3, 3), generator=torch.Generator().manual_seed(1))  # 0 is none of the classes
    target = functional.one_hot(truth, 5).movedim(-1, 1)[:, 1:].float()
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    with_none = torch.cat([torch.zeros(2, 1, 3, 3), logits], 1)
    expected = functional.cross_entropy(with_none, truth, weight=weight, reduction="sum")
    torch.testing.assert_close(ExclusiveCrossEntropy(weight[1:])(logits, target), expected)


def tube(shape, axis=-1, thickness=1):
    """Return a straight tube through the middle of the other axes."""
    image = torch.zeros(shape)
    place = [slice(n // 2 - thickness, n // 2 + thickness + 1) for n in shape]
    place[axis] = slice(None)
    image[tuple(place)] = 1
    return image[None, None]


@pytest.mark.parametrize("shape", [(9, 20), (9, 9, 20)])
def test_the_skeleton_of_a_tube_is_its_axis(shape):
    image = tube(shape)
    skeleton = soft_skeleton(image, torch.ones_like(image, dtype=torch.bool), 3)
    assert skeleton.equal(tube(shape, thickness=0))


@pytest.mark.parametrize("shape", [(9, 20), (9, 9, 20)])
def test_cldice_sees_a_gap_that_dice_hardly_sees_and_hardly_sees_thickness(shape):
    truth = tube(shape, thickness=2)
    broken, thinner = truth.clone(), tube(shape, thickness=1)
    broken[..., 8:12] = 0
    loss = {}
    for name, prediction in (("same", truth), ("broken", broken), ("thinner", thinner)):
        loss[name] = float(CenterlineDice(iterations=4, smooth=1e-3)(100 * (prediction - 0.5), truth))
    assert loss["same"] == pytest.approx(0, abs=1e-3)
    assert loss["thinner"] == pytest.approx(0, abs=1e-3)
    assert loss["broken"] == pytest.approx(1 - 2 * 0.8 / 1.8, abs=0.01)  # all of it is right, four fifths are found


@pytest.mark.parametrize("shape", [(7, 8), (7, 8, 9)])
def test_to_cldice_the_unknown_is_like_the_world_beyond_the_patch(shape):
    logits, target = sample((2, 2, *shape), unknown=0.0)
    target[..., 5:] = torch.nan
    loss = CenterlineDice(iterations=3)
    part = logits[..., :5], target[..., :5]
    torch.testing.assert_close(loss(logits, target), loss(*part), rtol=1e-12, atol=0)


def test_cldice_decreases_as_a_gap_closes():
    truth = tube((9, 9, 20))
    logits = (8 * (truth - 0.5)).clone()
    logits[..., 9:11] = -4
    loss = CenterlineDice(iterations=2)
    _, _, gradient = evaluate(loss, logits, truth)
    assert gradient[0, 0, 4, 4, 9:11].lt(0).all()
