import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.loader import ClassCounts
from csc_data.loader.targets import parse_targets
from csc_train.objectives.criteria import NAMES
from csc_train.objectives.objective import build_objective
from csc_train.settings import TrainSettings
from csc_train.settings.optimisation import CRITERIA

CLASSES = ["mito", "er", "nuc"]
BOTH = {"output": "binary", "distance": "signed_distance"}


def objective_of(criterion="bce", *, counts=None, targets=None, classes=CLASSES, **given):
    settings = TrainSettings(classes=classes, **given)
    object.__setattr__(settings, "criterion", criterion)  # whatever the settings themselves take
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


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 6, 7)])
def test_present_voxels_of_rare_classes_weigh_more(shape):
    axes = shape if shape[0] > 1 else shape[1:]  # as batches of flat patches have them
    logits, target = sample((4, 3, *axes), unknown=0.0)
    counts = ClassCounts(present={"er": 60, "mito": 10, "nuc": 1}, known=dict.fromkeys(CLASSES, 100))
    weight = torch.tensor([9.0, 1.0, 10.0]).view(3, *(1,) * len(axes))  # of nuc the limit
    info = {"shape": shape, "scale": (8, 8, 8)}
    expected = functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    for criterion in ("bce", nn.BCEWithLogitsLoss):
        weighed = objective_of(criterion, counts=counts, input_array_info=info)
        torch.testing.assert_close(total_of(weighed, logits, {"output": target}), expected)
    plain = objective_of("bce", counts=counts, weight_loss=False)
    expected = functional.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(total_of(plain, logits, {"output": target}), expected)


@pytest.mark.parametrize(
    "criterion", ["bce", "bce_dice", "cross_entropy", nn.MSELoss, ["focal", {"criterion": "tversky"}]]
)
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


def coarser(target, sizes):
    """Return of each coarse voxel's centre the voxel that it lies in, one by one."""
    fine = target.shape[2:]
    out = torch.empty(*target.shape[:2], *sizes, dtype=target.dtype)
    for place in itertools.product(*map(range, sizes)):
        source = [math.floor((i + 0.5) * n / m) for i, n, m in zip(place, fine, sizes, strict=True)]
        out[(..., *place)] = target[(..., *source)]
    return out


@pytest.mark.parametrize("criterion", ["bce", "dice"])
def test_coarser_outputs_are_compared_with_the_nearest_voxels_and_count_half_as_much_each(criterion):
    """A voxel of a coarser output stands for as many as it is as large as."""
    _, target = sample((2, 3, 8, 6, 5))
    sizes = [(8, 6, 5), (4, 3, 3), (2, 2, 2)]
    levels = [sample((2, 3, *size), seed=number)[0].requires_grad_() for number, size in enumerate(sizes)]
    objective = objective_of(criterion)
    losses = [objective_of(criterion).losses(x, {"output": coarser(target, x.shape[2:])}) for x in levels]
    factors = [1, 240 / 36, 240 / 8] if criterion == "bce" else [1, 1, 1]
    expected = sum(w / 7 * f * loss for w, f, loss in zip((4, 2, 1), factors, losses, strict=True))
    torch.testing.assert_close(objective.losses(levels, {"output": target}), expected, rtol=1e-12, atol=0)
    assert objective.weights({"output": target}).equal(objective.no_sums() + losses_weight(criterion, target))


def losses_weight(criterion, target):
    known = ~target.isnan()
    return known.sum() if criterion == "bce" else known.flatten(2).any(2).sum()


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_gradients_of_coarser_outputs_add_up_to_those_of_the_large_batch(seed):
    _, target = sample((4, 3, 4, 6, 5), seed=seed)
    objective = objective_of("bce_dice")
    whole = [sample((4, 3, *size), seed=seed + 1)[0].requires_grad_() for size in ((4, 6, 5), (2, 3, 3))]
    pieces = [level.detach().clone().requires_grad_() for level in whole]
    total_of(objective, whole, {"output": target}).backward()
    weights = objective.weights({"output": target})
    for part in (slice(0, 1), slice(1, 4)):
        objective.total(
            objective.losses([level[part] for level in pieces], {"output": target[part]}), weights
        ).backward()
    for one, other in zip(pieces, whole, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([(4, 4, 4), (5, 2, 2)], "largest first"),
        ([(4, 4, 4), (2, 2)], "largest first"),
        ([(6, 4, 4), (2, 2, 2)], "same"),
    ],
)
def test_lists_that_are_not_deep_supervision_are_an_error(sizes, said):
    levels = [torch.zeros(1, 3, *size) for size in sizes]
    with pytest.raises(InvalidArgumentError, match=said):
        objective_of().losses(levels, {"output": torch.zeros(1, 3, 4, 4, 4)})


def test_several_outputs_have_criteria_and_factors_of_their_own():
    criterion = {
        "output": ["bce", {"criterion": "tversky", "kwargs": {"alpha": 0.5, "beta": 0.5}, "factor": 0.25}],
        "distance": {"criterion": nn.L1Loss, "factor": 3},
        "rough": {"criterion": "dice", "target": "output"},
    }
    objective = objective_of(criterion, targets=BOTH)
    logits, target = sample()
    rough, distance = sample(seed=1)[0], sample(seed=2)[0].tanh()
    batch = {"output": target, "distance": torch.where(target.isnan(), torch.nan, distance)}
    outputs = {"output": logits, "distance": logits, "rough": rough}
    known = ~target.isnan()
    expected = (
        total_of(objective_of("bce"), logits, batch)
        + 0.25 * total_of(objective_of("tversky", criterion_kwargs={"alpha": 0.5, "beta": 0.5}), logits, batch)
        + 3 * (logits - distance)[known].abs().mean()
        + total_of(objective_of("dice"), rough, batch)
    )
    torch.testing.assert_close(total_of(objective, outputs, batch), expected)
    assert [term.name for term in objective.terms] == ["output/bce", "output/tversky", "distance/L1Loss", "rough/dice"]


def test_hot_distance_is_cross_entropy_of_classes_and_squared_difference_of_distances():
    logits, target = sample()
    distance = sample(seed=2)[0].tanh()
    batch = {"output": target, "distance": distance}
    objective = objective_of("hot_distance", targets=BOTH)
    expected = total_of(objective_of("bce"), logits[:, :3], batch) + ((logits - distance) ** 2).mean()
    torch.testing.assert_close(total_of(objective, torch.cat([logits, logits], 1), batch), expected)


def test_weights_from_counts_are_for_targets_that_say_where_classes_are():
    counts = ClassCounts(present=dict.fromkeys(CLASSES, 10), known=dict.fromkeys(CLASSES, 50))
    objective = objective_of("focal", counts=counts, targets={"output": "binary", "edges": "boundaries"})
    assert objective.terms[0].loss.positive_weight.tolist() == [4, 4, 4]
    assert objective.terms[1].loss.positive_weight is None


@pytest.mark.parametrize(
    ("criterion", "given", "said"),
    [
        ("dcie", {}, "there is no criterion 'dcie' [(]did you mean dice[?]"),
        (3, {}, "criterion: criterion must be a name, a class or a loss, got 3"),
        ([], {}, "criterion: is empty"),
        ({}, {}, "criterion: is empty"),
        ("bce", {"criterion_kwargs": {"gamma": 1}}, "criterion_kwargs.gamma: is not an argument of bce"),
        ("focal", {"criterion_kwargs": {"gama": 1}}, "gama: is not an argument of focal [(]did you mean gamma[?]"),
        ("dice", {"criterion_kwargs": {"batch": 1}}, "criterion_kwargs.batch: must be true or false"),
        ("focal", {"criterion_kwargs": {"gamma": "2"}}, "criterion_kwargs.gamma: must be a number"),
        ("dice", {"criterion_kwargs": {"smooth": 0}}, "smooth must be above 0, got 0"),
        ("cldice", {"criterion_kwargs": {"iterations": 0.5}}, "iterations must be a whole number from 1, got 0.5"),
        (["bce"], {"criterion_kwargs": {"gamma": 1}}, "criterion_kwargs: does not go with"),
        ({"output": {"factor": 2}}, {}, "criterion.output: has no criterion"),
        ([{"criterion": "bce", "factor": -1}], {}, r"criterion\[0\].factor: must be a number and not negative"),
        ([{"criterion": "bce", "weight": 1}], {}, r"criterion\[0\].weight: is not known"),
        ({"criterion": "bce", "kwargs": 3}, {}, "criterion.kwargs: must be a mapping"),
        ({"criterion": "bce", "target": "outptu"}, {}, "there is no target 'outptu' [(]did you mean output[?]"),
        ("hot_distance", {}, "hot_distance needs a target of signed distances"),
        ({"output": nn.MSELoss()}, {"targets": BOTH, "criterion_kwargs": {"a": 1}}, "criterion_kwargs: does not go"),
        ("bce", {"targets": BOTH}, "bce is for targets of 1 and 0, not for signed distances [(]take mse"),
        (
            {"outptu": "bce"},
            {"targets": BOTH},
            "criterion.outptu: there is no target 'outptu' [(]did you mean output[?]",
        ),
        ("cross_entropy", {"targets": "affinities"}, "not for affinities"),
    ],
)
def test_what_is_wrong_with_a_criterion_is_said(criterion, given, said):
    with pytest.raises(ProblemsError, match=said):
        objective_of(criterion, **given)


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(ProblemsError) as caught:
        objective_of({"output": ["bse", {"criterion": "focal", "kwargs": {"a": 1}}], "x": "mse"}, targets=BOTH)
    assert [problem.where for problem in caught.value.problems] == [
        "criterion.output[0]", "criterion.output[1].kwargs.a", "criterion.x",
    ]  # fmt: skip


def test_what_has_no_effect_is_told(caplog):
    counts = ClassCounts(present=dict.fromkeys(CLASSES, 10), known=dict.fromkeys(CLASSES, 50))
    with caplog.at_level("INFO"):
        objective_of({"output": nn.MSELoss}, counts=counts, targets=BOTH)
    assert "weight_loss has no effect" in caplog.text
    assert "does not use the target distance" in caplog.text


def test_an_objective_names_the_only_output_as_the_criterion_does():
    objective = objective_of({"masks": "bce"})
    logits, target = sample()
    expected = total_of(objective_of(), logits, {"output": target})
    for outputs in (logits, {"masks": logits}):
        torch.testing.assert_close(total_of(objective, outputs, {"output": target}), expected)


def test_the_names_in_the_settings_are_those_that_there_are():
    assert set(CRITERIA) == set(NAMES)
