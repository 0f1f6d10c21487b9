"""``run.json``: with what a run was made."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from csc_data.challenge import ClassTable
from csc_data.errors import UnreadableDataError
from csc_data.formats.writing import read_json, write_json
from csc_train.logs.run_files import RUN_RECORD
from csc_train.settings.data import LOADERS
from csc_train.training.hooks.logs_folder import batches_done, logs_folder
from csc_train.training.loaders import Loaders
from csc_train.training.run import End, Hook, Run

_PACKAGES = ("csc-data", "csc-models", "csc-eval", "csc-train", "lightning-fabric", "numpy", "torch")


class RunRecord(Hook):
    """Writes ``run.json`` into the logs folder: settings, versions, git, split, device, and when the run was started.

    A run that goes on adds to the starts; all else is that of the latest one.

    Parameters
    ----------
    experiment : Path or None
        The experiment file, whose repository is asked for its commit.
    """

    def __init__(self, experiment: Path | None = None) -> None:
        self.experiment = experiment
        self._starts: list[dict[str, Any]] = []

    def on_start(self, run: Run) -> None:
        """Write the file."""
        if not run.speaks:
            return
        if run.resumed_from is not None:
            self._starts = _earlier_starts(logs_folder(run.settings) / RUN_RECORD)
        start = {
            "time": _now(),
            "host": socket.gethostname(),
            "epochs_done": run.state.epoch,
            "step": batches_done(run),
        }
        self._starts.append({**start, "resumed_from": plain(run.resumed_from)})
        self._write(run)

    def on_end(self, run: Run, end: End) -> None:
        """Note how the run ended; one that was killed has no end."""
        if run.speaks and self._starts:
            reason = {} if run.stopping is None else {"why": run.stopping}
            self._starts[-1]["end"] = {"time": _now(), "how": end, **reason, "step": batches_done(run)}
            self._write(run)

    def _write(self, run: Run) -> None:
        record = {
            "model_name": run.settings.model_name,
            "experiment": plain(self.experiment),
            "settings": plain({f.name: _named(f.name, run.settings) for f in fields(run.settings)}),
            "versions": versions(),
            "git": None if self.experiment is None else git_state(self.experiment.resolve().parent),
            "split": split_digest(run.loaders),
            "device": _device(run),
            "starts": self._starts,
        }
        write_json(logs_folder(run.settings) / RUN_RECORD, record)


def plain(value: Any) -> Any:
    """Return a setting as JSON knows it: what it cannot hold, such as a class or a function, by its name.

    Examples
    --------
    >>> from pathlib import Path
    >>> import torch
    >>> plain({"optimizer": torch.optim.AdamW, "shape": (1, 64), "path": None})
    {'optimizer': 'torch.optim.adamw.AdamW', 'shape': [1, 64], 'path': None}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, ClassTable):
        return value.to_plain()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [plain(entry) for entry in value]
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _named(name: str, settings: Any) -> Any:
    """Return a setting; of loaders only what they are, and not their batches."""
    value = getattr(settings, name)
    return type(value) if name in LOADERS and value is not None else value


def versions() -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed and decide what a run gives.

    Examples
    --------
    >>> "python" in versions()
    True
    """
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit of a repository that a folder lies in, and whether anything in the folder was changed since.

    None outside of repositories, before a first commit, and where there is no git.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ".")
    return None if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  # nothing of it comes from outside
            ["git", "-C", str(folder), *arguments],  # noqa: S607  # the git that the user has
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def split_digest(loaders: Loaders) -> dict[str, Any] | None:
    """Return how many crops train and validate, and a SHA-256 of which, with their classes.

    The same crops have the same digest, wherever they lie and in whatever order a datasplit names them. None
    for loaders that were given.
    """
    rows = [
        [usage, crop.name, *sorted(crop.labels)]
        for usage, loader in (("train", loaders.train), ("validate", loaders.validation))
        for crop in (loader.patches.reader.crops if loader is not None and loader.patches is not None else ())
    ]
    if loaders.train.patches is None or (loaders.validation is not None and loaders.validation.patches is None):
        return None
    lines = sorted(",".join(row) for row in rows)
    counts = {usage: sum(row[0] == usage for row in rows) for usage in ("train", "validate")}
    return {**counts, "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


def _device(run: Run) -> dict[str, Any]:
    device = run.fabric.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"type": device.type, "name": name, "processes": run.fabric.world_size, "system": platform.platform()}


def _earlier_starts(file: Path) -> list[dict[str, Any]]:
    try:
        starts: list[dict[str, Any]] = read_json(file).get("starts", [])
    except UnreadableDataError:  # of a disk that was full, or a copy that was broken off
        return []
    return starts


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
