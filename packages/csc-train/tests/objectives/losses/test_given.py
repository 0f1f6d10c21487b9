import functools

import pytest
import torch
from torch import nn
from torch.nn import functional

from csc_data.errors import InvalidArgumentError
from csc_train.objectives.losses.cellmap_wrapper import CellMapLossWrapper
from csc_train.objectives.losses.given import make_given

WEIGHT = torch.tensor([2.0, 5.0])


class Official(nn.Module):
    """Has the form of the official toolbox's class, and what it does with one target."""

    def __init__(self, loss_fn, **kwargs):
        super().__init__()
        self.kwargs = kwargs
        self.kwargs["reduction"] = "none"
        self.loss_fn = loss_fn(**self.kwargs)

    def forward(self, outputs, targets):
        return (self.loss_fn(outputs, targets.nan_to_num(0)) * ~targets.isnan()).nanmean()


Official.__name__ = "CellMapLossWrapper"


class SampleDice(nn.Module):
    """Gives a value for each sample and class, as MONAI's losses do."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, output, target):
        p = output.sigmoid()
        axes = list(range(2, p.ndim))
        values = 1 - 2 * (p * target).sum(axes, keepdim=True) / (p + target).sum(axes, keepdim=True)
        return values if self.reduction == "none" else values.mean()


def sample(unknown=0.5):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 3, 4, 5, generator=generator)
    target = (torch.rand(logits.shape, generator=generator) > 0.5).float()
    target[torch.rand(target.shape, generator=generator) < unknown] = torch.nan
    return logits, target


def mean(loss, logits, target):
    return loss(logits, target) / loss.weight(target)


FORMS = {
    "class": (nn.BCEWithLogitsLoss, {}),
    "arguments that are for a mean": (nn.BCEWithLogitsLoss, {"reduction": "mean"}),
    "partial": (functools.partial(nn.BCEWithLogitsLoss, reduction="sum"), {}),
    "instance": (nn.BCEWithLogitsLoss(), {}),
    "instance of a sum": (nn.BCEWithLogitsLoss(reduction="sum"), {}),
    "function": (functional.binary_cross_entropy_with_logits, {}),
    "wrapper of the official toolbox": (Official, {"loss_fn": nn.BCEWithLogitsLoss}),
    "its instance": (Official(nn.BCEWithLogitsLoss), {}),
    "our wrapper": (CellMapLossWrapper, {"loss_fn": nn.BCEWithLogitsLoss}),
    "instance of ours": (CellMapLossWrapper(nn.BCEWithLogitsLoss), {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_torch_loss_in_any_form_is_the_mean_over_known_voxels(form):
    logits, target = sample()
    known = ~target.isnan()
    expected = functional.binary_cross_entropy_with_logits(logits[known], target[known]).double()
    criterion, arguments = FORMS[form]
    torch.testing.assert_close(mean(make_given(criterion, arguments, None, 3), logits, target), expected)


@pytest.mark.parametrize("form", ["class", "partial", "wrapper of the official toolbox", "our wrapper"])
def test_a_class_takes_weights_from_counts(form):
    logits, target = sample(unknown=0.0)
    expected = functional.binary_cross_entropy_with_logits(logits, target, pos_weight=WEIGHT.view(2, 1, 1, 1))
    criterion, arguments = FORMS[form]
    torch.testing.assert_close(mean(make_given(criterion, arguments, WEIGHT, 3), logits, target), expected.double())
    own = {**arguments, "pos_weight": torch.tensor(1.0)}
    expected = functional.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(mean(make_given(criterion, own, WEIGHT, 3), logits, target), expected.double())


def test_an_instance_stays_as_it_was():
    criterion = nn.MSELoss()
    make_given(criterion, {}, None, 3)
    assert criterion.reduction == "mean"


def test_a_value_for_each_position_counts_where_all_channels_are_known():
    logits, target = sample()
    known = ~target.isnan().any(1)
    expected = functional.cross_entropy(logits, target.nan_to_num(0), reduction="none")[known].mean().double()
    torch.testing.assert_close(mean(make_given(nn.CrossEntropyLoss, {}, None, 3), logits, target), expected)


@pytest.mark.parametrize("criterion", [SampleDice, SampleDice(), lambda output, target: SampleDice()(output, target)])
def test_a_number_is_asked_for_each_sample_and_class(criterion):
    logits, target = sample()
    target[0, 1] = torch.nan
    target[1, 0].nan_to_num_(0)
    expected = []
    for b, c in ((0, 0), (1, 0), (1, 1)):
        known = ~target[b, c].isnan()
        expected.append(SampleDice()(logits[b, c][known].view(1, 1, -1), target[b, c][known].view(1, 1, -1)))
    loss = make_given(criterion, {}, None, 3)
    assert loss.weight(target) == 3
    torch.testing.assert_close(mean(loss, logits, target), torch.stack(expected).mean().double())


@pytest.mark.parametrize(
    ("criterion", "arguments", "said"),
    [
        (3, {}, "must be a name, a class or a loss"),
        (dict, {}, "must be a name, a class or a loss"),
        (nn.MSELoss, {"alpha": 1}, "MSELoss does not take its arguments: .*alpha"),
        (nn.MSELoss(), {"alpha": 1}, "MSELoss is made already; give it alpha when it is made"),
        (nn.TripletMarginLoss, {}, "TripletMarginLoss cannot be called with output and target: .*'negative'"),
        (lambda output: output.mean(), {}, "cannot be called with output and target"),
    ],
)
def test_what_is_not_a_loss_is_an_error(criterion, arguments, said):
    with pytest.raises(InvalidArgumentError, match=said):
        make_given(criterion, arguments, None, 3)


@pytest.mark.parametrize(
    ("criterion", "said"),
    [(lambda output, target: "text", "tensor"), (lambda output, target: output[..., 0], r"\(1, 1, 3, 4\)")],
)
def test_what_a_loss_must_not_give_is_an_error(criterion, said):
    logits, target = sample(unknown=0.0)
    loss = make_given(criterion, {}, None, 3)
    with pytest.raises(InvalidArgumentError, match=said):
        loss(logits, target)


@pytest.mark.parametrize("given", [lambda o, t: (o.detach() - t) ** 2, lambda o, t: (o.detach() - t).abs().mean()])
def test_a_loss_without_a_gradient_is_an_error(given):
    logits, target = sample()
    loss = make_given(given, {}, None, 3)
    loss(logits, target)  # as in validation
    with pytest.raises(InvalidArgumentError, match="no gradient, so nothing would be learnt"):
        loss(logits.requires_grad_(), target)


def test_weights_of_a_loss_that_stay_as_they_are_are_told(caplog):
    criterion = SampleDice()
    make_given(criterion, {}, None, 3)
    assert not caplog.messages
    criterion.own = nn.Parameter(torch.ones(1))
    make_given(criterion, {}, None, 3)
    assert caplog.messages == ["criterion SampleDice has weights of its own; they stay as they are"]


def test_the_wrapper_takes_several_targets_by_name_and_in_order():
    logits, target = sample()
    other = torch.full_like(target, torch.nan)
    other[0, 0, 0, 0, 0] = 1.0
    wrapper = CellMapLossWrapper(nn.BCEWithLogitsLoss)
    first = wrapper(logits, target)
    second = functional.softplus(-logits[0, 0, 0, 0, 0])
    expected = (first + second) / 2
    targets = {"a": target, "b": other}
    torch.testing.assert_close(wrapper({"b": logits, "a": logits}, targets).float(), expected.float())
    torch.testing.assert_close(wrapper([logits, logits], targets).float(), expected.float())
