"""What `process` may be called with beside settings: ours, and the official toolbox's arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from csc_data.blocks import Existing
from csc_data.challenge.classes.settings import defaults_of
from csc_data.challenge.current_lists import load_test_crops
from csc_data.config.arguments import place_template, said_once, split_names
from csc_data.config.experiment import (
    Experiment,
    adjust_settings,
    build_settings,
    experiment_config,
    read_experiment,
)
from csc_data.config.experiment import load_safe_config as load_safe_config  # scripts import it with `process`
from csc_data.config.templates import placeholder_names
from csc_data.config.user_config import Config, load_config
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_submit.predictions import StoredPrediction, check_network, find_predictions
from csc_submit.processing.own_function import own_step, with_experiment, with_own_file
from csc_submit.settings import ProcessOverrides, ProcessSettings
from csc_submit.workers import Workers, WorkOptions, take_workers

Source = str | os.PathLike[str] | Experiment | ProcessSettings


class ProcessOptions(ProcessOverrides, WorkOptions, total=False):
    """Keywords of `process`: settings, and where there is worked, with those of `WorkOptions`.

    Attributes
    ----------
    device : str
        Where the tensors of a ``process_func`` lie that takes some.
    config_path, input_path, output_path, overwrite
        As in the official toolbox: the experiment; where predictions lie and results go, with {dataset} and {crop};
        ``existing="overwrite"``.
    """

    device: str | None
    config_path: str | os.PathLike[str] | None
    input_path: str | os.PathLike[str] | None
    output_path: str | os.PathLike[str] | None
    overwrite: bool | None


@dataclass(frozen=True, kw_only=True)
class ProcessCall:
    """A call of `process`, its two ways of saying things brought together.

    Attributes
    ----------
    settings : ProcessSettings
    config : Config
        With the places of predictions and results.
    crops : sequence of str, or None
    existing : {"resume", "refuse", "overwrite"}
    workers : Workers
    names : mapping
        What the experiment's file says, if predictions are to be its own.
    """

    settings: ProcessSettings
    config: Config
    crops: Sequence[str] | None
    existing: Existing
    workers: Workers
    names: Mapping[str, Any]

    def find_predictions(self) -> tuple[StoredPrediction, ...]:
        """Return the predictions of the crops; of "test" those that there are.

        Raises
        ------
        MissingDataError
            If there are none, or a crop that was named was not predicted.
        ExistingOutputError
            If they are those of another experiment.
        """
        found = self._wanted()
        check_network(found, self.names)
        return found

    def _wanted(self) -> tuple[StoredPrediction, ...]:
        if self.crops is None or list(self.crops) != ["test"]:
            return find_predictions(self.config, self.crops)
        tested = {f"crop{number}" for number in load_test_crops(self.config)}
        found = tuple(p for p in find_predictions(self.config) if p.crop in tested)
        if not found:
            raise MissingDataError("no test crop was predicted; `csc predict CONFIG -c test` predicts them")
        return found


def read_call(
    source: Source | None,
    crops: Sequence[str] | str | None,
    config: Config | None,
    existing: Existing | None,
    options: Mapping[str, Any],
) -> ProcessCall:
    """Bring the arguments of `process` together.

    Raises
    ------
    InvalidArgumentError
        If two of them contradict each other, or there is no experiment.
    ProblemsError
        If settings are wrong.

    Examples
    --------
    >>> from csc_data import load_config
    >>> from csc_submit import ProcessSettings
    >>> call = read_call(ProcessSettings(), "557,558", load_config(environ={}), None, {"overwrite": True})
    >>> call.crops, call.existing
    (['557', '558'], 'overwrite')
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    chosen = said_once("an experiment", source, given.pop("config_path", None))
    if chosen is None:
        raise InvalidArgumentError("name an experiment file, or give ProcessSettings")
    overwrite = given.pop("overwrite", None)
    how: Existing | None = said_once("existing", existing, "overwrite" if overwrite else None)
    if not isinstance(chosen, ProcessSettings | Experiment):
        chosen = read_experiment(Path(chosen))
    base = config or load_config()
    if isinstance(chosen, Experiment):
        base = experiment_config(chosen, base)
    own = isinstance(chosen, Experiment) and "input_path" not in given
    for name, option in (("predictions", "input_path"), ("processed", "output_path")):
        base = _with_path(base, name, option, given.pop(option, None))
    workers = take_workers(given)
    settings = as_process_settings(chosen, base, device=given.pop("device", None), **given)
    names = split_names(crops)
    return ProcessCall(
        settings=settings,
        config=base,
        crops=None if names is None or list(names) == ["*"] else names,  # None: all that were predicted
        existing=how or settings.existing,
        workers=workers,
        names=chosen.names if own else {},
    )


def as_process_settings(
    given: Source, config: Config | None = None, *, device: str | None = None, **overrides: Any
) -> ProcessSettings:
    """Return checked settings from an experiment file or from settings made in code.

    Parameters
    ----------
    given : path, Experiment or ProcessSettings
    config : Config, optional
        Whose data folder may bring classes of its own; the user's by default.
    device : str, optional
        Where the tensors of a ``process_func`` lie that takes some.
    **overrides : object
        Settings that go before those of the experiment; None leaves them.

    Raises
    ------
    ProblemsError
        With everything that is wrong.

    Examples
    --------
    >>> from csc_submit import ProcessSettings
    >>> as_process_settings(ProcessSettings(), threshold=0.7).threshold
    0.7
    """
    if isinstance(given, ProcessSettings):
        adjusted = with_own_file(adjust_settings(given, **overrides), Path(), device)
        own_step(adjusted)  # so that what is wrong with it is said here
        return adjusted
    experiment = given if isinstance(given, Experiment) else read_experiment(Path(given))
    settings = build_settings(experiment, ProcessSettings, defaults=defaults_of(config or load_config()), **overrides)
    return with_experiment(settings, experiment, device)


def _with_path(config: Config, name: str, option: str, path: str | os.PathLike[str] | None) -> Config:
    if path is None:
        return config
    place = place_template(option, path, labels=True)
    if not {"dataset", "crop"} <= placeholder_names(place):
        raise InvalidArgumentError(f"{option} must hold {{dataset}} and {{crop}}, which tell crops apart: {path}")
    if "{class_name}" not in place:
        place = f"{place.rstrip('/')}/{{class_name}}"
    changes: dict[str, Any] = {name: place}
    return replace(config, **changes)
