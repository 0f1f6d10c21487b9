"""What a network gives beside classes: each channel is an array with a name, and its own meaning."""

import numpy as np
import pytest
import torch
from torch import nn

from csc_data.errors import InvalidArgumentError
from csc_data.volumes import open_volume
from csc_data.volumes.stored_values import StoredValues
from csc_train import TrainSettings, plan_prediction, predict, predict_array
from csc_train.prediction import IncompletePredictionError, LiveNetwork
from csc_train.prediction.predictor import load_predictor

FACTORS = {"mito": 1.0, "ld": -0.5, "mito_distance": 0.2, "ld_distance": -0.3}
LINKS = tuple(f"{name}_affinity_{offset}" for name in ("mito", "ld") for offset in ("-1_0_0", "0_2_0"))
FACTORS |= {name: 0.1 * number for number, name in enumerate(LINKS, start=1)}
TARGETS = {
    "output": "binary",
    "far": "signed_distance",
    "links": {"kind": "affinities", "offsets": [[-1, 0, 0], [0, 2, 0]]},
}
CPU = {"checkpoint": "untrained", "device": "cpu"}


class Outputs(nn.Module):
    """Gives its input (-1 to 1) times the factor of each channel: as one array, a mapping, or a list of outputs."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        channels = [factor * x for factor in FACTORS.values()]
        parts = [torch.cat(channels[begin:end], 1) for begin, end in ((0, 2), (2, 4), (4, 8))]
        if self.form == "array":
            return torch.cat(parts, 1)
        return dict(zip(TARGETS, parts, strict=True)) if self.form == "mapping" else parts


def experiment(form="array", criterion=None):
    return TrainSettings(
        classes=("mito", "ld"),
        model=Outputs(form),
        input_array_info={"shape": (6, 6, 6), "scale": (8, 8, 8)},
        raw_range=(-1.0, 1.0),
        targets=TARGETS,
        criterion=criterion or {"output": "bce", "far": "mse", "links": "bce"},
    )


def expected(raw, name, output="probability"):
    given = FACTORS[name] * (raw / 127.5 - 1)
    if output != "probability":
        return given
    return (given + 1) / 2 if name.endswith("_distance") else 1 / (1 + np.exp(-given))


@pytest.mark.parametrize("form", ["array", "mapping", "list"])
def test_every_channel_is_an_array_by_its_name(world, form):
    predict(experiment(form), ["2"], config=world.config, all_classes=True, **CPU)
    assert world.written("crop2") == sorted(FACTORS)
    raw = world.part((0, 0, 0), (9, 9, 9))
    for name in FACTORS:
        volume = world.read("crop2", name)
        assert StoredValues.from_attributes(volume.attributes) == StoredValues(kind="probability", one=255)
        np.testing.assert_allclose(volume.levels[0].array[...], 255 * expected(raw, name), atol=0.51)


def test_a_viewer_is_shown_each_of_them(world):
    """By name, with its own meaning, in the order in which they are computed."""
    network = LiveNetwork(experiment(), **CPU)
    assert set(network.arrays) == set(FACTORS)
    assert network.meanings["mito_distance"] == StoredValues(kind="probability", one=255)
    live = network.on(open_volume(world.config.path("raw", dataset="a")), ["ld_distance", LINKS[1], "mito"])
    assert live.names == ("mito", "ld_distance", LINKS[1])
    for values, name in zip(live.compute((0, 0, 0)), live.names, strict=True):
        np.testing.assert_allclose(values, 255 * expected(world.part((0, 0, 0), values.shape), name), atol=0.51)
    turned = LiveNetwork(experiment(), tta="mirror", **CPU)  # which mixes the directions of affinities
    assert set(turned.arrays) == set(FACTORS) - set(LINKS)
    with pytest.raises(InvalidArgumentError, match="leave tta out"):
        turned.on(open_volume(world.config.path("raw", dataset="a")), [LINKS[0]])


def test_a_scored_class_brings_its_affinities_and_they_can_be_added(world):
    predict(experiment(), ["2"], config=world.config, classes_to_write=["mito"], **CPU)
    assert world.written("crop2") == ["mito"]
    plan = plan_prediction(experiment(), ["2"], config=world.config, **CPU)
    assert set(plan.works[0].estimate.classes) == {"mito", "ld", *LINKS}
    assert plan.estimate.bytes == 5 * 9**3  # what is done takes nothing more
    assert any("6 arrays beside them" in line for line in plan.lines)
    predict(experiment(), ["2"], config=world.config, **CPU)
    assert world.written("crop2") == sorted(["mito", "ld", *LINKS])
    raw = world.part((0, 0, 0), (9, 9, 9))
    for name in ("ld", LINKS[1]):
        np.testing.assert_allclose(world.read("crop2", name).levels[0].array[...], 255 * expected(raw, name), atol=0.51)


def test_what_the_network_gives_is_stored_as_what_it_is(world):
    predict(experiment(), ["2"], config=world.config, all_classes=True, output="logit", scales=2, **CPU)
    raw = world.part((0, 0, 0), (9, 9, 9))
    for name in FACTORS:
        volume = world.read("crop2", name)
        kind = "distance" if name.endswith("_distance") else "logit"
        assert StoredValues.from_attributes(volume.attributes) == StoredValues(kind=kind)
        np.testing.assert_allclose(volume.levels[0].array[...], expected(raw, name, "logit"), atol=2e-3)
        assert volume.levels[1].grid.shape == (5, 5, 5)


def test_a_run_goes_on_only_where_channels_mean_the_same(world):
    made = predict(experiment(), ["2"], config=world.config, **CPU)
    assert predict(experiment(), ["2"], config=world.config, **CPU).crops[0].resumed_blocks == made.crops[0].blocks
    other = experiment(criterion={"far": "mse", "output": "bce", "links": "bce"})  # and so another order of channels
    with pytest.raises(IncompletePredictionError, match=r"made otherwise .*outputs"):
        predict(other, ["2"], config=world.config, **CPU)


def test_arrays_get_what_they_ask_for_in_that_order():
    raw = np.random.default_rng(0).integers(0, 256, (7, 8, 9)).astype(np.uint8)
    every = predict_array(load_predictor(experiment(), output_dtype="float32", **CPU), raw)
    for name, found in zip(FACTORS, every, strict=True):
        np.testing.assert_allclose(found, expected(raw.astype("f4"), name), atol=1e-5)
    names = (LINKS[1], "ld_distance", "mito", LINKS[0])
    some = predict_array(load_predictor(experiment(), output_dtype="float32", classes_to_write=names, **CPU), raw)
    np.testing.assert_allclose(some, every[[list(FACTORS).index(name) for name in names]], atol=1e-6)
    for options, words in [({"tta": "mirror"}, "turned patches mix"), ({"classes_to_write": ["nuc"]}, "no class nuc")]:
        with pytest.raises(InvalidArgumentError, match=words):
            predict_array(load_predictor(experiment(), **options, **CPU), raw)
    masks = predict_array(load_predictor(experiment(), output="mask", classes_to_write=["mito"], **CPU), raw)
    np.testing.assert_array_equal(masks[0], every[0] > 0.5)
