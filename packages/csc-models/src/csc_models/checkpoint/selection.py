"""Choose among the checkpoints of a run: the latest, or the one that validated best."""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

from torch import nn

from csc_models.checkpoint.loading import LoadedCheckpoint, load_checkpoint
from csc_models.checkpoint.official.training_logs import scores_by_epoch
from csc_models.checkpoint.safetensors_files import SUFFIX
from csc_models.errors import CheckpointError, CheckpointNotFoundError

EPOCH = "{epoch}"


def load_latest(search_path: str | PathLike[str], model: nn.Module, *, strict: bool = True) -> LoadedCheckpoint:
    """Load the latest checkpoint of a run into a network, in place.

    Parameters
    ----------
    search_path : path
        A pattern such as ``"checkpoints/unet_*.pth"`` or ``"checkpoints/unet_{epoch}.pth"``, or a folder of ``.pth``
        and ``.safetensors`` files. Files of one run, whose names differ in a number at the end only, are ordered by it;
        others by their time of modification. For ``{epoch}``, only files with a number in its place count.
    model : torch.nn.Module
        The network.
    strict : bool
        As for `load_checkpoint`.

    Returns
    -------
    LoadedCheckpoint
        What was loaded; its `path` says from where.

    Raises
    ------
    CheckpointNotFoundError
        No file fits the pattern; the network is as it was.
    CheckpointError
        As for `load_checkpoint`.

    Examples
    --------
    >>> import tempfile
    >>> from csc_models import create_model
    >>> from csc_models.checkpoint import load_latest, save_checkpoint
    >>> network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for epoch in (9, 10):
    ...         save_checkpoint(f"{folder}/mine_{epoch}.pth", network)
    ...     load_latest(folder + "/mine_{epoch}.pth", network).path.name
    'mine_10.pth'
    """
    pattern = fspath(search_path)
    if EPOCH in pattern:
        files = list(_files_by_epoch(pattern).values())
    else:
        folder = Path(pattern).is_dir()
        patterns = (
            [str(Path(glob.escape(pattern)) / f"*{suffix}") for suffix in (".pth", SUFFIX)] if folder else [pattern]
        )
        names = [name for each in patterns for name in glob.glob(each)]  # noqa: PTH207 - the pattern may be absolute
        files = [Path(name) for name in names if Path(name).is_file()]
    if not files:
        raise CheckpointNotFoundError(f"there is no checkpoint {pattern}")
    return load_checkpoint(_latest(files), model=model, strict=strict)


def load_best_val(
    logs_save_path: str | PathLike[str],
    model_save_path: str | PathLike[str],
    model: nn.Module,
    low_is_best: bool = True,
    smoothing_window: int = 1,
    *,
    strict: bool = True,
) -> LoadedCheckpoint:
    """Load the checkpoint of the epoch with the best validation score into a network, in place.

    Parameters
    ----------
    logs_save_path : path
        Folder with the TensorBoard logs of the run, of all its processes if it was resumed; the scalars ``validation``
        are read, and ``loss`` and images tell which epochs they are of.
    model_save_path : str
        Path of the checkpoints with ``{epoch}`` in it, such as ``"checkpoints/unet_{epoch}.pth"``.
    model : torch.nn.Module
        The network.
    low_is_best : bool
        Whether the lowest score is the best (a loss), or the highest.
    smoothing_window : int
        Average each score with its neighbours, so many in all, before the best is chosen.
    strict : bool
        As for `load_checkpoint`.

    Returns
    -------
    LoadedCheckpoint
        What was loaded; its `path` says from where.

    Raises
    ------
    CheckpointNotFoundError
        No scores were logged, or the file of the best epoch is gone.
    CheckpointError
        The logs do not tell which epoch was the best, an argument is wrong, or as for `load_checkpoint`.
    MissingExtraError
        tensorboard is not installed.
    """
    path = best_checkpoint(logs_save_path, model_save_path, low_is_best, smoothing_window)
    return load_checkpoint(path, model=model, strict=strict)


def best_checkpoint(
    logs_save_path: str | PathLike[str],
    model_save_path: str | PathLike[str],
    low_is_best: bool = True,
    smoothing_window: int = 1,
) -> Path:
    """Find the checkpoint of the epoch with the best validation score; see `load_best_val`."""
    template = fspath(model_save_path)
    if EPOCH not in template:
        raise CheckpointError(f"model_save_path={template!r} has no {{epoch}} in it")
    available = _files_by_epoch(template)
    scores = scores_by_epoch(Path(logs_save_path), available)
    best = list(scores)[best_index(list(scores.values()), low_is_best, smoothing_window)]
    if best not in available:
        what = "the network before training" if best == 0 else f"epoch {best}"
        raise CheckpointNotFoundError(
            f"{what} validated best, but there is no checkpoint {template.replace(EPOCH, str(best))}; "
            f"there are epochs {sorted(available)}"
        )
    return available[best]


def best_index(scores: Sequence[float], low_is_best: bool = True, smoothing_window: int = 1) -> int:
    """Index of the best score; the first of equal ones. NaN is never the best.

    Parameters
    ----------
    scores : sequence of float
        Scores in the order of epochs.
    low_is_best : bool
        Whether the lowest is the best, or the highest.
    smoothing_window : int
        Each score is replaced by the mean of so many around it; beyond the ends, the first and the last score go on,
        as in the challenge's toolbox.

    Raises
    ------
    CheckpointError
        There is no score that is a number, or the window is not positive.

    Examples
    --------
    >>> best_index([0.5, 0.1, 0.6, 0.2, 0.2, 0.3])
    1
    >>> best_index([0.5, 0.1, 0.6, 0.2, 0.2, 0.3], smoothing_window=3)
    4
    """
    if smoothing_window < 1:
        raise CheckpointError(f"smoothing_window={smoothing_window} must be at least 1")
    before, after = smoothing_window // 2, (smoothing_window - 1) // 2
    ranked = []
    for index, score in enumerate(scores):
        if not math.isnan(score):
            around = (min(max(near, 0), len(scores) - 1) for near in range(index - before, index + after + 1))
            window = [scores[near] for near in around if not math.isnan(scores[near])]
            mean = math.fsum(window) / len(window)
            ranked.append((mean if low_is_best else -mean, index))
    if not ranked:
        raise CheckpointError("there is no validation score that is a number")
    return min(ranked)[1]


def _latest(files: list[Path]) -> Path:
    numbered = [(match[1], int(match[2]), path) for path in files if (match := re.match(r"(.*?)(\d+)$", path.stem))]
    if len(numbered) == len(files) and len({(name, path.parent) for name, _, path in numbered}) == 1:
        return max(numbered)[2]
    return max(files, key=lambda path: path.stat().st_mtime_ns)


def _files_by_epoch(template: str) -> dict[int, Path]:
    """Checkpoints by their epoch, the number in the place of ``{epoch}``."""
    pattern = re.compile(re.escape(template).replace(re.escape(EPOCH), r"(\d+)", 1).replace(re.escape(EPOCH), r"\1"))
    names = glob.glob(glob.escape(template).replace(glob.escape(EPOCH), "*"))  # noqa: PTH207 - see load_latest
    matches = [(pattern.fullmatch(name), Path(name)) for name in names]
    return {int(match[1]): path for match, path in matches if match and path.is_file()}
