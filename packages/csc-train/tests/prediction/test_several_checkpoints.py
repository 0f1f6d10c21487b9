"""Several networks at test time: ensembles, and averages of their weights, are checkpoints like any other."""

import dataclasses

import numpy as np
import pytest
import torch

from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import FILE_NAME, write_test_crops
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo
from csc_data.volumes import open_volume, write_multiscale
from csc_models import create_model
from csc_models.checkpoint import (
    CheckpointDescription,
    average_checkpoints,
    ensemble_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from csc_train import predict

RAW = Grid(voxel_size=(8, 8, 8), translation=(0.0, 0.0, 0.0), shape=(20, 22, 24))
CLASSES = ("mito", "ld")


@pytest.fixture
def place(tmp_path):
    """A data folder with one test crop in the middle of its raw data."""
    config = Config(data=str(tmp_path / "data"))
    raw = np.random.default_rng(0).integers(0, 256, RAW.shape).astype(np.uint8)
    write_multiscale(config.path("raw", dataset="a"), [raw], [RAW], chunks=(16, 16, 16))
    grid = RAW.window((2, 3, 4), (13, 14, 15))
    crop = TestCrop(
        id=1, dataset="a", voxel_size=grid.voxel_size, translation=grid.translation, shape=grid.shape,
        classes=CLASSES,
    )  # fmt: skip
    write_test_crops(tmp_path / "data" / FILE_NAME, [crop])
    return config


@pytest.fixture
def files(tmp_path):
    patch = ArrayInfo(shape=(16, 16, 16), scale=(8.0, 8.0, 8.0)).to_plain()
    description = CheckpointDescription(
        classes=CLASSES, input_arrays={"raw": patch}, target_arrays={"labels": patch}, raw_range=(0.0, 1.0)
    )
    paths = [tmp_path / f"net_{epoch}.pth" for epoch in range(3)]
    for epoch, path in enumerate(paths):
        torch.manual_seed(epoch)
        model = create_model("3d_unet_s", n_channels=1, n_classes=len(CLASSES), width=2, depth=2)
        torch.nn.init.normal_(model.head.weight)
        save_checkpoint(path, model, description=description)
    return paths


@pytest.fixture
def predicted(place):
    """A function that predicts from a checkpoint alone, and gives the probabilities of each class."""

    def probabilities(checkpoint, **more):
        own = dataclasses.replace(place, predictions=f"{checkpoint.stem}/{{dataset}}.zarr/{{crop}}/{{class_name}}")
        result = predict(checkpoint, config=own, output="probability", output_dtype="float32", device="cpu", **more)
        assert result.classes == CLASSES
        volumes = [open_volume(own.path("predictions", dataset="a", crop="crop1", class_name=name)) for name in CLASSES]
        return np.stack([volume.levels[0].array[...] for volume in volumes])

    return probabilities


def test_an_ensemble_predicts_the_mean_of_the_probabilities(files, predicted, tmp_path):
    out = tmp_path / "ensemble.pth"
    ensemble_checkpoints(files, out, weights=[1, 1, 2])
    each = [predicted(path) for path in files]
    expected = 0.25 * each[0] + 0.25 * each[1] + 0.5 * each[2]
    assert np.ptp(np.stack(each), axis=0).max() > 0.05  # they do differ
    np.testing.assert_allclose(predicted(out), expected, atol=1e-6)


def test_checkpoints_are_averaged_as_they_predict(files, predicted):
    each = np.stack([predicted(path) for path in files])
    assert np.ptp(each, axis=0).max() > 0.05
    np.testing.assert_allclose(predicted(files[0], checkpoints=files, existing="overwrite"), each.mean(0), atol=1e-6)


def test_checkpoints_of_another_task_are_not_averaged(files, predicted, tmp_path):
    loaded = load_checkpoint(files[0])
    other = dataclasses.replace(loaded.description, classes=("ld", "mito"))
    save_checkpoint(tmp_path / "other.pth", loaded.model, description=other)
    with pytest.raises(InvalidArgumentError, match="cannot be averaged: classes is"):
        predicted(files[0], checkpoints=[files[0], tmp_path / "other.pth"])


def test_averaged_weights_predict_as_a_network_with_these_weights(files, predicted, tmp_path):
    out, by_hand = tmp_path / "mean.pth", tmp_path / "by_hand.pth"
    average_checkpoints(files, out)
    loaded = [load_checkpoint(path) for path in files]
    states = [entry.model.state_dict() for entry in loaded]
    model = loaded[0].model
    model.load_state_dict({key: sum(state[key].double() for state in states) / len(states) for key in states[0]})
    save_checkpoint(by_hand, model, description=loaded[0].description)
    np.testing.assert_allclose(predicted(out), predicted(by_hand), atol=1e-6)


def test_a_safetensors_file_predicts_as_the_pth_file_does(files, predicted, tmp_path):
    pytest.importorskip("safetensors")
    loaded = load_checkpoint(files[0])
    save_checkpoint(tmp_path / "same.safetensors", loaded.model, description=loaded.description)
    np.testing.assert_array_equal(predicted(tmp_path / "same.safetensors"), predicted(files[0]))
