from dataclasses import replace

import pytest
import torch

from csc_data.errors import InvalidArgumentError
from csc_data.fingerprint import take_fingerprint
from csc_data.splits.split_file import read_datasplit
from csc_train import train
from csc_train.devices import DeviceMemoryError
from csc_train.plan import look_at_machine, make_plans, measure_step
from csc_train.settings import TrainSettings, read_train_settings

TINY = TrainSettings(
    classes=["mito"],
    input_array_info={"shape": (16, 16, 16), "scale": (8, 8, 8)},
    architecture="3d_unet_s",
    model_kwargs={"width": 4, "depth": 2},
    batch_size=2,
    device="cpu",
)


def test_a_few_steps_are_timed_on_the_device():
    cost = measure_step(TINY)
    assert 0 < cost.seconds < 60
    assert cost.precision in {"32-true", "bf16-mixed"}
    assert cost.memory_bytes is None


def test_memory_that_runs_out_is_an_error_that_can_be_told_apart(monkeypatch):
    def run_out(*_):
        raise torch.cuda.OutOfMemoryError("no more")

    monkeypatch.setattr("csc_train.plan.measuring.build_network", run_out)
    with pytest.raises(DeviceMemoryError, match="does not fit into the memory of cpu"):
        measure_step(TINY)


def test_the_machine_is_looked_at():
    machine = look_at_machine("cpu", seconds=60, free_bytes=10**9, cores=4)
    assert (machine.kind, machine.cores, machine.seconds) == ("cpu", 4, 60)
    assert 0 < machine.memory_bytes < 10**9
    with pytest.raises(InvalidArgumentError, match="give more minutes"):
        look_at_machine("cpu", seconds=0, free_bytes=10**9, cores=4)
    with pytest.raises(InvalidArgumentError, match="there is no device cuda:99"):
        look_at_machine("cuda:99", seconds=60, free_bytes=10**9, cores=4)


def test_what_is_planned_for_real_crops_trains(data_folder, tmp_path):
    rows = read_datasplit(data_folder.config.path("datasplit"))
    fingerprint = take_fingerprint(rows)
    machine = look_at_machine("cpu", seconds=20, free_bytes=10**9, cores=2)
    [plan] = make_plans(fingerprint, replace(machine, flops=1e9), datasplit=data_folder.config.path("datasplit"))
    settings = read_train_settings(
        plan.settings,
        epochs=1,
        iterations_per_epoch=1,
        validation_batch_limit=1,
        model_save_path=str(tmp_path / "{model_name}_{epoch}.pth"),
        logs_save_path=str(tmp_path / "logs"),
    )
    assert settings.classes == ("ld", "mito")
    assert settings.input_array_info.shape == (32, 32, 32)
    result = train(settings, config=data_folder.config)
    assert result.latest_checkpoint is not None
