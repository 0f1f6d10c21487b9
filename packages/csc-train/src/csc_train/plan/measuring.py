"""A few steps on the device: how long one takes, and how much memory."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional

from csc_train.devices import DeviceMemoryError, choose_device
from csc_train.network import build_network, patch_shape
from csc_train.settings import TrainSettings

_WARMUP_STEPS = 2  # in which kernels are chosen and memory is first taken
_MOST_STEPS = 8
_MOST_SECONDS = 6.0
_WORTH_IT = 0.85  # of the time of float32, below which bfloat16 is taken on a CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """What a step takes, without loading its data.

    Attributes
    ----------
    seconds, cpu_seconds : float
        Of the clock, and of all cores together.
    memory_bytes : int or None
        The most that was taken of a GPU's memory; None elsewhere.
    precision : str
        The faster number format, in Lightning Fabric's words.
    """

    seconds: float
    cpu_seconds: float
    memory_bytes: int | None
    precision: str


def measure_step(settings: TrainSettings, *, seconds: float = _MOST_SECONDS) -> StepCost:
    """Measure steps of an experiment on its device, with random values for raw and targets.

    On a CPU, bfloat16 is tried as well, and taken where it is clearly faster.

    Parameters
    ----------
    settings : TrainSettings
    seconds : float
        When no further step is begun, of each number format; the first few, which are not counted, come besides.

    Raises
    ------
    DeviceMemoryError
        If the memory is not enough.
    InvalidArgumentError
        If there is no such device.
    csc_models.ModelError
        If the network cannot be built.
    """
    device = choose_device(settings.device)
    found = _measure(settings, device, settings.precision, seconds)
    if device.type == "cpu" and settings.precision == "32-true":
        half = _measure(settings, device, "bf16-mixed", seconds)
        if half.seconds < _WORTH_IT * found.seconds:
            return half
    return found


def _measure(settings: TrainSettings, device: torch.device, precision: str, seconds: float) -> StepCost:
    try:
        return replace(_time_steps(settings, device, precision, seconds), precision=precision)
    except torch.cuda.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise DeviceMemoryError(f"a step does not fit into the memory of {device}: {error}") from error


def _time_steps(settings: TrainSettings, device: torch.device, precision: str, seconds: float) -> StepCost:
    network = build_network(settings).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    shapes = patch_shape(settings)
    raw = torch.rand(settings.batch_size, 1, *shapes.input.shape, device=device)
    target = torch.rand(settings.batch_size, len(settings.classes), *shapes.target.shape, device=device).round()
    is_cuda = device.type == "cuda"
    if is_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    half: dict[str, Any] = {"dtype": torch.bfloat16, "enabled": precision == "bf16-mixed"}
    taken, began = 0, (0.0, 0.0)
    for number in range(_WARMUP_STEPS + _MOST_STEPS):
        if number == _WARMUP_STEPS:
            began = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        with torch.autocast(device.type, **half):
            loss = functional.binary_cross_entropy_with_logits(network(raw).float(), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if is_cuda:
            torch.cuda.synchronize(device)
        taken = number + 1 - _WARMUP_STEPS
        if taken > 0 and time.perf_counter() - began[0] > seconds:
            break
    return StepCost(
        seconds=(time.perf_counter() - began[0]) / taken,
        cpu_seconds=(time.process_time() - began[1]) / taken,
        memory_bytes=torch.cuda.max_memory_allocated(device) if is_cuda else None,
        precision=precision,
    )
