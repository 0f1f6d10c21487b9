"""Where the work is done: the device that was asked for, or the best one here."""

from __future__ import annotations

import logging
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from csc_data.errors import CscError, InvalidArgumentError, did_you_mean
from csc_train.sharding import FSDP, fsdp_strategy

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class DeviceMemoryError(CscError, MemoryError):
    """A step does not fit into the memory of the device."""


def choose_device(name: str | None) -> torch.device:
    """Return a device by name; by default cuda, then mps, then cpu.

    Raises
    ------
    InvalidArgumentError
        If there is no such device here.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    >>> choose_device("gpu")
    Traceback (most recent call last):
        ...
    csc_data.errors.InvalidArgumentError: device 'gpu' is not known; use cuda, cuda:1, mps or cpu
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidArgumentError(f"device {name!r} is not known; use cuda, cuda:1, mps or cpu") from error
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= available.get(device.type, 0):
        raise InvalidArgumentError(f"there is no device {name} here; leave it out to take the best one")
    return device


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """A device that torch can use: how it is asked for, what it is called, and its own memory in bytes (0: no own)."""

    device: str
    name: str
    free_bytes: int = 0
    total_bytes: int = 0


def list_devices() -> tuple[DeviceFacts, ...]:
    """Return the devices of this machine, the one that is taken by default first.

    Examples
    --------
    >>> list_devices()[-1].device
    'cpu'
    """
    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        found.append(DeviceFacts(device=f"cuda:{index}", name=name, free_bytes=free, total_bytes=total))
    if torch.backends.mps.is_available():
        found.append(DeviceFacts(device="mps", name="Apple GPU"))
    name = f"{platform.machine()}, {torch.get_num_threads()} threads"
    return (*found, DeviceFacts(device="cpu", name=name))


def choose_precision(precision: str, device: torch.device) -> str:
    """Return a number format in Lightning Fabric's words: for ``auto`` bfloat16 where the device has units for it.

    Elsewhere it is emulated, and slower than float32.

    Examples
    --------
    >>> import torch
    >>> choose_precision("16-mixed", torch.device("cpu"))
    '16-mixed'
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Older versions of torch do not say what a processor has.
        known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        fast = device.type == "cpu" and (known.get("avx512_bf16") or known.get("amx_bf16"))
    return "bf16-mixed" if fast else "32-true"


def make_fabric(
    device: str | None, precision: str, *, devices: int = 1, num_nodes: int = 1, strategy: str = "auto"
) -> Fabric:
    """Return a Fabric on the device, its processes started.

    Raises
    ------
    InvalidArgumentError
        If there is no such device here, or no such strategy, or other processes were started than are asked for.
    """
    with _hidden("torchmetrics"):
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import STRATEGY_REGISTRY

    known = ["auto", FSDP, *STRATEGY_REGISTRY.available_strategies()]
    if strategy not in known:
        raise InvalidArgumentError(
            f"there is no strategy {strategy!r} ({did_you_mean(strategy, dict.fromkeys(known))})"
        )
    chosen = choose_device(device)
    _check_processes(devices, num_nodes)
    number_format: Any = choose_precision(precision, chosen)
    log = logging.getLogger("lightning_fabric")
    level = log.level
    log.setLevel(logging.WARNING)  # not its line on number formats, which nobody asked for
    try:
        fabric = Fabric(
            accelerator=chosen.type,
            devices=[chosen.index] if chosen.index is not None and chosen.type == "cuda" and devices == 1 else devices,
            num_nodes=num_nodes,
            strategy=fsdp_strategy(devices * num_nodes) if strategy == FSDP else strategy,
            precision=number_format,
        )
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        first = str(error).strip().splitlines()[0]
        raise InvalidArgumentError(
            f"{devices} x {chosen.type} cannot work together by strategy {strategy!r}: {first}"
        ) from error
    finally:
        log.setLevel(level)
    fabric.launch()
    return fabric


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread where it is called from in this one; other threads have as many as before.

    For many small steps beside a network: torch's threads wait for the next step by spinning, which takes as much of
    the processor as the steps themselves, and takes it from the network.

    Examples
    --------
    >>> import torch
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    count = torch.get_num_threads()
    with _setting_threads:
        torch.set_num_threads(1)
        # Each thread has its own number, but a new one begins with what any thread has set last.
        other = threading.Thread(target=torch.set_num_threads, args=(count,))
        other.start()
        other.join()
    try:
        yield
    finally:
        torch.set_num_threads(count)


_setting_threads = threading.Lock()


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let a package look as if it were not installed, unless it is imported already.

    Fabric imports torchmetrics, where it is there, only to learn its version; that brings torchvision and scipy.signal,
    and takes several seconds.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # importing it raises ModuleNotFoundError, by the language
    try:
        yield
    finally:
        del sys.modules[package]


def _check_processes(devices: int, num_nodes: int) -> None:
    """Check that torchrun or srun, where one of them did, started as many processes as an experiment asks for."""
    total, nodes, who = _started()
    if total == devices * num_nodes or total is None:
        return
    each = max(1, total // nodes)
    raise InvalidArgumentError(
        f"{who} started {total} processes on {nodes} machines, and the experiment has devices = {devices} and "
        f"num_nodes = {num_nodes}; set devices = {each} and num_nodes = {nodes}, or start "
        f"{devices * num_nodes} processes"
    )


def _started() -> tuple[int | None, int, str]:
    """Return how many processes were started, on how many machines, and by what; None where nobody did."""
    found = os.environ
    if "TORCHELASTIC_RUN_ID" in found:
        total = int(found.get("WORLD_SIZE", "1"))
        return total, max(1, total // int(found.get("LOCAL_WORLD_SIZE", "1"))), "torchrun"
    # Lightning takes a job of this name for a shell in which somebody tries things.
    if "SLURM_NTASKS" in found and found.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        nodes = found.get("SLURM_STEP_NUM_NODES") or found.get("SLURM_NNODES") or "1"
        return int(found["SLURM_NTASKS"]), int(nodes), "srun"
    return None, 1, ""
