"""Pretraining on raw alone: it learns, goes on bit by bit, and training begins with what it gave."""

from __future__ import annotations

import logging
import signal

import numpy as np
import pytest
import torch

from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, MissingDataError, ProblemsError
from csc_data.volumes import write_multiscale
from csc_models import CheckpointMismatchError, create_model, model_card
from csc_models.checkpoint import load_checkpoint, save_checkpoint
from csc_train import pretrain, rehearse_pretraining, train
from csc_train.checkpoints import read_training_state
from csc_train.training.pretraining.batches import find_volumes

NETWORK = {"width": 2, "depth": 2}


@pytest.fixture
def raw_alone(data_folder, tmp_path):
    """A data folder in which nothing is annotated."""
    config = Config(data=str(tmp_path / "raw alone"))
    path = config.path("raw", dataset="jrc_test-1")
    write_multiscale(path, [data_folder.raw], [data_folder.grid], chunks=(32, 32, 32))
    return config


@pytest.fixture
def experiment(tmp_path):
    """Return a function that writes an experiment file of a run of a second."""

    def write(name="experiment", **more):
        names = {
            "classes": ["ld", "mito"],
            "model_name": "small",
            "architecture": "3d_unet_s",
            "model_kwargs": NETWORK,
            "input_array_info": {"shape": (16, 16, 16), "scale": (8, 8, 8)},
            "epochs": 4,
            "iterations_per_epoch": 3,
            "batch_size": 2,
            "learning_rate": 1e-2,
            "optimizer": "adamw",
            "device": "cpu",
            "images": 0,
            "mask_size": 32,
            "base_experiment_path": str(tmp_path / name),
            **more,
        }
        file = tmp_path / f"{name}.py"
        file.write_text("\n".join(f"{name} = {value!r}" for name, value in names.items()))
        return file

    return write


def quiet(_):
    pass


def state_of(result):
    return load_checkpoint(result.latest_checkpoint).model.state_dict()


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def test_it_learns_from_raw_alone_what_is_masked(experiment, raw_alone):
    table = {"epochs": 6, "iterations_per_epoch": 12, "learning_rate": 3e-2}
    result = pretrain(experiment(pretraining=table), config=raw_alone, progress=quiet)
    losses = [record.loss for record in result.records]
    assert len(losses) == 6
    assert losses[-1] < 0.8 * losses[0]  # balls of two grey values in noise
    loaded = load_checkpoint(result.latest_checkpoint)
    assert result.latest_checkpoint.name == "small_pretraining_6.pth"
    assert loaded.description.channels == ("raw",)
    assert loaded.model(torch.rand(1, 1, 16, 16, 16)).shape == (1, 1, 16, 16, 16)


def test_two_and_two_epochs_are_four_bit_for_bit(experiment, raw_alone):
    whole = pretrain(experiment("whole"), config=raw_alone, progress=quiet)
    parts = experiment("parts")
    pretrain(parts, config=raw_alone, progress=quiet, epochs=2)
    torch.rand(7)
    second = pretrain(parts, config=raw_alone, progress=quiet)
    assert [record.epoch for record in second.records] == [3, 4]
    assert_equal(state_of(second), state_of(whole))


def test_a_signal_in_an_epoch_saves_and_the_run_goes_on_bit_for_bit(experiment, raw_alone):
    whole = pretrain(experiment("whole"), config=raw_alone, progress=quiet)

    def end(event):
        if (event.stage, event.epoch, event.iteration) == ("train", 2, 2):
            signal.raise_signal(signal.SIGTERM)

    parts = experiment("parts")
    first = pretrain(parts, config=raw_alone, progress=end)
    assert first.stopped == "signal SIGTERM"
    second = pretrain(parts, config=raw_alone, progress=quiet)
    assert [record.epoch for record in second.records] == [2, 3, 4]
    assert_equal(state_of(second), state_of(whole))


class Killed(Exception):
    """Stands for what ends a process without a word: nothing is saved after it."""


def test_a_killed_run_goes_on_from_its_last_epoch_bit_for_bit(experiment, raw_alone):
    whole = pretrain(experiment("whole"), config=raw_alone, progress=quiet)

    def kill(event):
        if (event.stage, event.epoch, event.iteration) == ("train", 3, 2):
            raise Killed

    parts = experiment("parts")
    with pytest.raises(Killed):
        pretrain(parts, config=raw_alone, progress=kill)
    second = pretrain(parts, config=raw_alone, progress=quiet)
    assert [record.epoch for record in second.records] == [3, 4]
    assert_equal(state_of(second), state_of(whole))


def test_the_number_of_workers_does_not_matter(experiment, raw_alone):
    table = {"epochs": 1}
    alone = pretrain(experiment("alone", pretraining=table), config=raw_alone, progress=quiet)
    helped = pretrain(experiment("helped", pretraining=table), config=raw_alone, progress=quiet, num_workers=1)
    assert_equal(state_of(alone), state_of(helped))


@pytest.mark.parametrize(
    ("architecture", "arguments", "array"),
    [
        ("2d_unet_s", NETWORK, {"shape": (1, 32, 32), "scale": (8, 8, 8)}),
        ("3d_mednext", {"width": 2, "deep_supervision": True}, {"shape": (18, 18, 18), "scale": (8, 8, 8)}),
        ("cosem_setup28", {"features": (2, 3), "factors": (2,)}, None),
    ],
)
def test_networks_of_two_axes_deep_supervision_and_other_voxels(experiment, raw_alone, architecture, arguments, array):
    if array is None:  # valid convolutions: the output has other voxels than the input
        size = model_card(architecture, n_channels=1, n_classes=1, **arguments).sizes.fit(24)
        array = {"shape": (size,) * 3, "scale": (8, 8, 8)}
    file = experiment(architecture=architecture, model_kwargs=arguments, input_array_info=array, epochs=1)
    result = pretrain(file, config=raw_alone, progress=quiet, batch_size=1)
    assert np.isfinite(result.records[0].loss)


def test_training_begins_with_all_of_it_but_the_head(experiment, raw_alone, data_folder, caplog):
    done = pretrain(experiment(), config=raw_alone, progress=quiet, epochs=1)
    before = state_of(done)
    tiny = {"learning_rate": 1e-30, "epochs": 1, "iterations_per_epoch": 1, "validation_batch_limit": 1}
    split = str(data_folder.config.path("datasplit"))
    file = experiment(datasplit_path=split, model_to_load="small_pretraining", **tiny)
    with caplog.at_level(logging.WARNING):
        after = state_of(train(file, config=data_folder.config, progress=quiet))
    assert "with a new head for ld, mito" in caplog.text
    for key, value in before.items():
        if not key.startswith("head."):
            torch.testing.assert_close(after[key], value, msg=key)
    assert after["head.weight"].shape[0] == 2


def test_pretrained_takes_the_encoder_and_nothing_else(experiment, raw_alone, data_folder, caplog):
    done = pretrain(experiment(), config=raw_alone, progress=quiet, epochs=1)
    stored = state_of(done)
    tiny = {"learning_rate": 1e-30, "epochs": 1, "iterations_per_epoch": 1, "validation_batch_limit": 1}
    tiny["datasplit_path"] = str(data_folder.config.path("datasplit"))
    plain = state_of(train(experiment("plain", **tiny), config=data_folder.config, progress=quiet))
    file = experiment("begun", pretrained=str(done.latest_checkpoint), **tiny)
    with caplog.at_level(logging.WARNING):
        begun = state_of(train(file, config=data_folder.config, progress=quiet))
    assert f"the encoder of {done.latest_checkpoint}, which are down." in caplog.text
    changed = {key for key in plain if not torch.allclose(begun[key], plain[key], atol=1e-7)}
    encoder = {key for key in plain if key.startswith("down.")}
    assert changed == {key for key in encoder if not torch.allclose(stored[key], plain[key], atol=1e-7)}
    assert len(changed) > len(encoder) / 2
    for key in encoder:
        torch.testing.assert_close(begun[key], stored[key], msg=key)
    # A run that goes on begins with its own checkpoint, and not anew.
    caplog.clear()
    more = train(file, config=data_folder.config, progress=quiet, epochs=2)
    assert [record.epoch for record in more.records] == [2]
    assert "beginning with" not in caplog.text


def test_weights_that_do_not_fit_and_networks_without_encoder_are_told(experiment, data_folder, tmp_path):
    path = tmp_path / "other.pth"
    save_checkpoint(path, create_model("3d_unet_s", n_channels=1, n_classes=1, width=4, depth=2))
    file = experiment(pretrained=str(path), datasplit_path=str(data_folder.config.path("datasplit")))
    with pytest.raises(CheckpointMismatchError, match=r"other\.pth.*of another shape"):
        train(file, config=data_folder.config, progress=quiet)
    own = torch.nn.Conv3d(1, 2, 1)
    with pytest.raises(InvalidArgumentError, match="Conv3d has no encoder apart"):
        train(file, config=data_folder.config, progress=quiet, model=own)
    with pytest.raises(ProblemsError, match=r"there is no file .*gone\.pth"):
        train(file, pretrained=str(tmp_path / "gone.pth"))


def test_what_is_wrong_is_told_together(experiment, raw_alone):
    table = {"classes": ["mito"], "epoch": 3}
    with pytest.raises(ProblemsError) as told:
        pretrain(experiment(pretraining=table, mask_share=1.5), config=raw_alone)
    text = str(told.value)
    assert "pretraining.classes: has no place in pretraining" in text
    assert "pretraining.epoch: there is no such setting" in text
    assert "did you mean epochs" in text
    assert "mask_share" in text
    wider = {"wide": {"shape": (16, 16, 16), "scale": (16, 16, 16)}}
    with pytest.raises(InvalidArgumentError, match="further_inputs does not go with pretraining"):
        pretrain(experiment(further_inputs=wider), config=raw_alone)


def test_a_rehearsal_says_what_raw_there_is_and_writes_nothing(experiment, raw_alone, tmp_path):
    lines = rehearse_pretraining(experiment(), config=raw_alone).lines
    assert lines[0] == "raw: 1 volume, 262,144 voxels in 1 region, patches of (16, 16, 16) voxels"
    assert not (tmp_path / "experiment").exists()


def test_volumes_are_found_by_name_pattern_and_path(raw_alone, data_folder):
    path = str(raw_alone.path("raw", dataset="jrc_test-1"))
    assert find_volumes(("*",), raw_alone) == {"jrc_test-1": path}
    assert find_volumes(("jrc_t*", "/elsewhere/raw.zarr"), raw_alone) == {
        "jrc_test-1": path,
        "/elsewhere/raw.zarr": "/elsewhere/raw.zarr",
    }
    assert list(find_volumes((path,), data_folder.config)) == [path]
    with pytest.raises(MissingDataError, match="there is no raw of jrc_mus"):
        find_volumes(("jrc_mus*",), raw_alone)


def test_other_masks_are_told_where_a_run_goes_on(experiment, raw_alone, caplog):
    file = experiment()
    first = pretrain(file, config=raw_alone, progress=quiet, epochs=1)
    assert read_training_state(first.latest_checkpoint)["settings"]["mask_share"] == "0.4"
    with caplog.at_level(logging.WARNING):
        pretrain(file, config=raw_alone, progress=quiet, epochs=2, mask_share=0.6)
    assert "mask_share was 0.4, is 0.6" in caplog.text
