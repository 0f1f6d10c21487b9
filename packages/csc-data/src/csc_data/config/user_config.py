"""The user's configuration: where data lies, how paths are made, which bucket is asked.

A setting is taken from the call (or the command's option), else from the environment (``CSC_DATA`` for ``data``), else
from a TOML file in the user's configuration folder, else its default holds. Nothing is read at import.
"""

from __future__ import annotations

import os
import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import platformdirs
import tomli_w

from csc_data.config.templates import anchor, fill, match, placeholder_names
from csc_data.errors import InvalidArgumentError, MissingDataError, Problem, ProblemsError, did_you_mean
from csc_data.storage.atomic import replace_text
from csc_data.storage.paths import is_remote

ENVIRONMENT = {"data": "CSC_DATA"}
"""Settings that an environment variable overrides."""

OF_EXPERIMENTS = frozenset({"predictions", "processed", "submission", "results"})
"""Path templates that are below the folder of an experiment, where it has one."""

_FOLDERS = ("data", "experiments")
_PLACEHOLDERS = {
    "raw": {"dataset"},
    "labels": {"dataset", "crop", "class_name"},
    "predictions": {"dataset", "crop", "class_name"},
    "processed": {"dataset", "crop", "class_name"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration in force.

    Path templates are relative to ``data``, or absolute; ``{dataset}`` is a name like ``jrc_hela-2``, ``{crop}`` one
    like ``crop234``, ``{class_name}`` one like ``mito``. Forward slashes work on every system. ``experiment`` is the
    folder of the one that is worked on, if it has its own: what it makes (`OF_EXPERIMENTS`) is relative to that. It is
    said by each call, and not stored.
    """

    data: str = "data"
    experiments: str = "experiments"
    raw: str = "{dataset}/{dataset}.zarr/recon-1/em/fibsem-uint8"
    labels: str = "{dataset}/{dataset}.zarr/recon-1/labels/groundtruth/{crop}/{class_name}"
    predictions: str = "predictions/{dataset}.zarr/{crop}/{class_name}"
    processed: str = "processed/{dataset}.zarr/{crop}/{class_name}"
    submission: str = "submission.zarr"
    results: str = "results"
    ground_truth: str = "ground_truth.zarr"
    datasplit: str = "datasplit.csv"
    bucket: str = "janelia-cosem-datasets"
    endpoint: str = ""
    experiment: str = ""

    @property
    def root(self) -> Path:
        """The data folder as a path, `~` expanded."""
        return Path(self.data).expanduser()

    def folder(self, name: str) -> Path:
        """Return the folder that a path template is relative to.

        Examples
        --------
        >>> config = Config(data="d", experiment="experiments/first")
        >>> config.folder("raw").as_posix(), config.folder("predictions").as_posix()
        ('d', 'experiments/first')
        """
        return Path(self.experiment).expanduser() if self.experiment and name in OF_EXPERIMENTS else self.root

    def of_experiment(self, folder: str | os.PathLike[str] | None) -> Config:
        """Return the configuration for an experiment with a folder of its own; the same where one is chosen, or none.

        Examples
        --------
        >>> Config().of_experiment("first").path("submission").as_posix()
        'first/submission.zarr'
        """
        return self if self.experiment or folder is None else replace(self, experiment=os.fspath(folder))

    def experiment_folder(self, name: str | os.PathLike[str]) -> Path:
        """Return the folder of an experiment, there or not: below ``experiments``, or where a path leads.

        Examples
        --------
        >>> Config(experiments="e").experiment_folder("first").as_posix(), Config().experiment_folder("./first").name
        ('e/first', 'first')
        """
        text = os.fspath(name).replace("\\", "/")
        place, below = Path(text).expanduser(), Path(self.experiments).expanduser() / text
        return place if "/" in text or text in (".", "..") or (place.is_dir() and not below.is_dir()) else below

    def experiment_names(self) -> list[str]:
        """Return the names of the folders below ``experiments``.

        Examples
        --------
        >>> Config(experiments="no such folder").experiment_names()
        []
        """
        folder = Path(self.experiments).expanduser()
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []

    def choose_experiment(self, name: str | os.PathLike[str]) -> Config:
        """Return the configuration for an experiment that is there, from its name or its path.

        Raises
        ------
        MissingDataError
            If it is not there.
        """
        return self.of_experiment(self.find_experiment(name).absolute())

    def find_experiment(self, name: str | os.PathLike[str]) -> Path:
        """Return the folder of an experiment that is there, from its name or its path.

        Raises
        ------
        MissingDataError
            If it is not there.
        """
        folder = self.experiment_folder(name)
        if folder.is_dir():
            return folder
        close = did_you_mean(folder.name, self.experiment_names(), "`csc list` shows those there are;")
        raise MissingDataError(f"there is no experiment {folder}; {close} `csc new-experiment` makes one")

    def path(self, name: str, **values: str) -> Path:
        """Fill a path template and return the path, below its `folder` unless it is absolute.

        Parameters
        ----------
        name : str
            Which template: ``raw``, ``labels``, ``predictions``, ``processed``, ``submission``, ``results``,
            ``ground_truth`` or ``datasplit``.
        **values : str
            Its placeholders.

        Raises
        ------
        InvalidArgumentError
            If a placeholder has no value.

        Examples
        --------
        >>> Config(data="d").path("predictions", dataset="x", crop="crop1", class_name="er").as_posix()
        'd/predictions/x.zarr/crop1/er'
        """
        template: str = getattr(self, name)
        missing = placeholder_names(template) - values.keys()
        if missing:
            raise InvalidArgumentError(f"the path of {name} needs {', '.join(sorted(missing))}")
        return Path(anchor(self.folder(name).as_posix(), fill(template, values)))

    def placeholders(self, name: str, path: Path) -> dict[str, str] | None:
        """Find the placeholders of a path template again in a path.

        Returns
        -------
        dict or None
            None if the path does not follow the template.

        Examples
        --------
        >>> Config(data="d").placeholders("raw", Path("d/x/x.zarr/recon-1/em/fibsem-uint8"))
        {'dataset': 'x'}
        >>> Config(data="d").placeholders("raw", Path("d/x/y.zarr/recon-1/em/fibsem-uint8"))
        """
        template: str = getattr(self, name)
        folder = self.folder(name)
        is_relative = anchor("", template) != template.replace("\\", "/")
        place = path.relative_to(folder) if is_relative and path.is_relative_to(folder) else path
        return match(template, place.as_posix())


def config_path() -> Path:
    """Return where the user's configuration file is, or would be."""
    return Path(platformdirs.user_config_path("csc", appauthor=False)) / "config.toml"


def load_config(
    *, data: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None, file: Path | None = None
) -> Config:
    """Return the configuration in force.

    Parameters
    ----------
    data : path-like, optional
        The data folder, when the caller knows it.
    environ : mapping, optional
        The environment; that of the process by default.
    file : Path, optional
        The configuration file; the user's by default.

    Raises
    ------
    ProblemsError
        If the configuration file is damaged or holds settings that do not exist.

    Examples
    --------
    >>> from csc_data import load_config
    >>> config = load_config(data="mine", environ={})
    >>> config.root.name
    'mine'
    >>> config.path("raw", dataset="jrc_hela-2").as_posix()
    'mine/jrc_hela-2/jrc_hela-2.zarr/recon-1/em/fibsem-uint8'
    """
    values = read_config_file(file or config_path())
    env = os.environ if environ is None else environ
    values.update({name: env[variable] for name, variable in ENVIRONMENT.items() if env.get(variable)})
    if data is not None:
        values["data"] = os.fspath(data)
    return Config(**values)


def choose_endpoint(path: str | os.PathLike[str], endpoint: str | None = None) -> str | None:
    """Return the address of the S3 service for a path: the one given, else the configured one; None for local paths.

    Examples
    --------
    >>> choose_endpoint("s3://bucket/a.zarr", "http://localhost:9000")
    'http://localhost:9000'
    >>> choose_endpoint("data/a.zarr") is None
    True
    """
    return endpoint or (load_config().endpoint or None if is_remote(path) else None)


def config_origins(*, data: str | None = None, environ: Mapping[str, str] | None = None) -> dict[str, tuple[str, str]]:
    """Return each setting's value and where it comes from, for people to read.

    Examples
    --------
    >>> config_origins(data="mine", environ={})["data"]
    ('mine', '--data')
    """
    env = os.environ if environ is None else environ
    stored = read_config_file(config_path())
    config = load_config(data=data, environ=env)
    origins = {}
    for name in _stored_names():
        if name == "data" and data is not None:
            origin = "--data"
        elif name in ENVIRONMENT and env.get(ENVIRONMENT[name]):
            origin = ENVIRONMENT[name]
        else:
            origin = "config file" if name in stored else "default"
        origins[name] = (str(getattr(config, name)), origin)
    return origins


def read_config_file(file: Path) -> dict[str, str]:
    """Return what a configuration file holds; an absent file holds nothing.

    Raises
    ------
    ProblemsError
        If it is not TOML, or has names or values that do not fit.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = store_choice("endpoint", "http://localhost:9000", Path(folder, "config.toml"))
    ...     read_config_file(file)
    {'endpoint': 'http://localhost:9000'}
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProblemsError(
            str(file), [Problem(where="file", what=f"is not valid TOML: {error}", remedy="edit or delete it")]
        ) from error
    problems = [problem for name, value in values.items() if (problem := _check(name, value))]
    if problems:
        raise ProblemsError(f"{file} (edit or delete it)", problems)
    return values


def store_choice(name: str, value: str, file: Path | None = None) -> Path:
    r"""Store a setting in the user's configuration file and return that file.

    Raises
    ------
    ProblemsError
        If there is no such setting, or the value does not fit it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store_choice("endpoint", "http://localhost:9000", Path(folder, "config.toml")).read_text()
    'endpoint = "http://localhost:9000"\n'
    """
    place = file or config_path()
    problem = _check(name, value)
    if problem:
        raise ProblemsError("configuration", [problem])
    values = read_config_file(place)
    # A relative folder would mean another place in each working directory.
    values[name] = str(Path(value).expanduser().absolute()) if name in _FOLDERS else value
    replace_text(place, tomli_w.dumps(values))
    return place


def forget_choice(name: str, file: Path | None = None) -> bool:
    """Remove a setting from the user's configuration file, and return whether it was there.

    Raises
    ------
    ProblemsError
        If there is no such setting.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = store_choice("endpoint", "http://localhost:9000", Path(folder, "config.toml"))
    ...     forget_choice("endpoint", file), forget_choice("endpoint", file)
    (True, False)
    """
    place = file or config_path()
    if name not in (names := _stored_names()):
        raise ProblemsError("configuration", [_no_such(name, names)])
    values = read_config_file(place)
    if values.pop(name, None) is None:
        return False
    replace_text(place, tomli_w.dumps(values))
    return True


def _no_such(name: str, names: Sequence[str]) -> Problem:
    return Problem(where=name, what="there is no such setting", remedy=did_you_mean(name, names))


def _stored_names() -> list[str]:
    return [field.name for field in fields(Config) if field.name != "experiment"]


def _check(name: str, value: object) -> Problem | None:
    names = _stored_names()
    if name not in names:
        return _no_such(name, names)
    if not isinstance(value, str):
        return Problem(where=name, what=f"must be text, got {value!r}")
    if name in _FOLDERS and not value:
        return Problem(where=name, what="is empty", remedy="give a folder")
    if name == "endpoint" and value and not re.fullmatch(r"https?://[^\s/]+/?", value):
        return Problem(where=name, what=f"{value!r} is not an address", remedy="such as https://s3.example.org:9000")
    if name == "bucket" and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", value):
        return Problem(where=name, what=f"{value!r} is not the name of a bucket")
    wanted = _PLACEHOLDERS.get(name)
    if wanted is None:
        return None
    try:
        found = {field for _, field, _, _ in string.Formatter().parse(value) if field is not None}
    except ValueError as error:
        return Problem(where=name, what=f"{value!r} is not a path template: {error}")
    if found != wanted:
        expected = " ".join(f"{{{field}}}" for field in sorted(wanted))
        return Problem(where=name, what=f"{value!r} must hold {expected}", remedy="and no other placeholder")
    return None
