"""What the numbers of a network mean: prediction takes them for what validation took them for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from csc_data.errors import InvalidArgumentError
from csc_data.loader.targets import parse_targets
from csc_models import create_model
from csc_models.checkpoint import CheckpointDescription, save_checkpoint
from csc_models.errors import CheckpointError
from csc_train import TrainSettings, predict, predict_array
from csc_train.description import describe_network
from csc_train.objectives.objective import build_objective
from csc_train.prediction.predictor import load_predictor

RAW = np.random.default_rng(0).integers(0, 256, (9, 10, 11)).astype(np.uint8)
INFO = {"shape": (6, 6, 6), "scale": (8, 8, 8)}
HOT = {"output": "binary", "far": "signed_distance"}
CLASSES, FAR = ("mito", "ld"), ("mito_distance", "ld_distance")
NEXT = {"kind": "affinities", "offsets": [[0, 0, -1]]}


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
        (None, "bce", "logit", None),
        ("signed_distance", "mse", "distance", None),
        ({"output": "signed_distance"}, {"output": "mse"}, "distance", None),
        (HOT, "hot_distance", "logit", {"output": CLASSES, "far": FAR}),
        (HOT, {"far": "mse", "output": "bce"}, "logit", {"far": FAR, "output": CLASSES}),
        ({"far": "signed_distance"}, {"far": "mse"}, "distance", None),
        ({"near": NEXT}, {"near": "bce"}, "logit", {"near": ("mito_affinity_0_0_-1", "ld_affinity_0_0_-1")}),
        (
            {"output": "binary", "edges": {"kind": "boundaries", "width_nm": 8}, "rough": "binary"},
            "dice",
            "logit",
            {"output": CLASSES, "edges": ("mito_boundary", "ld_boundary"), "rough": ("mito_of_rough", "ld_of_rough")},
        ),
    ],
)
def test_a_checkpoint_says_what_the_output_is(targets, criterion, values, channels):
    said = describe_network(experiment(1, 1, targets=targets, criterion=criterion))
    assert said.values == values
    assert {each.name: each.channels for each in said.outputs} == (channels or {})
    assert CheckpointDescription.from_plain(said.to_plain()).outputs == said.outputs


def test_checkpoints_of_before_say_nothing_of_outputs():
    said = CheckpointDescription.from_plain({"classes": ["mito"]})
    assert (said.values, said.outputs, said.channels) == ("logit", (), ("mito",))


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


def test_channels_that_are_nobodys_are_refused_before_anything_is_computed(world, tmp_path, monkeypatch):
    def computes(*_):
        raise AssertionError

    file = tmp_path / "old.pth"
    network = create_model("3d_unet_s", n_channels=1, n_classes=6, width=2, depth=2)
    said = CheckpointDescription(
        classes=("mito", "ld"),
        input_arrays={"raw": {"shape": [16, 16, 16], "scale": [8, 8, 8]}},
        raw_range=(0.0, 1.0),
    )
    with pytest.MonkeyPatch.context() as before:  # in files of before it was not looked at
        before.setattr("csc_models.checkpoint.saving.check_channels", lambda *_: None)
        save_checkpoint(file, network, description=said)
    monkeypatch.setattr(nn.Module, "__call__", computes)
    with pytest.raises(CheckpointError, match=r"gives 6 channels, and 2 are named \(mito, ld\)"):
        predict(file, ["2"], config=world.config)
    # A network that is not of the catalogue does not say how many it gives.
    save_checkpoint(file, create_model("3d_unet_s", n_channels=1, n_classes=2, width=2, depth=2), description=said)
    nobodys = replace(load_predictor(file), channels=6, outputs=())
    monkeypatch.setattr("csc_train.prediction.session.load_predictor", lambda *_, **__: nobodys)
    with pytest.raises(InvalidArgumentError, match="gives 6 channels for 2 classes"):
        predict(file, ["2"], config=world.config)
