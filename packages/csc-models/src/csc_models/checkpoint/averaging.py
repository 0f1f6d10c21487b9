"""One network from several checkpoints of it: the mean of their weights.

Sources: Izmailov et al., Averaging weights leads to wider optima and better generalization, 2018,
https://arxiv.org/abs/1803.05407; Wortsman et al., Model soups, 2022, https://arxiv.org/abs/2203.05482
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from csc_models.checkpoint.agreement import check_agreement
from csc_models.checkpoint.reading import StoredCheckpoint, read_checkpoint
from csc_models.checkpoint.saving import write_checkpoint
from csc_models.ensemble import normalised_weights
from csc_models.errors import CheckpointError, CheckpointMismatchError

_SAME = ("model_name", "model_arguments", "classes", "input_arrays", "target_arrays", "raw_range", "values")
_STATISTICS = "running_mean"


def average_checkpoints(
    paths: Sequence[str | PathLike[str]],
    out: str | PathLike[str] | None = None,
    *,
    weights: Sequence[float] | None = None,
) -> StoredCheckpoint:
    """Average the weights of checkpoints of one network, such as the last epochs of a run.

    Floating-point values are summed in float64; integers (the counters of batch norm) are those of the last file. One
    file is in memory at a time, beside the sum.

    Parameters
    ----------
    paths : sequence of path
        Checkpoints of the same network with the same classes, arrays and raw range.
    out : path, optional
        Where to save the result, a ``.pth`` or ``.safetensors`` file with the description of the others.
    weights : sequence of float, optional
        Shares of the files, in any unit; equal if not given.

    Returns
    -------
    StoredCheckpoint
        `state` for `load_weights`; `extra` names the files and their shares. For a network with batch norm, `notes`
        says that means of running statistics are not the statistics of the mean: run
        ``torch.optim.swa_utils.update_bn`` over some training patches where it matters.

    Raises
    ------
    CheckpointNotFoundError, CheckpointReadError
        A file is not there, or not a checkpoint.
    CheckpointMismatchError
        Keys or shapes differ.
    CheckpointError
        Networks or what they were trained for differ, a value is not finite, no paths are given, or `out` is one of
        them.
    ModelArgumentError
        `weights` is not one positive number per file.

    Examples
    --------
    >>> averaged = average_checkpoints(["unet_8.pth", "unet_9.pth"], "unet_mean.pth")  # doctest: +SKIP
    """
    files = [Path(path) for path in paths]
    if not files:
        raise CheckpointError("there are no checkpoints to average")
    shares = normalised_weights(weights, len(files))
    target = None if out is None else Path(out)
    if target is not None and target.resolve() in [file.resolve() for file in files]:
        raise CheckpointError(f"{target} is one of the checkpoints to average; give another name for the result")

    first: StoredCheckpoint | None = None
    sums: dict[str, Tensor] = {}
    for file, share in zip(files, shares, strict=True):
        stored = read_checkpoint(file)
        if first is None:
            first = stored
        else:
            check_agreement((first.path, first.description), (file, stored.description), _SAME)
            _check_same_keys(stored, sums)
        _add(sums, stored, share)
        types = {key: values.dtype for key, values in stored.state.items()}
    assert first is not None
    state = {key: total.to(types[key]) for key, total in sums.items()}
    notes = first.notes + _notes(state)
    extra = {"averaged": {"files": [file.name for file in files], "weights": list(shares)}}
    if target is not None:
        write_checkpoint(target, state, first.description, extra)
    return StoredCheckpoint(
        path=target or first.path, state=state, description=first.description, extra=extra, origin=first.origin,
        notes=notes,
    )  # fmt: skip


def _add(sums: dict[str, Tensor], stored: StoredCheckpoint, share: float) -> None:
    for key, values in stored.state.items():
        if not (values.is_floating_point() or values.is_complex()):
            sums[key] = values
            continue
        if not values.isfinite().all():
            raise CheckpointError(f"{stored.path}: {key} has values that are not finite; its mean would have none")
        wide = values.to(torch.complex128 if values.is_complex() else torch.float64)
        if key in sums:
            sums[key].add_(wide, alpha=share)
        else:
            sums[key] = wide.mul_(share) if wide is not values else wide * share


def _check_same_keys(stored: StoredCheckpoint, sums: dict[str, Tensor]) -> None:
    reshaped = tuple(
        f"{key}: {tuple(stored.state[key].shape)} in the file, {tuple(sums[key].shape)} in the ones before"
        for key in sums
        if key in stored.state and stored.state[key].shape != sums[key].shape
    )
    missing = tuple(key for key in sums if key not in stored.state)
    surplus = tuple(key for key in stored.state if key not in sums)
    if missing or surplus or reshaped:
        raise CheckpointMismatchError(str(stored.path), missing, surplus, reshaped)


def _notes(state: dict[str, Tensor]) -> tuple[str, ...]:
    if not any(key.rsplit(".", 1)[-1] == _STATISTICS for key in state):
        return ()
    return (
        "the running statistics of batch norm were averaged like weights, which comes close where the checkpoints are "
        "of one run; torch.optim.swa_utils.update_bn computes them from training patches",
    )
