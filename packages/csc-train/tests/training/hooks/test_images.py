import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from csc_data.challenge.colours import class_colour
from csc_data.loader import ArrayInfo
from csc_train.objectives.metrics import Measured
from csc_train.training.hooks.images import Images, is_drawn, sample_dice
from csc_train.training.hooks.logbook import Logbook

CLASSES = ("mito", "er")
COLOURS = tuple(class_colour(name) for name in CLASSES)
SHAPE = (4, 8, 8)


@pytest.fixture
def shown(begin, tmp_path):
    """Return a function that validates batches in a run and gives the pictures that are logged, by tag."""

    def validate(batches, *, images=2, target=SHAPE, epochs=1, call="on_validation_batch"):
        logbook = Logbook()
        run = begin(logbook, Images(logbook, images), epochs=epochs)
        run.loaders.inputs = {"input": ArrayInfo(shape=SHAPE, scale=(8, 8, 8))}
        run.loaders.targets = {"output": ArrayInfo(shape=target, scale=(8, 8, 8))}
        # What is drawn has plain names; another output may come before it.
        other = Measured(output="boundary", target="boundary", channels=("x",), prefix="boundary/")
        measured = [other, Measured(output="output", target="output", channels=CLASSES)]
        run.objective = SimpleNamespace(measured=measured, named=lambda outputs: {"output": outputs})
        run.start()
        for _ in range(epochs):
            for batch, outputs in batches:
                for hook in run.hooks:
                    getattr(hook, call)(run, batch, outputs)
            run.epoch()
        run.end()
        logs = EventAccumulator(str(tmp_path / "logs"))
        logs.Reload()
        return {tag: logs.Images(tag) for tag in logs.Tags()["images"]}

    return validate


def sample(*present, shape=SHAPE):
    """Return a batch of one sample with a box of each of some classes in its middle plane."""
    truth = torch.zeros(1, 2, *shape)
    for name in present:
        truth[0, CLASSES.index(name), ..., 2:6, 2:6] = 1
    return {"input": torch.linspace(0, 1, SHAPE[2]).expand(1, 1, *SHAPE), "output": truth}


def picture(event):
    return np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB"))


def has(array, colour):
    return bool((array == colour).all(-1).any())


def panels(array):
    """Return raw, truth and prediction, which stand side by side below title, legend and captions."""
    size = 192
    return [array[-size:, 12 + n * (size + 12) : 12 + n * (size + 12) + size] for n in range(3)]


def test_truth_and_prediction_stand_beside_raw_in_the_colours_of_classes(shown):
    batch = sample("mito")
    found = shown([(batch, -torch.ones(1, 2, *SHAPE))])
    raw, truth, prediction = panels(picture(found["samples/1"][0]))
    mito, er = COLOURS[:2]
    assert [has(panel, mito) for panel in (raw, truth, prediction)] == [False, True, False]
    right = shown([(batch, batch["output"].roll(1, dims=1) - 0.5)])
    raw, truth, prediction = panels(picture(right["samples/1"][-1]))
    assert [has(panel, mito) for panel in (raw, truth, prediction)] == [False, True, False]
    assert [has(panel, er) for panel in (raw, truth, prediction)] == [False, False, True]


def test_without_validation_training_batches_are_drawn(shown):
    batch = sample("mito")
    found = shown([(batch, batch["output"] - 0.5)], images=1, call="on_training_batch")
    assert has(panels(picture(found["samples/1"][0]))[2], COLOURS[0])


def test_what_is_unknown_looks_different(shown):
    batch = sample("mito")
    batch["output"][..., 4:] = torch.nan
    known, unknown = sample("mito"), batch
    pictures = [picture(shown([(b, b["output"])], images=1)["samples/1"][-1]) for b in (known, unknown)]
    before, after = (panels(p)[1][:, 96:] for p in pictures)
    assert (before != after).mean() > 0.5
    assert (panels(pictures[0])[0] == panels(pictures[1])[0]).all()


def test_the_same_samples_are_shown_each_time_those_with_most_classes_and_the_worst(shown):
    good, bad, empty = sample("mito", "er"), sample("mito"), sample()
    batches = [(empty, empty["output"] - 0.5), (bad, 0.5 - bad["output"]), (good, good["output"] - 0.5)]
    found = shown(batches, images=1, epochs=3)
    assert {tag: [event.step for event in events] for tag, events in found.items()} == {
        "samples/1": [4, 8, 12],
        "samples/worst": [4, 8, 12],
    }
    assert has(panels(picture(found["samples/1"][2]))[1], COLOURS[1])  # er is in the one with two classes alone
    assert not has(panels(picture(found["samples/worst"][2]))[1], COLOURS[1])
    one, other = (picture(found["samples/1"][n])[-192:] for n in (0, 2))
    assert (one == other).all()


def test_a_long_run_has_pictures_of_a_hundred_epochs():
    for epochs in (1, 5, 99, 100, 101, 250, 1000):
        drawn = [epoch for epoch in range(1, epochs + 1) if is_drawn(epoch, epochs)]
        assert {1, epochs} <= set(drawn)
        assert min(epochs, 50) <= len(drawn) <= 101


def test_none_are_drawn_if_none_are_asked_for(shown):
    batch = sample("mito")
    assert shown([(batch, batch["output"])], images=0) == {}


@pytest.mark.parametrize("target", [(2, 4, 4), (1, 8, 8)])
def test_targets_that_are_smaller_than_raw_are_framed(shown, target):
    batch = sample("mito", shape=target)
    found = shown([(batch, batch["output"])], target=target)
    _, truth, _ = panels(picture(found["samples/1"][0]))
    assert truth.shape == (192, 192, 3)
    assert has(truth, COLOURS[0]) or target == (2, 4, 4)


def test_flat_patches_are_drawn(shown):
    batch = {name: array[:, :, 0] for name, array in sample("mito").items()}
    assert shown([(batch, batch["output"])], images=1, target=(1, 8, 8))


def test_dice_of_a_sample_is_that_of_the_formula_over_known_voxels():
    found = torch.tensor([[[True, True, False, True]], [[False] * 4]])[..., None]
    present = torch.tensor([[[True, False, True, False]], [[False] * 4]])[..., None]
    known = torch.tensor([[[True, True, True, False]], [[True] * 4]])[..., None]
    first, second = sample_dice(found, present, known).tolist()
    assert first == pytest.approx(2 * 1 / (2 + 2))
    assert np.isnan(second)
