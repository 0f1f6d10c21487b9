import dataclasses
import json
import math
import os
import socket
import subprocess
import sys
import textwrap

import pytest
import torch

from csc_data.errors import InvalidArgumentError, MissingDataError, ProblemsError
from csc_data.loader.device.batch_gatherer import BatchGatherer
from csc_models import UnknownModelError
from csc_models.checkpoint import load_checkpoint
from csc_train import train
from csc_train.checkpoints import read_training_state
from csc_train.training.steps import DivergedError


def test_a_run_learns_and_leaves_checkpoints_and_logs(settings, tmp_path):
    events = []
    result = train(settings, epochs=3, iterations_per_epoch=15, ema=0.9, progress=events.append)
    assert [path.name for path in result.checkpoints] == ["small_1.pth", "small_2.pth", "small_3.pth"]
    losses = [record.loss for record in result.records]
    assert losses[-1] < losses[0]
    assert result.latest_checkpoint == result.checkpoints[-1]
    scores = [record.validation.iou for record in result.records]
    assert result.best_value == max(scores)
    assert result.best_epoch == 1 + scores.index(max(scores))
    assert 0 < sum(record.loading_seconds for record in result.records) < result.seconds
    stages = [event.stage for event in events]
    assert (stages.count("train"), stages.count("validate"), stages.count("epoch")) == (45, 6, 3)

    loaded = load_checkpoint(result.latest_checkpoint)
    assert loaded.description.classes == ("mito", "ld")
    assert loaded.description.raw_range == (0.0, 1.0)
    assert loaded.description.input_arrays["raw"]["shape"] == [16, 16, 16]
    assert loaded.description.model_arguments["width"] == 2

    logs = logged(tmp_path / "tensorboard" / "small")
    assert {"loss", "validation", "validation_iou", "validation_iou/mito", "validation_dice/mito", "lr"} <= set(
        logs.Tags()["scalars"]
    )
    assert [event.step for event in logs.Scalars("validation")] == [15, 30, 45]
    assert logs.Scalars("validation")[-1].value == pytest.approx(result.records[-1].validation.loss)
    assert len(logs.Scalars("loss")) == 45


def test_the_seed_decides_the_weights(in_folder, weights):
    runs = [train(in_folder(f"{n}", epochs=1, random_seed=seed)) for n, seed in enumerate([1, 1, 2])]
    first, second, third = (weights(run.latest_checkpoint) for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], third[key]) for key in first)


def test_the_device_that_trains_may_gather_its_patches(monkeypatch, in_folder):
    turned = {"spatial_transforms": {"rotate": True}, "epochs": 1}
    expected = train(in_folder("cpu", **turned))
    gathered = []
    monkeypatch.setattr(
        BatchGatherer, "__next__", lambda self, own=BatchGatherer.__next__: gathered.append(own(self)) or gathered[-1]
    )
    found = train(in_folder("device", gather_on="device", **turned))
    assert len(gathered) == 5  # of training and validation
    assert found.records[0].loss == pytest.approx(expected.records[0].loss, abs=1e-3)


def test_a_time_limit_fixes_the_validation(settings):
    limited = dataclasses.replace(settings, validation_batch_limit=None, validation_time_limit=1e-6, batch_size=1)
    events = []
    first = train(limited, epochs=2, progress=events.append)
    assert sum(event.stage == "validate" for event in events) == 2  # one batch each epoch
    assert read_training_state(first.latest_checkpoint)["validation_batches"] == 1
    train(dataclasses.replace(limited, validation_time_limit=1e6), progress=events.append)
    assert sum(event.stage == "validate" for event in events) == 4


def test_without_validation_crops_the_training_loss_decides(settings, data_folder, tmp_path):
    from csc_data.splits.split_file import read_datasplit, write_datasplit

    rows = read_datasplit(data_folder.config.path("datasplit"))
    write_datasplit(tmp_path / "split.csv", [row for row in rows if row.usage == "train"])
    result = train(settings, datasplit_path=tmp_path / "split.csv", epochs=2)
    assert all(record.validation is None for record in result.records)
    losses = [record.loss for record in result.records]
    assert result.best_epoch == 1 + losses.index(min(losses))
    assert result.best_value == min(losses)
    assert logged(tmp_path / "tensorboard" / "small").Images("samples/1")  # of training batches


def logged(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = EventAccumulator(str(folder))
    logs.Reload()
    return logs


def test_points_are_counted_in_batches_also_where_an_epoch_has_others_of_them(settings, tmp_path):
    train(settings, epochs=2, images=0)
    train(settings, epochs=3, iterations_per_epoch=2, images=0)
    logs = logged(tmp_path / "tensorboard" / "small")
    assert [event.step for event in logs.Scalars("loss")] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [event.step for event in logs.Scalars("validation")] == [3, 6, 8]


def test_several_inputs_and_targets_decide_the_channels_of_the_network(settings):
    array = {"shape": (16, 16, 16), "scale": (16, 16, 16)}
    several = dataclasses.replace(
        settings,
        further_inputs={"around": array},
        targets={"output": "binary", "distance": {"kind": "signed_distance"}},
        criterion="hot_distance",
        epochs=1,
    )
    description = load_checkpoint(train(several).latest_checkpoint).description
    assert (description.model_arguments["n_channels"], description.model_arguments["n_classes"]) == (2, 4)
    other = {"around": {"shape": (8, 8, 8), "scale": (16, 16, 16)}}
    with pytest.raises(InvalidArgumentError, match=r"as many voxels each.*around \(8, 8, 8\).*a model of your own"):
        train(several, model_name="other", further_inputs=other)


@pytest.mark.parametrize("flat", [False, True])
def test_the_order_in_memory_changes_no_more_than_rounding(in_folder, flat):
    changes = {"epochs": 1}
    if flat:
        changes |= {"architecture": "2d_unet_s", "input_array_info": {"shape": (1, 32, 32), "scale": (8, 8, 8)}}
    plain = train(in_folder("plain"), **changes)
    last = train(in_folder("last"), **changes, channels_last=True)
    assert last.records[0].loss == pytest.approx(plain.records[0].loss, rel=1e-4)


def test_flat_patches_train_networks_with_two_axes(settings):
    result = train(
        settings,
        architecture="2d_unet_s",
        input_array_info={"shape": (1, 32, 32), "scale": (8, 8, 8)},
        epochs=1,
    )
    assert math.isfinite(result.records[0].loss)


def test_a_target_smaller_than_the_input_is_the_centre(settings):
    result = train(settings, target_array_info={"shape": (8, 8, 8), "scale": (8, 8, 8)}, epochs=1)
    assert math.isfinite(result.records[0].loss)


def test_a_loss_that_is_no_number_stops_the_run(settings):
    with pytest.raises(DivergedError, match="epoch 1, batch 2"):
        train(settings, optimizer="sgd", learning_rate=1e38, weight_loss=False)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"architecture": "3d_unet_x"}, UnknownModelError, "3d_unet"),
        ({"device": "tpu7"}, InvalidArgumentError, "device"),
        ({"optimizer": "adamm"}, ProblemsError, "adamw"),
        ({"optimizer_kwargs": {"momentum": 2}}, InvalidArgumentError, "momentum"),
        ({"datasplit_path": "nowhere.csv"}, MissingDataError, "make-datasplit.*no data folder"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(settings, changes, error, words):
    with pytest.raises(error, match=words):
        train(settings, **changes)


@pytest.mark.slow
def test_an_experiment_file_runs_as_a_script(data_folder, tmp_path):
    file = tmp_path / "train_3D.py"
    file.write_text(
        textwrap.dedent(
            f"""
            classes = ["mito", "ld"]
            model_name = "3d_unet_s"
            model_kwargs = {{"width": 2, "depth": 2}}
            input_array_info = {{"shape": (16, 16, 16), "scale": (8, 8, 8)}}
            epochs, iterations_per_epoch, batch_size = 1, 2, 1
            validation_batch_limit = 1
            device = "cpu"
            datasplit_path = {str(data_folder.config.path("datasplit"))!r}
            if __name__ == "csc_experiment":
                from csc_train import train
                assert train(__file__).checkpoints == ()  # asked while it is read: does nothing
            from csc_train import train
            print(len(train(__file__).checkpoints), "checkpoints")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(file)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "1 checkpoints" in done.stdout
    assert (tmp_path / "checkpoints" / "3d_unet_s_1.pth").is_file()
    assert (tmp_path / "tensorboard" / "3d_unet_s").is_dir()


def test_everything_that_may_be_done_to_samples_goes_through_training(settings):
    everything = dataclasses.replace(
        settings,
        epochs=1,
        spatial_transforms={
            "mirror": True,
            "transpose": True,
            "rotate": {"axes": {"z": [-180, 180], "y": 30}},
            "scale": {"axes": {"x": [0.8, 1.25]}},
            "elastic": {"amplitude_nm": 8, "spacing_nm": 60},
        },
        intensity_transforms={"gamma": {"probability": 1.0}, "blur": {}, "missing_sections": {"probability": 1.0}},
        train_raw_value_transforms=lambda raw: raw + 0.1 * torch.rand(()),
        target_value_transforms={"mito": lambda target: target},
        foreground_share=0.5,
        random_validation=True,
    )
    result = train(everything)
    assert math.isfinite(result.records[0].loss)
    assert load_checkpoint(result.latest_checkpoint).description.raw_range == (0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "transform", "remedy"),
    [
        ("train_raw_value_transforms", lambda raw: raw * 2 - 1, r"raw_range = \(-1, 1\)"),
        ("val_raw_value_transforms", lambda raw: raw + torch.rand(()), "at random"),
    ],
)
def test_what_prediction_could_not_repeat_is_refused(settings, name, transform, remedy):
    with pytest.raises(ProblemsError, match=remedy):
        train(dataclasses.replace(settings, **{name: transform}))


@pytest.mark.slow
def test_two_processes_train_one_network(data_folder, tmp_path):
    """Started as torchrun does on two machines: each gets samples of its own, both end alike, and one writes."""
    file = tmp_path / "train_3D.py"
    file.write_text(
        textwrap.dedent(
            f"""
            classes = ["mito", "ld"]
            model_name = "3d_unet_s"
            model_kwargs = {{"width": 2, "depth": 2}}
            input_array_info = {{"shape": (16, 16, 16), "scale": (8, 8, 8)}}
            epochs, iterations_per_epoch, batch_size = 2, 2, 1
            device, num_nodes = "cpu", 2
            output_dir = "elsewhere"
            instance_score_every = 1
            datasplit_path = {str(data_folder.config.path("datasplit"))!r}
            if __name__ == "__main__":
                import json, os
                from pathlib import Path
                from csc_train import train
                result = train(__file__)
                scores = [record.validation.values for record in result.records]
                numbers = [(r.loss, s["iou"], s["challenge"]) for r, s in zip(result.records, scores)]
                # Into a file each: lines of two processes mix in one pipe.
                Path(f"result_{{os.environ['RANK']}}.json").write_text(json.dumps([len(result.checkpoints), numbers]))
            """
        )
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for rank in ("0", "1"):
        told = {"RANK": rank, "GROUP_RANK": rank, "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
        told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
        environment = {**os.environ, **told, "OMP_NUM_THREADS": "1"}
        started.append(subprocess.Popen([sys.executable, "-W", "ignore", str(file)], env=environment, **options))
    said = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert ["output_dir is left out" in errors for _, errors in said] == [True, False]
    assert ["epoch 2/2" in out for out, _ in said] == [True, False]
    results = [json.loads((tmp_path / f"result_{rank}.json").read_text()) for rank in (0, 1)]
    assert [checkpoints for checkpoints, _ in results] == [2, 0]
    assert results[0][1] == results[1][1]
    assert all(math.isfinite(number) for epoch in results[0][1] for number in epoch)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "3d_unet_s_1.pth",
        "3d_unet_s_2.pth",
        "3d_unet_s_resume.pth",
    ]


def test_targets_that_are_all_unknown_end_the_first_epoch(settings):
    batch = {"raw": torch.rand(1, 1, 16, 16, 16), "output": torch.full((1, 2, 16, 16, 16), math.nan)}
    with pytest.raises(InvalidArgumentError, match="nothing is known of any target"):
        train(settings, train_loader=[batch] * 10, iterations_per_epoch=10)
