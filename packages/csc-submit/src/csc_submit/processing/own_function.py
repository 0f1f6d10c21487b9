"""Where the participant's own step comes from, and how it wants to be called: what settings and their file say."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from csc_data.config.experiment import Experiment, read_experiment
from csc_data.errors import Problem, ProblemsError, did_you_mean
from csc_submit.processing.own_step import OwnStep
from csc_submit.settings import ProcessForm, ProcessSettings, ProcessValues


def own_step(settings: ProcessSettings) -> OwnStep | None:
    """Return the own step of settings, if they have one.

    Examples
    --------
    >>> from csc_submit import ProcessSettings
    >>> own_step(ProcessSettings()) is None
    True
    >>> own_step(ProcessSettings(process_func=lambda values: values > 0.5)).form
    'block'
    """
    function: Any = settings.process_func
    if function is None or isinstance(function, OwnStep):
        return function
    if isinstance(function, str):
        return own_step(with_own_file(settings, Path(), None))
    form: ProcessForm = settings.process_form or "block"
    return _checked(OwnStep(function=function, form=form, values=_values(settings, form)), settings)


def with_experiment(settings: ProcessSettings, experiment: Experiment, device: str | None) -> ProcessSettings:
    """Return settings whose own step knows the experiment: whether that is an official one, flat, or with tensors.

    Parameters
    ----------
    settings : ProcessSettings
        Made of the experiment.
    experiment : Experiment
    device : str or None
        Where tensors are put; what the experiment says by default.
    """
    settings = with_own_file(settings, experiment.path.parent, device)
    function: Any = settings.process_func
    if function is None or experiment.names.get("process_func") is not function:
        return settings
    return _of_file(settings, experiment, device)


def with_own_file(settings: ProcessSettings, folder: Path, device: str | None) -> ProcessSettings:
    """Return settings with the own step of the Python file that they name, from a folder; others as they are.

    Raises
    ------
    ProblemsError
        If there is no such file, or no function in it.
    """
    function: Any = settings.process_func
    if not isinstance(function, str):
        return settings
    path = folder / function
    found = read_experiment(path) if path.suffix == ".py" and path.is_file() else None
    if found is None or not callable(found.names.get("process_func")):
        what = f"{path} is not a Python file with a function of that name"
        raise ProblemsError("process_func", [Problem(where="process_func", what=what, remedy="name one that is")])
    return _of_file(settings, found, device)


def _of_file(settings: ProcessSettings, experiment: Experiment, device: str | None) -> ProcessSettings:
    """Return settings with the own step of a file, which knows how the file wants it to be called."""
    names = experiment.names
    function = names["process_func"]
    form: ProcessForm = settings.process_form or ("official" if is_official(names) else "block")
    chosen = device if device is not None else names.get("device")
    step = OwnStep(
        function=function,
        form=form,
        values=_values(settings, form),
        flat=form == "official" and _is_flat(names),
        tensor=form == "official" and _knows_torch(function),
        device=None if chosen is None else str(chosen),
        file=experiment.path.resolve(),
    )
    made: Any = settings  # of a class made by `csc_data.config.settings.settings`
    replaced: ProcessSettings = replace(made, process_func=_checked(step, settings))
    return replaced


def _checked(step: OwnStep, settings: ProcessSettings) -> OwnStep:
    """Return a step whose function takes all parameters that the settings have for it.

    Raises
    ------
    ProblemsError
        If it does not.
    """
    taken = inspect.signature(step.function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return step
    known = [name for name, one in taken.items() if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)]
    problems = [
        Problem(
            where=f"{setting}.{name}",
            what="process_func has no such argument",
            remedy=did_you_mean(name, known[1:], "name one that it has"),
        )
        for setting in ("process_parameters", "process_ranges")
        for name in getattr(settings, setting)
        if name not in known[1:]
    ]
    if problems:
        raise ProblemsError("process_func", problems)
    return step


def is_official(names: Mapping[str, Any]) -> bool:
    """Tell whether an experiment is a processing config of the official toolbox.

    It loads its training config, or names the arrays of a network that it does not define.

    Examples
    --------
    >>> is_official({"load_safe_config": None}), is_official({"process_func": None})
    (True, False)
    """
    if "load_safe_config" in names:
        return True
    return "input_array_info" in names and not {"model", "model_name"} & names.keys()


def _values(settings: ProcessSettings, form: ProcessForm) -> ProcessValues:
    return settings.process_values or ("logit" if form == "official" else "probability")


def _is_flat(names: Mapping[str, Any]) -> bool:
    infos = [names.get("input_array_info"), names.get("target_array_info")]
    shapes = [info["shape"] if isinstance(info, Mapping) else getattr(info, "shape", ()) for info in infos if info]
    return any(len(shape) == 2 or 1 in shape for shape in shapes)


def _knows_torch(function: Callable[..., Any]) -> bool:
    """Tell whether the module that defines a function has imported torch, or something of it."""
    values = getattr(function, "__globals__", {}).values()
    homes = [getattr(value, "__name__" if inspect.ismodule(value) else "__module__", None) for value in values]
    return "torch" in sys.modules and any(str(home).partition(".")[0] == "torch" for home in homes)
