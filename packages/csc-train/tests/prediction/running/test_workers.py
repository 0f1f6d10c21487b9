"""Who predicts blocks, and how it ends."""

import os
import signal

import pytest
import torch

from csc_data.errors import InvalidArgumentError
from csc_train.prediction.running.workers import ExecutionOptions, open_execution


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "at least one of each"),
        ({"devices": 0}, "at least one of each"),
        ({"devices": ()}, "at least one of each"),
        ({"jobs": 0}, "at least one of each"),
        ({"workers": 2, "devices": 2}, "workers and devices exclude each other"),
        ({"scheduler": "tcp://a:1", "cluster": "slurm"}, "scheduler and cluster exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ExecutionOptions(**options)


def test_by_default_blocks_are_predicted_here():
    with open_execution(ExecutionOptions()) as execution:
        assert execution.executor is None


def test_more_gpus_than_there_are_is_said_before_anything_starts(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InvalidArgumentError, match="there are 1 GPUs, and 2 were asked for"):
        open_execution(ExecutionOptions(devices=2)).__enter__()


@pytest.mark.slow
def test_each_process_sees_one_gpu_of_those_that_this_one_may_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-4a,7,9")
    for devices, expected in ((2, {"GPU-4a", "7"}), (("9", "7"), {"9", "7"})):
        assert environments(ExecutionOptions(devices=devices), "CUDA_VISIBLE_DEVICES") == expected


@pytest.mark.slow
def test_processes_on_the_cpu_divide_the_cores_and_see_no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    cores = len(os.sched_getaffinity(0))
    assert environments(ExecutionOptions(workers=2), "CUDA_VISIBLE_DEVICES") == {""}
    assert environments(ExecutionOptions(workers=2), "OMP_NUM_THREADS") == {str(max(1, cores // 2))}


def environments(options, name):
    with open_execution(options) as execution:
        futures = [execution.executor.submit(os.getenv, name) for _ in range(execution.max_pending * 4)]
        return {future.result() for future in futures}


@pytest.mark.skipif(not hasattr(signal, "raise_signal") or os.name == "nt", reason="SIGTERM")
def test_sigterm_unwinds_and_is_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, open_execution(ExecutionOptions()):
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
