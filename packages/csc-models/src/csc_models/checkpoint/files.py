"""Checkpoint files on disk: written whole or not at all, read without trusting them."""

from __future__ import annotations

import os
import pickle
import re
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from csc_models.checkpoint.digests import check_records
from csc_models.errors import CheckpointError, CheckpointNotFoundError, CheckpointReadError

# What torch.load raises for files that are truncated, of another kind, or hold more than weights.
_UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    MemoryError,
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Let a file be written under a temporary name beside `path`; then flush it to the disk, and rename it.

    If the writing fails, `path` is as it was before, and nothing else is left.

    Yields
    ------
    Path
        An empty file to write to.

    Raises
    ------
    CheckpointError
        The folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "notes.txt")
    ...     with replacing(file) as temporary:
    ...         _ = temporary.write_text("all of it or nothing")
    ...         print(file.exists())
    ...     print(file.read_text(), len(list(Path(folder).iterdir())))
    False
    all of it or nothing 1
    """
    if not path.parent.is_dir():
        raise CheckpointError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    # The suffix stays, because some writers choose the format by it.
    handle, temporary_name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}", dir=path.parent)
    os.close(handle)
    temporary = Path(temporary_name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(_permissions(path))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_file(path: Path, contents: Mapping[str, Any]) -> None:
    """Write a ``torch.save`` archive, whole or not at all.

    Raises
    ------
    CheckpointError
        The folder does not exist.
    OSError
        The disk is full, or not writable; `path` is as it was before.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_file(Path(folder, "a.pth"), {"epoch": 3})
    ...     read_file(Path(folder, "a.pth"), "cpu")
    {'epoch': 3}
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:
        torch.save(dict(contents), stream)


def read_file(path: Path, map_location: str | torch.device) -> Any:
    """Read what a file holds: weights and plain data only.

    Raises
    ------
    CheckpointNotFoundError
        There is no such file.
    CheckpointReadError
        The file is truncated or damaged, is not a checkpoint, or holds objects other than weights and plain data.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"bias": torch.zeros(3)}, Path(folder, "a.pth"))
    ...     read_file(Path(folder, "a.pth"), "cpu")["bias"].tolist()
    [0.0, 0.0, 0.0]
    """
    if not path.is_file():
        raise CheckpointNotFoundError(f"there is no checkpoint {path}")
    try:
        # A stream, because torch chooses a reader by the suffix of a path, and names may be wrong.
        with path.open("rb") as stream:
            if zipfile.is_zipfile(stream):
                check_records(path, stream)
            stream.seek(0)
            return torch.load(stream, map_location=map_location, weights_only=True)
    except CheckpointReadError:  # an OSError, too
        raise
    except _UNREADABLE as error:
        raise CheckpointReadError(
            f"{path} ({path.stat().st_size:,} bytes) cannot be read: {_why_not(error)}"
        ) from error


def _why_not(error: Exception) -> str:
    """Say in our words why torch does not read a file; its own advises to let any code run."""
    found = re.search(r"(?:GLOBAL|class) (\w[\w.]*)", str(error))
    if found is None:
        return "it is truncated or damaged, or is not a checkpoint"
    return (
        f"it holds objects other than weights and plain data ({found[1]}), which could run code; `csc models import` "
        "reads what others save, and runs none of it"
    )


def _permissions(path: Path) -> int:
    """Permissions of a new file: those of the file that it replaces, else what the user's mask allows."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Make the rename last through a power cut, where the system can open folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
