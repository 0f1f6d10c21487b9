"""The experiment file: one place for the settings of training, predicting and post-processing.

A Python file whose top-level names are the settings, or a TOML file with the same names. Each package owns a dataclass
of the settings that it understands and takes those from the file; `build_settings` reports everything that is wrong
at once, misspelt names included. Packages announce their dataclasses as entry points of the group ``csc.settings``, so
that a name that belongs to another package is not taken for a misspelling.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import tomllib
import types
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from csc_data.config.typed import build_dataclass
from csc_data.errors import InvalidArgumentError, MissingDataError, Problem, ProblemsError

SettingsT = TypeVar("SettingsT")

MODULE_NAME = "csc_experiment"
"""`__name__` while an experiment file is read, so that ``if __name__ == "__main__"`` blocks stay quiet."""

_being_read: ContextVar[Path | None] = ContextVar("_being_read", default=None)

_NEAR = 0.8  # difflib ratio from which an unknown name counts as a misspelling; `epoch` to `epochs` has 0.91


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What an experiment file says.

    Attributes
    ----------
    path : Path
        The file.
    names : mapping
        Its top-level names, without private ones and modules.
    exact : bool
        Whether every name must be a setting (TOML), or helpers may stand beside them (Python).
    """

    path: Path
    names: Mapping[str, Any]
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDescription:
    """One row of a settings reference."""

    name: str
    type: str
    default: str
    doc: str


def setting(
    default: Any = dataclasses.MISSING,
    *,
    doc: str,
    factory: Any = dataclasses.MISSING,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Declare a field of a settings dataclass: its default, its limits, and what it is for."""
    limits = {"minimum": minimum, "above": above, "maximum": maximum}
    data = {"doc": doc, **{name: limit for name, limit in limits.items() if limit is not None}}
    if factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=factory, metadata=data)
    return dataclasses.field(default=default, metadata=data)


def read_experiment(path: str | Path) -> Experiment:
    """Read an experiment file.

    A Python file is run, once, with ``__name__`` set to ``csc_experiment``; what its code raises is not caught.

    Raises
    ------
    MissingDataError
        If there is no such file.
    ProblemsError
        If it is no valid Python or TOML.
    InvalidArgumentError
        If its name ends in neither ``.py`` nor ``.toml``.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingDataError(f"there is no experiment file {file}")
    if file.suffix == ".toml":
        try:
            return Experiment(path=file, names=tomllib.loads(file.read_text(encoding="utf-8")), exact=True)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProblemsError(str(file), [Problem(where="file", what=f"is no valid TOML: {error}")]) from error
    if file.suffix != ".py":
        raise InvalidArgumentError(f"{file}: an experiment file is a .py or a .toml file")
    return Experiment(path=file, names=_run(file), exact=False)


def _run(file: Path) -> dict[str, Any]:
    try:
        # Bytes, for the file may declare its encoding; and it does not inherit this module's __future__ imports.
        code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise ProblemsError(str(file), [Problem(where=f"line {error.lineno}", what=error.msg)]) from error
    module = types.ModuleType(MODULE_NAME)
    module.__file__ = str(file)
    # Dataclasses look up the module that they are defined in, and so does pickle in forked workers.
    sys.modules[MODULE_NAME] = module
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)  # as for a script, whose neighbours can be imported
    token = _being_read.set(file.resolve())
    try:
        exec(code, module.__dict__)  # noqa: S102  # running the user's own file is what this is for
    finally:
        _being_read.reset(token)
        if folder in sys.path:
            sys.path.remove(folder)
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }


def is_being_read(path: str | Path) -> bool:
    """Tell whether this experiment file is being run by `read_experiment` right now.

    A file that ends in ``train(__file__)`` calls back while it is read; that inner call must do nothing.
    """
    return _being_read.get() == Path(path).resolve()


def build_settings(experiment: Experiment, cls: type[SettingsT], **overrides: Any) -> SettingsT:
    """Take the settings that a dataclass declares from an experiment.

    Parameters
    ----------
    experiment : Experiment
        From `read_experiment`.
    cls : type
        A dataclass; its fields are the settings.
    **overrides : object
        Settings given elsewhere, for example by options of a command; None leaves the file's value.

    Raises
    ------
    ProblemsError
        With everything that is wrong: types, ranges, missing and misspelt names.
    """
    own = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = {name: value for name, value in experiment.names.items() if name in own}
    values.update({name: value for name, value in overrides.items() if value is not None})
    settings, problems = build_dataclass(cls, values)
    problems = [*_stray_names(experiment, own), *problems]
    if problems:
        raise ProblemsError(str(experiment.path), problems)
    result: SettingsT = settings
    return result


def _stray_names(experiment: Experiment, own: set[str]) -> list[Problem]:
    known = own | _announced_names()
    problems = []
    for name, value in experiment.names.items():
        if name in known or isinstance(value, type):
            continue
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_NEAR)
        if near and near[0] not in experiment.names:
            problems.append(Problem(where=name, what="there is no such setting", remedy=f"did you mean {near[0]}?"))
        elif experiment.exact:
            problems.append(Problem(where=name, what="there is no such setting", remedy="remove it"))
    return problems


def _announced_names() -> set[str]:
    names: set[str] = set()
    for entry in metadata.entry_points(group="csc.settings"):
        names.update(field.name for field in dataclasses.fields(entry.load()))
    return names


def describe_settings(cls: type[Any]) -> tuple[SettingDescription, ...]:
    """Return a reference of the settings that a dataclass declares, in its order."""
    rows = []
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            default = repr(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = repr(field.default_factory())
        else:
            default = "(required)"
        kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
        rows.append(
            SettingDescription(name=field.name, type=kind, default=default, doc=str(field.metadata.get("doc", "")))
        )
    return tuple(rows)
