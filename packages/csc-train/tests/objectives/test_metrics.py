import math

import pytest
import torch
from torch.nn import MSELoss

from csc_data.errors import InvalidArgumentError
from csc_data.loader.targets import parse_targets
from csc_train.objectives.objective import build_objective
from csc_train.settings import TrainSettings

CLASSES = ["mito", "er", "nuc", "ld"]


def metrics_of(classes=CLASSES, targets=None, criterion="bce"):
    kinds = None if targets is None else parse_targets(targets)
    return build_objective(TrainSettings(classes=classes, criterion=criterion), None, kinds).metrics()


def sample(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 4, 5, 5, 5, generator=generator)
    target = (torch.rand(6, 4, 5, 5, 5, generator=generator) > 0.5).float()
    target[torch.rand(target.shape, generator=generator) < 0.3] = torch.nan
    target[:, 2] = torch.nan  # never known
    target[:, 3], logits[:, 3] = 0, -1  # known to be absent, and not found
    return logits, target


def overlap(found, truth):
    """Return IoU and Dice of the known voxels."""
    both, either = (truth & found).sum(), (truth | found).sum()
    return float(both / either), float(2 * both / (truth.sum() + found.sum()))


def test_scores_are_those_of_all_batches_together_over_known_voxels():
    logits, target = sample()
    metrics = metrics_of()
    for start in range(0, 6, 2):
        metrics.add(logits[start : start + 2], {"output": target[start : start + 2]})
    scores = metrics.scores()
    expected = {}
    for channel, name in ((0, "mito"), (1, "er")):
        known = ~target[:, channel].isnan()
        iou, dice = overlap(torch.sigmoid(logits[:, channel][known]) > 0.5, target[:, channel][known] == 1)
        expected |= {f"iou/{name}": iou, f"dice/{name}": dice}
    expected["iou"] = (expected["iou/mito"] + expected["iou/er"]) / 2
    expected["dice"] = (expected["dice/mito"] + expected["dice/er"]) / 2
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    rest = scores.keys() - expected.keys()
    assert rest == {"iou/nuc", "dice/nuc", "iou/ld", "dice/ld"}
    assert all(math.isnan(scores[name]) for name in rest)


def test_a_class_that_is_found_where_it_is_not_counts_as_zero():
    metrics = metrics_of(["mito"])
    metrics.add(torch.ones(1, 1, 2, 2), {"output": torch.zeros(1, 1, 2, 2)})
    assert metrics.scores()["iou"] == metrics.scores()["dice/mito"] == 0


def test_states_of_several_processes_add_up():
    logits, target = sample()
    whole, first, second, joined = (metrics_of() for _ in range(4))
    whole.add(logits, {"output": target})
    first.add(logits[:2], {"output": target[:2]})
    second.add(logits[2:], {"output": target[2:]})
    state = first.state() + second.state()
    assert (state.dtype, state.ndim) == (torch.float64, 1)
    joined.load(state)
    assert joined.scores() == pytest.approx(whole.scores(), nan_ok=True)
    with pytest.raises(InvalidArgumentError, match="sums"):
        joined.load(state[1:])


def test_without_batches_no_score_is_defined():
    assert all(math.isnan(score) for score in metrics_of().scores().values())


def test_distances_have_an_error_and_the_overlap_of_what_is_inside():
    metrics = metrics_of(["mito"], "signed_distance", "mse")
    output = torch.tensor([0.5, -0.5, 0.25, 9.0]).view(1, 1, 1, 2, 2)
    target = torch.tensor([1.0, 0.5, -0.25, math.nan]).view(1, 1, 1, 2, 2)
    metrics.add(output, {"output": target})
    scores = metrics.scores()
    assert scores["mae"] == scores["mae/mito_distance"] == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert (scores["iou"], scores["dice/mito_distance"]) == pytest.approx((1 / 3, 1 / 2))


def test_each_output_has_scores_and_those_of_classes_have_plain_names():
    metrics = metrics_of(["mito"], {"distance": "signed_distance", "output": "binary", "edges": "boundaries"}, MSELoss)
    right, wrong = torch.ones(1, 1, 2, 2, 2), -torch.ones(1, 1, 2, 2, 2)
    metrics.add(
        {"distance": right, "output": right, "edges": wrong}, dict.fromkeys(("distance", "output", "edges"), right)
    )
    assert metrics.scores() == {
        "distance/iou": 1, "distance/iou/mito_distance": 1, "distance/dice": 1, "distance/dice/mito_distance": 1,
        "distance/mae": 0, "distance/mae/mito_distance": 0,
        "iou": 1, "iou/mito": 1, "dice": 1, "dice/mito": 1,
        "edges/iou": 0, "edges/iou/mito_boundary": 0, "edges/dice": 0, "edges/dice/mito_boundary": 0,
    }  # fmt: skip


def test_of_classes_that_exclude_each_other_at_most_one_is_found():
    """A logit above 0 only says that a class is likelier than none."""
    metrics = metrics_of(["mito", "er"], criterion="cross_entropy")
    logits = torch.tensor([[5.0, 1.0], [1.0, 5.0], [-1.0, -1.0]]).T.view(1, 2, 1, 3)
    metrics.add(logits, {"output": torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).T.view(1, 2, 1, 3)})
    assert (metrics.scores()["iou/mito"], metrics.scores()["iou/er"]) == (1, 1)


def test_the_largest_of_several_outputs_is_measured():
    metrics = metrics_of(["mito"])
    metrics.add([torch.ones(1, 1, 4, 4), -torch.ones(1, 1, 2, 2)], {"output": torch.ones(1, 1, 4, 4)})
    assert metrics.scores()["iou"] == 1


def test_the_centre_of_a_larger_output_is_measured():
    metrics = metrics_of(["mito"])
    output = torch.full((1, 1, 4, 4), -1.0)
    output[..., 1:3, 1:3] = 1
    metrics.add(output, {"output": torch.ones(1, 1, 2, 2)})
    assert metrics.scores()["iou"] == 1
