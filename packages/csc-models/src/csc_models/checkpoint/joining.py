"""One checkpoint from several: the mean of their weights, or an ensemble of their networks.

Sources of averaging: Izmailov et al., Averaging weights leads to wider optima and better generalization, 2018,
https://arxiv.org/abs/1803.05407; Wortsman et al., Model soups, 2022, https://arxiv.org/abs/2203.05482
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from csc_models.checkpoint.contents import CheckpointDescription, described
from csc_models.checkpoint.loading import LoadedCheckpoint, load_checkpoint
from csc_models.checkpoint.reading import StoredCheckpoint, read_checkpoint
from csc_models.checkpoint.saving import save_checkpoint, write_checkpoint
from csc_models.checkpoint.state_dicts import LeftOut
from csc_models.ensemble import Ensemble, MeanOf, normalised_weights
from csc_models.errors import CheckpointError, CheckpointMismatchError

_WORDS = {"model_name": "the network", "model_arguments": "its arguments"}
# What the networks of an ensemble have in common, and what the files of one network have.
_SAME_TASK = ("classes", "input_arrays", "target_arrays", "raw_range", "values", "outputs")
_SAME_NETWORK = ("model_name", "model_arguments", *_SAME_TASK)
# Arguments that change how a network computes, and not what.
_WITHOUT_EFFECT = ("gradient_checkpointing",)
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
    files, target = _paths(paths, out)
    shares = normalised_weights(weights, len(files))
    first: StoredCheckpoint | None = None
    sums: dict[str, Tensor] = {}
    for file, share in zip(files, shares, strict=True):
        stored = read_checkpoint(file)
        if first is None:
            first = stored
        else:
            _check_agreement((first.path, first.description), (file, stored.description), _SAME_NETWORK)
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


def ensemble_checkpoints(
    paths: Sequence[str | PathLike[str]],
    out: str | PathLike[str] | None = None,
    *,
    mean_of: MeanOf = "sigmoid",
    weights: Sequence[float] | None = None,
    raw_range: tuple[float, float] | None = None,
) -> LoadedCheckpoint:
    """Join the networks of several checkpoints to an ensemble, in one self-describing checkpoint if asked.

    Parameters
    ----------
    paths : sequence of path
        Checkpoints whose networks are in the catalogue; the networks may differ, the classes, arrays and raw range not.
    out : path, optional
        Where to save the ensemble; `load_checkpoint` reads it like the checkpoint of one network.
    mean_of, weights
        As for `Ensemble`.
    raw_range : tuple of float, optional
        As for `load_checkpoint`.

    Returns
    -------
    LoadedCheckpoint
        The ensemble, in evaluation mode; its `extra` names the files.

    Raises
    ------
    CheckpointError
        No paths, checkpoints that do not go together, an `out` that is one of them, or as for `load_checkpoint`.
    ModelArgumentError
        As for `Ensemble`.

    Examples
    --------
    >>> import tempfile
    >>> from csc_models import create_model
    >>> from csc_models.checkpoint import ensemble_checkpoints, save_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for number in range(2):
    ...         network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
    ...         save_checkpoint(f"{folder}/{number}.pth", network)
    ...     joined = ensemble_checkpoints([f"{folder}/0.pth", f"{folder}/1.pth"])
    >>> type(joined.model).__name__, joined.model.weights
    ('Ensemble', (0.5, 0.5))
    """
    files, target = _paths(paths, out)
    members = [load_checkpoint(file, raw_range=raw_range) for file in files]
    for member in members[1:]:
        first = members[0]
        _check_agreement((first.path, first.description), (member.path, member.description), _SAME_TASK)
    if members[0].description.values == "exclusive" and mean_of != "logits":
        raise CheckpointError(
            f"the classes of {members[0].path} exclude each other: no logits have the mean of their probabilities; "
            "take mean_of='logits', or let prediction average the checkpoints"
        )
    model = Ensemble([member.model for member in members], mean_of=mean_of, weights=weights).eval()
    bare = replace(members[0].description, model_name=None, model_arguments={})
    extra = {"ensemble": {"files": [member.path.name for member in members], "weights": list(model.weights)}}
    if target is not None:
        save_checkpoint(target, model, description=bare, extra=extra)
    return LoadedCheckpoint(
        path=target or members[0].path,
        model=model,
        description=described(bare, model),
        extra=extra,
        left_out=LeftOut(),
        origin="csc-models",
        notes=tuple(dict.fromkeys(note for member in members for note in member.notes)),
    )


def _paths(paths: Sequence[str | PathLike[str]], out: str | PathLike[str] | None) -> tuple[list[Path], Path | None]:
    """Return the files to join and the one to write, which is not one of them."""
    files = [Path(path) for path in paths]
    if not files:
        raise CheckpointError("there are no checkpoints to join")
    target = None if out is None else Path(out)
    if target is not None and target.resolve() in [file.resolve() for file in files]:
        raise CheckpointError(f"{target} is one of the checkpoints to join; give another name for the result")
    return files, target


def _check_agreement(
    first: tuple[Path, CheckpointDescription], other: tuple[Path, CheckpointDescription], fields: Sequence[str]
) -> None:
    """Check that two checkpoints say the same in some fields of their descriptions.

    Raises
    ------
    CheckpointError
        With everything that differs.
    """
    (first_path, one), (other_path, two) = first, other
    one_plain, two_plain = one.to_plain(), two.to_plain()
    for plain in (one_plain, two_plain):
        for name in _WITHOUT_EFFECT:
            plain["model_arguments"].pop(name, None)
    different = [
        f"{_WORDS.get(name, name)} ({one_plain[name]!r} and {two_plain[name]!r})"
        for name in fields
        if one_plain[name] != two_plain[name]
    ]
    if different:
        raise CheckpointError(
            f"{first_path} and {other_path} do not go together: they differ in {', '.join(different)}"
        )


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
