"""One checkpoint from several: an ensemble of their networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from csc_models.checkpoint.agreement import check_agreement
from csc_models.checkpoint.contents import described
from csc_models.checkpoint.loading import LoadedCheckpoint, load_checkpoint
from csc_models.checkpoint.saving import save_checkpoint
from csc_models.checkpoint.weights import LeftOut
from csc_models.ensemble import Ensemble, MeanOf
from csc_models.errors import CheckpointError

_SAME = ("classes", "input_arrays", "target_arrays", "raw_range", "values")


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
    """
    if not paths:
        raise CheckpointError("there are no checkpoints to join to an ensemble")
    target = None if out is None else Path(out)
    if target is not None and target.resolve() in [Path(path).resolve() for path in paths]:
        raise CheckpointError(f"{target} is one of the checkpoints of the ensemble; give another name for the result")
    members = [load_checkpoint(path, raw_range=raw_range) for path in paths]
    for member in members[1:]:
        first = members[0]
        check_agreement((first.path, first.description), (member.path, member.description), _SAME)
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
