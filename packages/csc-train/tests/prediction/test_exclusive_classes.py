"""Classes that exclude each other: what a network was trained for is stored with it, and is what is predicted."""

import numpy as np
import pytest
import torch
from torch import nn

from csc_data.errors import InvalidArgumentError
from csc_data.loader import ArrayInfo
from csc_models.checkpoint import CheckpointDescription
from csc_train import TrainSettings, predict_array
from csc_train.description import describe_network
from csc_train.objectives.losses.exclusive import exclusive_probability
from csc_train.prediction.predictor import load_predictor

RAW = np.random.default_rng(0).integers(0, 256, (9, 10, 11)).astype(np.uint8)


class Three(nn.Module):
    def forward(self, x):
        return torch.cat([3 * x, 1 - x, x * x], dim=1)


def experiment(**changes):
    info = ArrayInfo(shape=(6, 6, 6), scale=(8, 8, 8))
    given = {"classes": ("mito", "ld", "er"), "model": Three(), "input_array_info": info, "raw_range": (-1.0, 1.0)}
    return TrainSettings(**{**given, **changes})


@pytest.mark.parametrize(
    ("criterion", "values"),
    [
        ("cross_entropy", "exclusive"),
        ({"output": "cross_entropy"}, "exclusive"),
        ([{"criterion": "dice"}, {"criterion": "cross_entropy", "factor": 2.0}], "exclusive"),
        ("bce_dice", "logit"),
        ([{"criterion": "dice"}, "bce"], "logit"),
        (nn.BCEWithLogitsLoss, "logit"),
    ],
)
def test_a_checkpoint_says_it(criterion, values):
    assert describe_network(experiment(criterion=criterion)).values == values


def test_checkpoints_of_before_give_logits():
    assert CheckpointDescription.from_plain({"classes": ["mito"]}).values == "logit"


@pytest.mark.parametrize("more", [{}, {"tta": "mirror"}, {"classes_to_write": ("er", "mito")}])
def test_the_probability_against_the_other_classes_is_predicted(more):
    predictor = load_predictor(experiment(criterion="cross_entropy"), checkpoint="untrained", device="cpu", **more)
    logits = Three()(torch.from_numpy(RAW[None, None].astype(np.float32) / 255 * 2 - 1))
    expected = exclusive_probability(logits)[0].numpy()
    if "classes_to_write" in more:
        expected = expected[[2, 0]]
    found = predict_array(predictor, RAW)
    assert predictor.settings.stored_dtype == "uint8"
    np.testing.assert_allclose(found / 255, expected, atol=0.51 / 255)
    assert not np.allclose(expected[0], torch.sigmoid(logits)[0, 0].numpy(), atol=0.02)


def test_their_logits_are_not_to_be_had():
    with pytest.raises(InvalidArgumentError, match="exclude each other"):
        load_predictor(experiment(criterion="cross_entropy"), checkpoint="untrained", output="logit")
