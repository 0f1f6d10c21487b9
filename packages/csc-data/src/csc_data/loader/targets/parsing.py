"""The targets of a training run: understood from experiment files, computed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from csc_data.errors import InvalidArgumentError, Problem, ProblemsError, did_you_mean
from csc_data.geometry import Shape
from csc_data.loader.targets.affinities import AffinityTarget
from csc_data.loader.targets.distances import crop
from csc_data.loader.targets.kind import BinaryTarget, Ids, Target, TargetKind
from csc_data.loader.targets.surfaces import BoundaryTarget, SignedDistanceTarget
from csc_data.volumes.annotation_values import Codes

SUBJECT = "targets"
DEFAULT_NAME = "output"

_ALL: tuple[type[TargetKind], ...] = (BinaryTarget, SignedDistanceTarget, BoundaryTarget, AffinityTarget)
_KINDS = {kind.kind: kind for kind in _ALL}


def parse_targets(value: Any) -> dict[str, TargetKind]:
    """Understand which targets an experiment file asks for.

    ``{"output": "binary", "distance": {"kind": "signed_distance", "scale_nm": 50}}``: names, which become keys of
    batches, and for each the name of a kind, a kind with its options, or a `TargetKind`. A kind by itself becomes
    ``output``; None is ``{"output": "binary"}``.

    Raises
    ------
    ProblemsError
        With every unknown kind and wrong option.

    Examples
    --------
    >>> parse_targets({"output": "binary", "edges": {"kind": "boundaries", "width_nm": 8}})["edges"]
    BoundaryTarget(width_nm=8.0, in_plane=False)
    """
    if value is None:
        return {DEFAULT_NAME: BinaryTarget()}
    if isinstance(value, str | TargetKind) or (isinstance(value, Mapping) and "kind" in value):
        value = {DEFAULT_NAME: value}
    if not isinstance(value, Mapping) or not value:
        remedy = f'such as {{"{DEFAULT_NAME}": "binary"}}; kinds are {", ".join(_KINDS)}'
        problem = Problem(where="", what=f"expected a mapping of names to kinds, got {value!r}", remedy=remedy)
        raise ProblemsError(SUBJECT, [problem])
    problems: list[Problem] = []
    found: dict[str, TargetKind] = {}
    for name, entry in value.items():
        if not isinstance(name, str) or not name or name == "input":
            what = f"{name!r} cannot name a target"
            problems.append(Problem(where=str(name), what=what, remedy="names are text, and input is that of raw"))
            continue
        target = _parse_kind(name, entry, problems)
        if target is not None:
            found[name] = target
    if problems:
        raise ProblemsError(SUBJECT, problems)
    return found


def _parse_kind(name: str, entry: Any, problems: list[Problem]) -> TargetKind | None:
    if isinstance(entry, TargetKind):
        return entry
    options = {"kind": entry} if isinstance(entry, str) else entry
    if not isinstance(options, Mapping) or not isinstance(options.get("kind"), str):
        remedy = f"kinds are {', '.join(_KINDS)}"
        problems.append(Problem(where=name, what=f"expected a kind of target, got {entry!r}", remedy=remedy))
    elif options["kind"] not in _KINDS:
        what = f"there is no kind of target {options['kind']!r}"
        problems.append(Problem(where=name, what=what, remedy=did_you_mean(options["kind"], _KINDS)))
    else:
        try:
            return _KINDS[options["kind"]](**{str(key): given for key, given in options.items() if key != "kind"})
        except ProblemsError as error:
            problems += [problem.within(name) for problem in error.problems]
    return None


def common_margin(targets: Mapping[str, TargetKind], voxel_size: Sequence[float]) -> Shape:
    """Return the margin, in voxels on either side of z, y, x, that is enough for all targets.

    Examples
    --------
    >>> common_margin(parse_targets("binary"), (8, 8, 8))
    (0, 0, 0)
    """
    margins = [target.margin(voxel_size) for target in targets.values()]
    z, y, x = (max((margin[axis] for margin in margins), default=0) for axis in range(3))
    return z, y, x


def compute_targets(
    targets: Mapping[str, TargetKind],
    codes: Codes,
    ids: Ids | None,
    voxel_size: Sequence[float],
    *,
    out: Mapping[str, Target] | None = None,
) -> dict[str, Target]:
    """Compute several targets of one patch from what is known on one grid.

    Parameters
    ----------
    targets : mapping
        From `parse_targets`.
    codes, ids
        As for `TargetKind.compute`, with the margin that all targets have in common (`common_margin`).
    voxel_size : sequence of float
        nm, z, y, x.
    out : mapping, optional
        Where to write each target.

    Returns
    -------
    dict
        For each name float32 (K, z, y, x).

    Raises
    ------
    InvalidArgumentError
        If nothing is left between the margins.

    Examples
    --------
    >>> codes = np.array([[[[1, 0, 2]]]], np.uint8)  # present, absent, unknown
    >>> compute_targets(parse_targets("binary"), codes, None, (8, 8, 8))["output"].tolist()
    [[[[1.0, 0.0, nan]]]]
    """
    largest = common_margin(targets, voxel_size)
    if any(n <= 2 * m for n, m in zip(codes.shape[1:], largest, strict=True)):
        raise InvalidArgumentError(f"targets need a margin of {largest} voxels, got codes of shape {codes.shape}")
    made = {}
    for name, target in targets.items():
        surplus = np.subtract(largest, target.margin(voxel_size)).tolist()
        part = None if ids is None else crop(ids, surplus)
        made[name] = target.compute(crop(codes, surplus), part, voxel_size, out=None if out is None else out[name])
    return made
