"""The settings of where and in which number format a network trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from csc_data.config.settings import COUNT, NOT_NEGATIVE, Earlier, ReadBy, setting, settings
from csc_data.errors import Problem
from csc_train.overrides import Precision


def _named(device: Any) -> Any:
    """Return the name of a torch device, which Python files may give."""
    return str(device) if type(device).__module__ == "torch" else device


def _whole_average(strategy: str, earlier: Earlier) -> Iterator[Problem]:
    if strategy == "fsdp" and earlier.get("ema") is not None:
        yield Problem(where="", what="'fsdp' does not go with ema", remedy="leave one of them out")


@settings
class DeviceSettings:
    """Where a network trains."""

    device: str | None = setting(
        "cuda, cuda:1, mps or cpu; by default the first there is", ReadBy(_named, str | None), default=None
    )
    devices: int = setting("devices of this machine to train on", COUNT, default=1)
    num_gpus: int | None = setting("another name of devices; 0 trains on the CPU", NOT_NEGATIVE, default=None)
    num_nodes: int = setting("machines to train on", COUNT, default=1)
    strategy: str = setting(
        "how several devices work together, in Lightning Fabric's words; fsdp divides weights and optimizer among them",
        _whole_average,
        default="auto",
    )
    precision: Precision = setting(
        "number format, in Lightning Fabric's words; auto is bf16-mixed where the device computes with it",
        default="32-true",
    )
    compile: bool = setting("compile the network with torch.compile: minutes at first, then faster", default=False)
    channels_last: bool = setting("keep channels together in memory, which some devices prefer", default=False)
