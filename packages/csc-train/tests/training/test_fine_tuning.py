"""Weights of other runs and toolboxes are begun with: other classes, frozen parts, step sizes of parts."""

from __future__ import annotations

import logging

import pytest
import torch

from csc_data.errors import ExistingOutputError
from csc_models import CheckpointMismatchError, create_model
from csc_models.checkpoint import load_checkpoint, save_checkpoint
from csc_models.checkpoint.contents import CheckpointDescription
from csc_train import train
from csc_train.network import build_network
from csc_train.settings import TrainSettings
from csc_train.starting_weights import StartingWeights, begin_with_weights

NAME, ARGUMENTS = "3d_unet", {"width": 2}


@pytest.fixture
def experiment(data_folder, tmp_path):
    """Return a function that writes an experiment file of a run whose step sizes are too small to see."""

    def write(**more):
        names = {
            "classes": ["ld", "mito"],
            "model_name": NAME,
            "model_kwargs": ARGUMENTS,
            "input_array_info": {"shape": (16, 16, 16), "scale": (8, 8, 8)},
            "epochs": 1,
            "iterations_per_epoch": 1,
            "validation_batch_limit": 1,
            "learning_rate": 1e-30,
            "device": "cpu",
            "datasplit_path": str(data_folder.config.path("datasplit")),
            "base_experiment_path": str(tmp_path / "run"),
            "images": 0,
            **more,
        }
        file = tmp_path / "experiment.py"
        file.write_text("\n".join(f"{name} = {value!r}" for name, value in names.items()))
        return file

    return write


@pytest.fixture
def source(tmp_path):
    """Return a function that saves weights: ours with their classes, bare ones of the official toolbox, or others."""

    def save(classes, kind="ours"):
        torch.manual_seed(5)
        network = create_model(NAME, n_channels=1, n_classes=len(classes), **ARGUMENTS)
        path = tmp_path / f"source.{'safetensors' if kind == 'safetensors' else 'pth'}"
        if kind == "official":
            torch.save(network.state_dict(), path)
        else:
            save_checkpoint(path, network, description=CheckpointDescription(classes=tuple(classes)))
        return path, network.state_dict()

    return save


def head(state):
    return {key: value for key, value in state.items() if key.startswith("outc.")}


def of_body(state):
    return {key: v for key, v in state.items() if not key.startswith("outc.") and "num_batches" not in key}


def without_statistics(state):
    return {key: value for key, value in state.items() if "running" not in key}


@pytest.mark.parametrize("kind", ["ours", "safetensors"])
def test_channels_of_the_classes_that_both_have_are_taken_over(experiment, source, caplog, kind):
    path, state = source(["mito", "er", "nuc"], kind)
    with caplog.at_level(logging.WARNING):
        result = train(experiment(load_model=str(path)))
    assert f"beginning with the weights of {path}, with a new head for ld; that of mito is taken over" in caplog.text
    found = load_checkpoint(result.latest_checkpoint).model.state_dict()
    for key, value in without_statistics(of_body(state)).items():
        torch.testing.assert_close(found[key], value)
    for key, value in head(state).items():
        assert found[key].shape[0] == 2
        torch.testing.assert_close(found[key][1], value[0])  # mito is the second here
        assert not torch.allclose(found[key][0], value[1])


def test_a_run_that_began_with_a_file_goes_on(experiment, source):
    path, _ = source(["mito", "ld"])
    first = train(experiment(load_model=str(path)))
    again = train(experiment(load_model=str(path), epochs=2))
    assert (first.resumed_from, [record.epoch for record in again.records]) == (None, [2])


@pytest.mark.parametrize("began", ["with another file", "with nothing"])
def test_checkpoints_that_began_otherwise_are_not_overwritten(experiment, source, began):
    path, _ = source(["mito", "ld"])
    other = path.rename(path.with_name("another.pth"))
    made = train(experiment(**({"load_model": str(other)} if began == "with another file" else {})))
    source(["mito", "ld"])
    before = {file: file.read_bytes() for file in made.latest_checkpoint.parent.iterdir()}
    with pytest.raises(ExistingOutputError, match=rf"did not begin with {path}: choose another model_name.*auto"):
        train(experiment(load_model=str(path)))
    assert {file: file.read_bytes() for file in made.latest_checkpoint.parent.iterdir()} == before


def test_the_same_classes_in_another_order_are_put_in_ours(experiment, source, caplog):
    path, state = source(["mito", "ld"])
    with caplog.at_level(logging.WARNING):
        found = load_checkpoint(train(experiment(load_model=str(path))).latest_checkpoint).model.state_dict()
    assert "its head in another order" in caplog.text
    for key, value in head(state).items():
        torch.testing.assert_close(found[key], value.flip(0))


def test_a_network_of_classes_alone_goes_on_with_affinities_beside_them(experiment, source, caplog):
    path, state = source(["mito", "ld"])
    targets = {"near": {"kind": "affinities", "offsets": [[0, 0, -1]]}, "output": "binary"}
    with caplog.at_level(logging.WARNING):
        result = train(experiment(load_model=str(path), targets=targets))
    new = "mito_affinity_0_0_-1"
    assert f"with a new head for ld_affinity_0_0_-1, {new}; that of ld, mito is taken over" in caplog.text
    trained = load_checkpoint(result.latest_checkpoint)
    assert trained.description.channels == ("ld_affinity_0_0_-1", new, "ld", "mito")
    found = trained.model.state_dict()
    for key, value in head(state).items():
        torch.testing.assert_close(found[key][2:], value.flip(0))


def test_bare_weights_of_the_official_toolbox(experiment, source, caplog):
    path, state = source(["x", "y"], "official")
    with caplog.at_level(logging.WARNING):
        result = train(experiment(load_model=str(path)))
    assert f"beginning with the weights of {path}\n" in caplog.text  # its classes are not known: as many are the same
    assert "was trained with raw in (0.0, 255.0), and this run has raw_range (0.0, 1.0)" in caplog.text
    found = load_checkpoint(result.latest_checkpoint).model.state_dict()
    for key, value in head(state).items():
        torch.testing.assert_close(found[key], value)
    other, _ = source(["x", "y", "z"], "official")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        train(experiment(load_model=str(other), model_name="other", architecture=NAME, raw_range=(0, 255)))
    assert "with a new head for ld, mito" in caplog.text
    assert "was trained with raw" not in caplog.text


def test_frozen_parts_and_step_sizes_of_parts(experiment, source):
    path, state = source(["mito", "ld"])
    chosen = {"frozen": ["inc.", "down1."], "learning_rates": {"outc.": 1e-2}, "optimizer": "sgd"}
    found = load_checkpoint(train(experiment(load_model=str(path), **chosen)).latest_checkpoint).model.state_dict()
    for key, value in state.items():
        if key.startswith(("inc.", "down1.")):
            assert torch.equal(found[key], value), key  # with their running statistics
    assert not torch.allclose(found["outc.conv.weight"], state["outc.conv.weight"].flip(0))
    assert torch.allclose(found["up4.conv.double_conv.0.weight"], state["up4.conv.double_conv.0.weight"])


def test_weights_of_another_network_are_refused(experiment, tmp_path):
    path = tmp_path / "other.pth"
    save_checkpoint(path, create_model(NAME, n_channels=1, n_classes=2, width=4))
    with pytest.raises(CheckpointMismatchError, match=r"other\.pth"):
        train(experiment(load_model=str(path)))


def test_a_network_of_ones_own_may_have_another_head():
    def network(classes):
        torch.manual_seed(classes)
        return torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3), torch.nn.Conv3d(4, classes, 1))

    settings = TrainSettings(classes=("er", "mito"), model=network(2))
    own, other = build_network(settings), network(3).state_dict()
    words = begin_with_weights(own, StartingWeights(source="x", state=other, channels=("mito", "ld", "er")), settings)
    assert words == "its head in another order"
    assert torch.equal(own[1].weight, other["1.weight"][[2, 0]])
    assert torch.equal(own[0].weight, other["0.weight"])
