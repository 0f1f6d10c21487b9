"""Lists of steps as settings have them: names, or mappings of a name and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from csc_data.challenge.classes.settings import name_problems
from csc_data.config.settings import Earlier
from csc_data.errors import Problem, ProblemsError, did_you_mean
from csc_submit.steps.declared import STEPS, Components, Hierarchy, MutexWatershed, Own, Step, Union

StepList = Sequence[str | Mapping[str, Any] | Step]


def read_step(given: str | Mapping[str, Any] | Step) -> Step:
    """Make a step of its name, or of a mapping with its ``name`` and parameters.

    Raises
    ------
    ProblemsError
        If there is no such step, or a parameter is wrong.

    Examples
    --------
    >>> read_step({"name": "opening", "radius_nm": 8.0}).halo((8.0, 8.0, 8.0))
    (4, 4, 4)
    """
    if isinstance(given, Step):
        return given
    parameters: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given)
    name = str(parameters.pop("name", None))
    if name not in STEPS:
        hint = did_you_mean(name, STEPS, f"known are {', '.join(STEPS)}")
        raise ProblemsError("steps", [Problem(where="", what=f"there is no step {name!r}", remedy=hint)])
    return STEPS[name](**parameters)


def step_problems(given: Any, earlier: Earlier) -> Iterable[Problem]:
    """Yield what is wrong with the setting ``steps``: a list for all classes, or a mapping from classes to lists.

    Examples
    --------
    >>> [str(problem) for problem in step_problems(["threshold", "openning"], {})]
    ["1: there is no step 'openning' (did you mean opening?)"]
    """
    if given is None:
        return
    if isinstance(given, Mapping):
        for name, entries in given.items():
            yield from (found.within(str(name)) for found in name_problems([name], earlier))
            yield from _list_problems(entries, f"{name}.", earlier)
    else:
        yield from _list_problems(given, "", earlier)


def _list_problems(given: Any, prefix: str, earlier: Earlier) -> Iterable[Problem]:
    where = prefix.rstrip(".")
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        yield Problem(where=where, what="must be a list of steps", remedy='such as ["threshold", "components"]')
        return
    masked = numbered = False
    for number, entry in enumerate(given):
        place = f"{prefix}{number}"
        if not isinstance(entry, str | Mapping | Step):
            yield Problem(where=place, what=f"must be a name or a mapping with a name, got {entry!r}")
            return
        try:
            step = read_step(entry)
        except ProblemsError as error:
            yield from (problem.within(place) for problem in error.problems)
            return
        for field, names in step.named.items():
            yield from (found.within(f"{place}.{field}") for found in name_problems(names, earlier))
        name = next(known for known, cls in STEPS.items() if isinstance(step, cls))
        if isinstance(step, Own) and isinstance(entry, Mapping) and len(entry) > 1:
            remedy = "set process_halo, process_classes and process_parameters"
            yield Problem(where=place, what=f"{name} takes nothing in a list", remedy=remedy)
        if not step.takes_values and not masked:
            yield Problem(where=place, what=f"{name} needs a mask", remedy='put "threshold" before it')
            return
        if step.takes_values and masked:
            yield Problem(where=place, what=f"{name} comes after the threshold", remedy="put it before")
        if isinstance(step, Union | Hierarchy) and numbered:
            yield Problem(where=place, what=f"{name} comes after objects are numbered", remedy="put it before")
        masked |= name == "threshold"
        numbered |= isinstance(step, Components | MutexWatershed) or step.scope == "watershed"
    if not masked:
        yield Problem(where=where, what="there is no threshold", remedy='add "threshold"')
