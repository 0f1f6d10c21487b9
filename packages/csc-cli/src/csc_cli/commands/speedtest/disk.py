"""How fast the disk of the data folder writes and reads."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import IO

from csc_cli.commands.speedtest.limits import Limits, Speed
from csc_data.storage.room import free_bytes
from csc_data.wording import format_bytes

_PIECE = 8 * 2**20
_SHARE = 10
"""What is written takes at most this part of what is free."""


def measure_disk(limits: Limits, root: Path) -> Speed:
    """Write a file piece by piece, each until it is on the disk, and read it back; nothing of it stays.

    It has no name where the system knows such files, so that not even a kill leaves it.
    """
    place = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.is_dir())
    most = min(limits.bytes, free_bytes(place) // _SHARE)
    pieces = max(1, most // _PIECE)
    with tempfile.TemporaryFile(dir=place, buffering=0) as file:
        written, write_seconds = _write(file, pieces, limits.seconds / 2)
        dropped = _drop_from_memory(file)
        read, read_seconds = _read(file, limits.seconds / 2)
    write_rate, read_rate = written / write_seconds, read / read_seconds
    memory = "" if dropped else ", which may come from memory"
    return Speed(
        part="disk",
        said=f"writes {format_bytes(int(write_rate))}/s, reads {format_bytes(int(read_rate))}/s{memory}, in {place}",
        details={
            "folder": place,
            "bytes": written,
            "write_bytes_per_second": write_rate,
            "read_bytes_per_second": read_rate,
            "read_from_disk": dropped,
        },
    )


def _write(file: IO[bytes], pieces: int, seconds: float) -> tuple[int, float]:
    """Return bytes and seconds."""
    piece = os.urandom(_PIECE)  # some disks compress
    began = time.perf_counter()
    written = 0
    for _ in range(pieces):
        written += file.write(piece)
        os.fsync(file.fileno())
        if time.perf_counter() - began > seconds:
            break
    return written, time.perf_counter() - began


def _drop_from_memory(file: IO[bytes]) -> bool:
    """Ask the system to forget what it holds of a file, so that reading it asks the disk; tell whether it can."""
    if not hasattr(os, "posix_fadvise"):
        return False
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def _read(file: IO[bytes], seconds: float) -> tuple[int, float]:
    """Return bytes and seconds."""
    file.seek(0)
    began = time.perf_counter()
    total = 0
    while (piece := file.read(_PIECE)) and time.perf_counter() - began < seconds:
        total += len(piece)
    return max(total, _PIECE), time.perf_counter() - began
