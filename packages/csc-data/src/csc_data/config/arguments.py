"""Arguments that stages take besides settings: in the official toolbox's words, in ours, or in both."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from csc_data.config.templates import anchor, placeholder_names
from csc_data.errors import InvalidArgumentError


def said_once(what: str, ours: Any, theirs: Any) -> Any:
    """Return what was said in our words or in theirs; None where it was not.

    Raises
    ------
    InvalidArgumentError
        If both were, and differ.

    Examples
    --------
    >>> said_once("the batch size", None, 4)
    4
    >>> said_once("the batch size", 2, 4)
    Traceback (most recent call last):
        ...
    csc_data.errors.InvalidArgumentError: the batch size is said twice: 2 and 4
    """
    if ours is not None and theirs is not None and ours != theirs:
        raise InvalidArgumentError(f"{what} is said twice: {ours} and {theirs}")
    return theirs if ours is None else ours


def split_names(names: Sequence[str] | str | None) -> Sequence[str] | None:
    """Return names as they are, or split at commas.

    >>> split_names("557, 558")
    ['557', '558']
    """
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else names


def place_template(option: str, path: str | os.PathLike[str], *, labels: bool = False) -> str:
    """Return a path that was given, seen from the working folder, as a template of data sets and crops.

    Parameters
    ----------
    option : str
        What it is called in errors.
    path : path-like
    labels : bool
        Whether it may say where classes lie, too, as ``{label}`` or ``{class_name}``.

    Raises
    ------
    InvalidArgumentError
        If it holds other placeholders.

    Examples
    --------
    >>> place_template("--raw", "/data/{sample}.zarr")
    Traceback (most recent call last):
        ...
    csc_data.errors.InvalidArgumentError: --raw may hold {dataset} and {crop}, not sample: /data/{sample}.zarr
    """
    place = anchor(Path.cwd().as_posix(), str(Path(path).expanduser()))
    known, said = {"dataset", "crop"}, "{dataset} and {crop}"
    if labels:
        place = place.replace("{label}", "{class_name}")
        known, said = {*known, "class_name"}, "{dataset}, {crop} and {label}"
    unknown = placeholder_names(place) - known
    if unknown:
        raise InvalidArgumentError(f"{option} may hold {said}, not {', '.join(sorted(unknown))}: {path}")
    return place
