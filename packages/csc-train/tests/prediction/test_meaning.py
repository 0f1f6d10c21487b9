"""What the numbers of a network mean: prediction takes them for what validation took them for."""

import numpy as np
import pytest
import torch
from torch import nn

from csc_data.errors import InvalidArgumentError
from csc_data.loader.targets import parse_targets
from csc_models import create_model
from csc_models.checkpoint import CheckpointDescription, save_checkpoint
from csc_train import TrainSettings, predict, predict_array
from csc_train.description import describe_network
from csc_train.objectives.objective import build_objective
from csc_train.prediction.predictor import load_predictor

RAW = np.random.default_rng(0).integers(0, 256, (9, 10, 11)).astype(np.uint8)
INFO = {"shape": (6, 6, 6), "scale": (8, 8, 8)}
HOT = {"output": "binary", "far": "signed_distance"}


class Weighted(nn.Module):
    """Gives its input (-1 to 1) times a factor in each channel."""

    def __init__(self, *factors):
        super().__init__()
        self.factors = factors

    def forward(self, x):
        return torch.cat([factor * x for factor in self.factors], dim=1)


def experiment(*factors, **changes):
    given = {"classes": ("mito", "ld"), "model": Weighted(*factors), "input_array_info": INFO, "raw_range": (-1.0, 1.0)}
    return TrainSettings(**{**given, **changes})


@pytest.mark.parametrize(
    ("targets", "criterion", "values", "channels"),
    [
        (None, "bce", "logit", (2, 0)),
        ("signed_distance", "mse", "distance", (2, 0)),
        ({"output": "signed_distance"}, {"output": "mse"}, "distance", (2, 0)),
        (HOT, "hot_distance", "logit", (4, 0)),
        (HOT, {"far": "mse", "output": "bce"}, "logit", (4, 2)),
        ({"far": "signed_distance"}, {"far": "mse"}, "distance", (2, 0)),
        ("affinities", "bce", "logit", (6, None)),
    ],
)
def test_a_checkpoint_says_what_the_output_is(targets, criterion, values, channels):
    said = describe_network(experiment(1, 1, targets=targets, criterion=criterion))
    assert said.values == values
    assert (said.channels, said.first_channel) == channels


def test_checkpoints_of_before_say_nothing_of_channels():
    said = CheckpointDescription.from_plain({"classes": ["mito"]})
    assert (said.values, said.channels, said.first_channel) == ("logit", None, None)


@pytest.mark.parametrize(
    ("factors", "targets", "criterion"),
    [
        ((1, -0.5), None, "bce"),
        ((1, -0.5), "signed_distance", "mse"),
        ((1, -0.5, 0.2, 0.3), HOT, "hot_distance"),
        ((0.2, 0.3, 1, -0.5), HOT, {"far": "mse", "output": "bce"}),
    ],
)
def test_what_validation_finds_is_what_is_predicted(factors, targets, criterion):
    """The same voxels, and the same probability of each."""
    settings = experiment(*factors, targets=targets, criterion=criterion)
    predictor = load_predictor(settings, checkpoint="untrained", device="cpu", classes_to_write=("mito", "ld"))
    found = predict_array(predictor, RAW) / 255
    objective = build_objective(settings, targets=parse_targets(targets))
    output = Weighted(*factors)(torch.from_numpy(RAW[None, None] / np.float32(127.5) - 1))
    main = next(each for each in objective.measured if not each.prefix)
    named = objective.named(output)[main.output]
    np.testing.assert_allclose(found, main.probability(named)[0].numpy(), atol=0.51 / 255)
    clear = np.abs(named[0].numpy()) > 0.03
    np.testing.assert_array_equal((found > 0.5)[clear], main.found(named)[0].numpy()[clear])


def test_the_classes_of_an_output_of_several_targets_are_written(world):
    settings = experiment(0.2, 0.3, 1, -0.5, targets=HOT, criterion={"far": "mse", "output": "bce"})
    predict(settings, ["2"], config=world.config, checkpoint="untrained", device="cpu")
    raw = world.part((0, 0, 0), (9, 9, 9)) / 127.5 - 1
    for name, factor in (("mito", 1), ("ld", -0.5)):
        expected = 255 / (1 + np.exp(-factor * raw))
        np.testing.assert_allclose(world.read("crop2", name).levels[0].array[...], expected, atol=0.51)


@pytest.mark.parametrize("by_itself", [True, False])
def test_channels_that_are_nobodys_are_refused_before_anything_is_computed(world, tmp_path, monkeypatch, by_itself):
    def computes(*_):
        raise AssertionError

    file = tmp_path / "old.pth"
    network = create_model("3d_unet_s", n_channels=1, n_classes=6, width=2, depth=2)
    said = CheckpointDescription(
        classes=("mito", "ld"),
        input_arrays={"raw": {"shape": [16, 16, 16], "scale": [8, 8, 8]}},
        raw_range=(0.0, 1.0),
    )
    save_checkpoint(file, network, description=said)
    settings = experiment(*range(6), targets="affinities", criterion="bce")
    monkeypatch.setattr(nn.Module, "__call__", computes)
    source, options = (file, {}) if by_itself else (settings, {"checkpoint": "untrained"})
    with pytest.raises(InvalidArgumentError, match="gives 6 channels for 2 classes"):
        predict(source, ["2"], config=world.config, **options)
