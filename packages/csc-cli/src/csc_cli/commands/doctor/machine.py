"""The machine: where networks are computed, memory, and the disk of the data folder."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from csc_cli.commands.doctor.finding import Finding
from csc_data.errors import InvalidArgumentError
from csc_data.storage.room import check_writable, free_bytes
from csc_data.wording import format_bytes, plural

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_train.devices import DeviceFacts

LEAST_FREE = 10**9
"""Bytes without which nothing worth while fits on the disk."""


def look_at_device() -> Finding:
    """Tell where networks are computed; torch is imported for this alone."""
    try:
        from csc_train.devices import list_devices
    except (ImportError, OSError) as error:  # a library of CUDA that is not there is an OSError
        first = str(error).strip().splitlines()[0]
        return Finding(
            name="device",
            state="missing",
            said=f"torch cannot be imported: {first}",
            remedy="pip install --force-reinstall torch, for this Python and this machine",
        )
    devices = list_devices()
    said = "; ".join(f"{d.device}: {d.name}{_memory(d)}" for d in devices)
    details = {"devices": devices}
    if devices[0].device == "cpu" and shutil.which("nvidia-smi"):
        remedy = "install a torch that is built for CUDA: see https://pytorch.org/get-started/locally"
        said = f"{said}; there is an NVIDIA driver, but torch uses no GPU"
        return Finding(name="device", state="note", said=said, remedy=remedy, details=details)
    return Finding(name="device", said=said, details=details)


def _memory(device: DeviceFacts) -> str:
    if not device.total_bytes:
        return ""
    return f", {format_bytes(device.free_bytes)} of {format_bytes(device.total_bytes)} free"


def look_at_memory() -> Finding:
    """Tell how many processors and how much memory there are for this process.

    Examples
    --------
    >>> sorted(look_at_memory().details)
    ['free_bytes', 'processors']
    """
    from csc_eval.running.memory import available_cpus, available_memory

    cpus, free = available_cpus(), available_memory()
    said = f"{plural(cpus, 'processor')}, {format_bytes(free)} of memory free"
    return Finding(name="machine", said=said, details={"processors": cpus, "free_bytes": free})


def look_at_disk(config: Config) -> Finding:
    """Tell how much is free where the data folder is, or would be.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import load_config
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     look_at_disk(load_config(data=folder, environ={})).name
    'disk'
    """
    root = config.root.absolute()
    free = free_bytes(root)
    details: dict[str, object] = {"data": root, "free_bytes": free}
    remedy = "csc config set data DIR names a data folder on another disk"
    try:
        check_writable(root)
    except InvalidArgumentError as error:
        if not (root.is_dir() and os.access(root, os.R_OK)):
            return Finding(name="disk", state="missing", said=str(error), remedy=remedy, details=details)
        said = f"{root} can be read, not written"
        return Finding(name="disk", state="note", said=said, remedy=remedy, details=details)
    full = free < LEAST_FREE
    said = f"{format_bytes(free)} free for {root}"
    return Finding(
        name="disk", state="missing" if full else "ok", said=said, remedy=remedy if full else "", details=details
    )
