"""Errors in a person's own code, such as an experiment file: told by their lines, without ours."""

from __future__ import annotations

import traceback
from pathlib import Path

from csc_cli.official_imports import OFFICIAL, answers

_OURS = ("csc_cli", "csc_data", "csc_eval", "csc_models", "csc_submit", "csc_train")
_EXPERIMENT = "csc_experiment"  # csc_data.config.experiment.MODULE_NAME, which is not imported before it is needed


def told_by_their_lines(error: BaseException) -> str | None:
    """Return what to say of an error that a person's own code raised; None where it was not theirs.

    It is theirs where, below their file, none of our code was running.

    Examples
    --------
    >>> told_by_their_lines(ValueError("not of an experiment")) is None
    True
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in frames]
    begin = next((number for number, name in enumerate(modules) if name == _EXPERIMENT), None)
    if begin is None or any(name.partition(".")[0] in _OURS for name in modules[begin:]):
        return None
    file = Path(frames[begin][0].f_code.co_filename)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == OFFICIAL:
        lines = "\n".join(f"  {line}" for line in answers(file))
        return f"{file} imports the official toolbox, which is not installed; here these are:\n{lines}"
    theirs = [entry for entry in traceback.extract_tb(error.__traceback__)[begin:] if _is_beside(entry.filename, file)]
    lines = "\n".join(f"  {Path(entry.filename).name}, line {entry.lineno}: {entry.line}" for entry in theirs)
    said = "".join(traceback.format_exception_only(error)).strip()
    return f"{file} raised {said}\n{lines}"


def _is_beside(name: str, file: Path) -> bool:
    """Tell whether a line is of the person's file or of another one in its folder, and not of a library below it."""
    return file.resolve().parent in Path(name).resolve().parents and "site-packages" not in Path(name).parts
