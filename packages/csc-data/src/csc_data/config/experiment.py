"""The experiment file: one place for the settings of training, predicting and post-processing.

A Python file whose top-level names are the settings, or a TOML file with the same names. Each package owns a class of
the settings that it understands (`csc_data.config.settings`) and takes those from the file; `build_settings` reports
everything that is wrong at once, misspelt names included. Packages announce their classes as entry points of the group
``csc.settings``, so that a name that belongs to another package is not taken for a misspelling.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import sys
import tomllib
import types
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from csc_data.config.user_config import Config, load_config
from csc_data.errors import InvalidArgumentError, MissingDataError, Problem, ProblemsError, nearest

SettingsT = TypeVar("SettingsT")

MODULE_NAME = "csc_experiment"
"""`__name__` while an experiment file is read, so that ``if __name__ == "__main__"`` blocks stay quiet."""

_being_read: ContextVar[Path | None] = ContextVar("_being_read", default=None)

_neighbours: dict[str, str] = {}  # modules that experiment files imported from their own folders, and these

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
    used : frozenset of str
        Names that the file itself makes use of.
    """

    path: Path
    names: Mapping[str, Any]
    exact: bool
    used: frozenset[str] = frozenset()


def read_experiment(path: str | Path) -> Experiment:
    r"""Read an experiment file.

    A Python file is run, once, with ``__name__`` set to ``csc_experiment``; what its code raises is not caught.

    Raises
    ------
    MissingDataError
        If there is no such file.
    ProblemsError
        If it is not valid Python or TOML, or ends the program.
    InvalidArgumentError
        If its name ends in neither ``.py`` nor ``.toml``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data import read_experiment
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "experiment.py")
    ...     _ = file.write_text("batch_size = 2 * 4\nclasses = ['nuc', 'mito']\n")
    ...     experiment = read_experiment(file)
    ...     print(experiment.names["batch_size"], experiment.names["classes"])
    8 ['nuc', 'mito']
    """
    file = Path(path)
    if not file.is_file():
        raise MissingDataError(f"there is no experiment file {file}")
    if file.suffix == ".toml":
        try:
            return Experiment(path=file, names=tomllib.loads(file.read_text(encoding="utf-8")), exact=True)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProblemsError(str(file), [Problem(where="file", what=f"is not valid TOML: {error}")]) from error
    if file.suffix != ".py":
        raise InvalidArgumentError(f"{file}: an experiment file is a .py or a .toml file")
    try:
        # Bytes, for the file may declare its encoding; and it does not inherit this module's __future__ imports.
        tree = ast.parse(file.read_bytes(), str(file))
        code = compile(tree, str(file), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise ProblemsError(str(file), [Problem(where=f"line {error.lineno}", what=error.msg)]) from error
    return Experiment(path=file, names=_run(file, code), exact=False, used=_used(tree))


def _used(tree: ast.Module) -> frozenset[str]:
    loaded = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return frozenset(node.id for node in loaded)


def _run(file: Path, code: types.CodeType) -> dict[str, Any]:
    folder = str(file.resolve().parent)
    module = types.ModuleType(MODULE_NAME)
    module.__file__ = str(file)
    # As if it were the package that its folder is: `from .model import Net` finds its neighbour.
    module.__package__, module.__path__ = MODULE_NAME, [folder]
    # Dataclasses look up the module that they are defined in, and so does pickle in forked workers.
    outer = sys.modules.get(MODULE_NAME) if _being_read.get() is not None else None
    sys.modules[MODULE_NAME] = module
    _forget_others(folder)
    sys.path.insert(0, folder)  # as for a script, whose neighbours can be imported
    token, before = _being_read.set(file.resolve()), {*sys.modules}
    try:
        exec(code, module.__dict__)  # noqa: S102  # running the user's own file is what this is for
    except SystemExit as error:
        problem = Problem(
            where="file", what="ends the program while it is read", remedy='put that below if __name__ == "__main__":'
        )
        raise ProblemsError(str(file), [problem]) from error
    finally:
        _being_read.reset(token)
        _note_neighbours(folder, before)
        if outer is not None:  # a file that reads another one is itself again
            sys.modules[MODULE_NAME] = outer
        if folder in sys.path:
            sys.path.remove(folder)
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }


def _forget_others(folder: str) -> None:
    """Forget the neighbours of other experiments: those of this one may have the same names, such as `model`."""
    for name in [name for name, home in _neighbours.items() if home != folder]:
        sys.modules.pop(name, None)
        del _neighbours[name]


def _note_neighbours(folder: str, before: set[str]) -> None:
    """Note which modules were imported from beside an experiment file, or from packages beside it."""
    for name in sys.modules.keys() - before:
        file = getattr(sys.modules[name], "__file__", None)
        top = Path(folder, *name.removeprefix(f"{MODULE_NAME}.").split(".")[:1])
        if file and (Path(file) == top.with_suffix(".py") or top in Path(file).parents):
            _neighbours[name] = folder


class LoadedConfig(types.SimpleNamespace):
    """The names of an experiment file as attributes, as the official toolbox hands them out.

    Examples
    --------
    >>> config = LoadedConfig(batch_size=8)
    >>> config.batch_size, config.get("epochs", 100), config.to_dict()
    (8, 100, {'batch_size': 8})
    """

    def get(self, key: str, default: Any = None) -> Any:
        """Return a name's value, or the default where there is no such name."""
        return getattr(self, key, default)

    def to_dict(self) -> dict[str, Any]:
        """Return all names and values."""
        return dict(vars(self))


def load_safe_config(config_path: str | os.PathLike[str], force_safe: bool = False) -> LoadedConfig:
    r"""Read an experiment file, as the official toolbox's function of this name does.

    Parameters
    ----------
    config_path : path-like
        A ``.py`` file, which is run, or a ``.toml`` file.
    force_safe : bool
        There is no way to run Python safely: True takes TOML alone.

    Raises
    ------
    InvalidArgumentError
        If it is a Python file and must not be.
    MissingDataError, ProblemsError
        As `read_experiment`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "experiment.py")
    ...     _ = file.write_text("batch_size = 2 * 4\n")
    ...     load_safe_config(file).batch_size
    8
    """
    if force_safe and Path(config_path).suffix == ".py":
        raise InvalidArgumentError(f"{config_path} is a program, which cannot be run safely; write it as TOML")
    return LoadedConfig(**read_experiment(Path(config_path)).names)


def experiment_config(experiment: Experiment, config: Config | None = None) -> Config:
    """Return the configuration for an experiment: what it makes lies in its own folder, if it has one.

    That is its ``base_experiment_path``; one that the configuration was asked for comes before it.
    """
    base = experiment.names.get("base_experiment_path")
    folder = Path(base).expanduser().absolute() if isinstance(base, str | os.PathLike) else None
    return (config or load_config()).of_experiment(folder)


def is_being_read(path: str | Path) -> bool:
    """Tell whether this experiment file is being run by `read_experiment` right now.

    A file that ends in ``train(__file__)`` calls back while it is read; that inner call must do nothing.

    Examples
    --------
    >>> is_being_read("experiment.py")
    False
    """
    return _being_read.get() == Path(path).resolve()


def build_settings(
    experiment: Experiment, cls: type[SettingsT], *, defaults: Mapping[str, Any] | None = None, **overrides: Any
) -> SettingsT:
    """Take the settings that a dataclass declares from an experiment.

    Parameters
    ----------
    experiment : Experiment
        From `read_experiment`.
    cls : type
        A class made by `csc_data.config.settings.settings`.
    defaults : mapping, optional
        Settings that hold where the experiment says nothing, for example those of the data folder.
    **overrides : object
        Settings given elsewhere, for example by options of a command; None leaves the file's value.

    Raises
    ------
    ProblemsError
        With everything that is wrong: types, ranges, missing and misspelt names.

    Examples
    --------
    >>> from pathlib import Path
    >>> from csc_data.config.settings import setting, settings
    >>> @settings
    ... class Walk:
    ...     steps: int = setting("How many steps.", default=10)
    >>> build_settings(Experiment(path=Path("walk.toml"), names={"steps": 20}, exact=True), Walk).steps
    20
    >>> build_settings(Experiment(path=Path("walk.toml"), names={"stesp": 20}, exact=True), Walk)
    Traceback (most recent call last):
        ...
    csc_data.errors.ProblemsError: walk.toml: stesp: there is no such setting (did you mean steps?)
    """
    own = _names_of(cls)
    values = {name: value for name, value in {**(defaults or {}), **experiment.names}.items() if name in own}
    values.update({name: value for name, value in overrides.items() if value is not None})
    problems = _stray_names(experiment, own)
    try:
        settings = cls(**values)
    except ProblemsError as error:
        problems += error.problems
    if problems:
        raise ProblemsError(str(experiment.path), problems)
    return settings


def adjust_settings(settings: SettingsT, **overrides: Any) -> SettingsT:
    """Return settings with some of them given anew; None leaves what is there.

    Raises
    ------
    ProblemsError
        With everything that is wrong.

    Examples
    --------
    >>> from csc_data.config.settings import setting, settings
    >>> @settings
    ... class Walk:
    ...     steps: int = setting("How many steps.", default=10)
    ...     pause: float = setting("How long to rest.", default=1.0)
    >>> adjust_settings(Walk(steps=20), steps=None, pause=0.5)
    Walk(steps=20, pause=0.5)
    """
    given: Any = settings  # of a class made by `csc_data.config.settings.settings`
    adjusted: SettingsT = dataclasses.replace(
        given, **{n: value for n, value in overrides.items() if value is not None}
    )
    return adjusted


def _stray_names(experiment: Experiment, own: set[str]) -> list[Problem]:
    known = own.union(*(_names_of(cls) for cls in announced_settings().values()))
    problems = []
    for name, value in experiment.names.items():
        if name in known or isinstance(value, type):
            continue
        near = nearest(name, sorted(known), _NEAR)
        if near and near not in experiment.names:
            remedy = f"did you mean {near}?"
        elif experiment.exact:
            remedy = "remove it"
        else:
            continue
        problems.append(Problem(where=name, what="there is no such setting", remedy=remedy))
    return problems


def idle_names(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield names of values that are settings of no stage, and that the file does not use, each with a line about it.

    Misspelt names are errors of `build_settings`; functions and classes are taken for helpers.

    Examples
    --------
    >>> from pathlib import Path
    >>> list(idle_names(Experiment(path=Path("a.py"), names={"batch_size": 8, "bach": 1}, exact=False)))
    [('bach', 'bach is not a setting, and nothing in the file uses it: it has no effect')]
    """
    known = set[str]().union(*(_names_of(cls) for cls in announced_settings().values()))
    for name, value in experiment.names.items():
        if name not in known | experiment.used and not callable(value):
            yield name, f"{name} is not a setting, and nothing in the file uses it: it has no effect"


def _names_of(cls: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def announced_settings() -> dict[str, type[Any]]:
    """Return the classes of settings of all packages that are installed, by the names of their stages.

    Examples
    --------
    >>> sorted(announced_settings())
    ['predict', 'pretrain', 'process', 'train']
    """
    return {entry.name: entry.load() for entry in metadata.entry_points(group="csc.settings")}
