"""The checkpoints of a run: their names on disk, the latest, the best."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, Literal

from csc_data.errors import MissingDataError
from csc_models import CheckpointNotFoundError
from csc_models.checkpoint import best_checkpoint, read_checkpoint
from csc_models.export import is_exported

logger = logging.getLogger(__name__)

TRAINING = "training"
"""Key in the checkpoint's ``extra`` under which the trainer keeps its state."""


class NoCheckpointError(MissingDataError):
    """A checkpoint was asked for and does not exist."""


def checkpoint_path(template: str, model_name: str, epoch: int) -> Path:
    """Return where the checkpoint of an epoch lies.

    Examples
    --------
    >>> checkpoint_path("checkpoints/{model_name}_{epoch}.pth", "mine", 3).name
    'mine_3.pth'
    """
    return Path(template.format(model_name=model_name, epoch=epoch)).expanduser()


def resume_path(template: str, model_name: str) -> Path:
    """Return where the state lies from which a run goes on.

    Examples
    --------
    >>> resume_path("checkpoints/{model_name}_{epoch}.pth", "mine").name
    'mine_resume.pth'
    """
    return Path(template.format(model_name=model_name, epoch="resume")).expanduser()


def list_checkpoints(template: str, model_name: str) -> dict[int, Path]:
    """Return the checkpoints of a run by epoch, in order.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("mine_2.pth", "mine_10.pth", "mine_resume.pth", "other_3.pth"):
    ...         Path(folder, name).touch()
    ...     list(list_checkpoints(folder + "/{model_name}_{epoch}.pth", "mine"))
    [2, 10]
    """
    marker = "\0"
    pattern = Path(template.format(model_name=model_name, epoch=marker)).expanduser()
    depth = next((i for i, part in enumerate(pattern.parts) if marker in part), len(pattern.parts) - 1)
    root = Path(*pattern.parts[:depth])
    expression = re.compile(r"(\d+)".join(map(re.escape, "/".join(pattern.parts[depth:]).split(marker, 1))))
    found = {}
    if root.is_dir():
        depth_below = len(pattern.parts) - depth
        for path in root.glob("/".join(["*"] * depth_below)):
            match = expression.fullmatch(path.relative_to(root).as_posix())
            if match and path.is_file():
                found[int(match[1])] = path
    return dict(sorted(found.items()))


def find_checkpoint(template: str, model_name: str, which: Literal["latest", "best"], logs: str | None = None) -> Path:
    """Return the latest or the best checkpoint of a run.

    The latest one says which epoch had the best metric; it stands for the best itself as long as none had one. Of a run
    of the official toolbox, whose files hold weights alone, the TensorBoard logs in the folder ``logs`` say it.

    Raises
    ------
    NoCheckpointError
        If there are no checkpoints, or the best one was removed.
    csc_models.CheckpointError
        If a file is damaged, or logs do not tell which is the best.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("mine_2.pth", "mine_10.pth"):
    ...         Path(folder, name).touch()
    ...     find_checkpoint(folder + "/{model_name}_{epoch}.pth", "mine", "latest").name
    'mine_10.pth'
    """
    found = list_checkpoints(template, model_name)
    resume = resume_path(template, model_name)
    if not found and resume.is_file() and which == "latest":
        return resume  # no epoch is done yet
    if not found:
        place = template.format(model_name=model_name, epoch="*")
        raise NoCheckpointError(f"there is no checkpoint {place}; train first, or name a file")
    latest = found[max(found)]
    if which == "latest":
        return latest
    state = read_training_state(latest)
    if not state and logs is not None:
        folder = Path(logs.format(model_name=model_name)).expanduser()
        pattern = Path(template.format(model_name=model_name, epoch="{epoch}")).expanduser()
        try:
            return best_checkpoint(folder, pattern)
        except CheckpointNotFoundError as error:
            raise NoCheckpointError(f'{error}; "latest" needs no logs, nor does a file that is named') from error
    best = state.get("best") or {}
    epoch = best.get("epoch")
    if best and epoch is None:
        logger.warning("no epoch of %s has a score yet that would make it the best: this is the latest", model_name)
        return latest
    if epoch is None:
        raise NoCheckpointError(f"{latest} does not say which epoch was best; ask for the latest, or name a file")
    if epoch not in found:
        raise NoCheckpointError(f"the best epoch of {model_name} was {epoch}, but its checkpoint is gone")
    return found[epoch]


def read_training_state(path: Path) -> dict[str, Any]:
    """Return what the trainer stored in a checkpoint; empty for files of other tools, and for exported networks.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_models import create_model
    >>> from csc_models.checkpoint import save_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "theirs.pth")
    ...     save_checkpoint(file, create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2))
    ...     read_training_state(file)
    {}
    """
    if is_exported(path):
        return {}
    state: dict[str, Any] = read_checkpoint(path).extra.get(TRAINING, {})
    return state
