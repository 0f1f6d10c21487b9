"""What was tuned as a section of an experiment file: settings, and why each is as it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from csc_data.fingerprint import Choice
from csc_submit.processing.own_function import own_step
from csc_submit.settings import ProcessSettings
from csc_submit.tuning.results import TunedClass, TuneResult
from csc_submit.tuning.space import OWN, STEPS_OF, plain_step

BY_CLASS = ("threshold", "smoothing_nm", "opening_nm", "fill_holes", "min_voxels", "min_size_nm3")
_OWN = ("process_func", "process_parameters")


def describe_settings(result: TuneResult) -> tuple[tuple[str, tuple[Choice, ...]], ...]:
    """Return headings, and the settings below them: what holds for all classes, then class by class.

    Settings are named as TOML names an entry of a table, ``threshold.mito``.
    """
    settings, defaults = result.settings, ProcessSettings()
    general = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name not in ("class_table", *BY_CLASS, "steps", *_OWN) and value != getattr(defaults, field.name):
            general.append(Choice(name=field.name, value=_plain(value), reason=""))
    general += _own_settings(settings)
    tuned = {entry.class_name: entry for entry in result.classes}
    named = settings.classes or tuple(settings.class_table)
    sections = [("All classes", tuple(general))] if general else []
    for name in named:
        entry = tuned.get(name)
        choices = tuple(_choices(settings, name, entry))
        if choices or entry is not None:
            sections.append((f"{name}: {_heading(entry)}", choices))
    return tuple(sections)


def _own_settings(settings: ProcessSettings) -> list[Choice]:
    """Return what says which ``process_func`` it is, and its arguments that are alike for all classes."""
    own = own_step(settings)
    if own is None:
        return []
    found = [] if own.file is None else [Choice(name="process_func", value=own.file.as_posix(), reason="")]
    alike = {name: value for name, value in settings.process_parameters.items() if not isinstance(value, Mapping)}
    return [*found, *(Choice(name=f"{OWN}{name}", value=value, reason="") for name, value in alike.items())]


def _heading(entry: TunedClass | None) -> str:
    if entry is None:
        return "as before"
    score = "" if math.isnan(entry.score) else f"scored {100 * entry.score:.1f} of 100 before"
    if entry.changes:
        return f"{score}; {entry.gain}"
    tried = "" if entry.gain is None else f" ({entry.gain})"
    return "; ".join(part for part in (score, f"as before, {entry.reason}{tried}") if part)


def _choices(settings: ProcessSettings, name: str, entry: TunedClass | None) -> list[Choice]:
    """Return the settings of one class, those left out that are as always."""
    gains = {} if entry is None else entry.gains
    changes = () if entry is None else entry.changes
    reasons = {
        parameter: f"was {_number(entry.before[parameter])}; {gains[parameter]}"
        for parameter in changes
        if entry is not None and parameter in gains
    }
    choices = []
    for setting in BY_CLASS:
        value, default = getattr(settings.for_class(name), setting), getattr(ProcessSettings(), setting)
        if value != default or setting in reasons:
            choices.append(Choice(name=f"{setting}.{name}", value=value, reason=reasons.get(setting, "")))
    for argument, value in settings.process_parameters.items():
        if isinstance(value, Mapping) and name in value:
            reason = reasons.get(f"{OWN}{argument}", "")
            choices.append(Choice(name=f"{OWN}{argument}.{name}", value=value[name], reason=reason))
    listed = settings.step_list(name)
    if listed is not None:
        said = [f"{place} {text}" for place, text in reasons.items() if place.startswith(STEPS_OF)]
        choices.append(
            Choice(name=f"steps.{name}", value=[plain_step(step) for step in listed], reason=", ".join(said))
        )
    return choices


def _number(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _plain(value: Any) -> Any:
    """Return a value as TOML has it."""
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
