"""What tuning found, for people and for an experiment file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from csc_submit.settings import ProcessSettings
from csc_submit.tuning.choosing import Gain
from csc_submit.tuning.space import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedClass:
    """What became of a class.

    Attributes
    ----------
    class_name : str
    score : float
        Of the experiment's own values, pooled over the crops that validate; NaN where it was not scored.
    gain : Gain or None
        What the values that were found gain on crops that they were not chosen on; None where nothing was tried.
    before, after : mapping
        Parameters, and what they were and are; alike where the experiment's values stay.
    gains : mapping of str to Gain
        What each parameter that changes gains by itself, held out.
    blocks : bool
        Whether blocks of crops were left out, as few crops hold the class.
    points : int
        How many combinations of values were scored.
    reason : str
        Why nothing changes, "" where something does.
    """

    class_name: str
    score: float
    gain: Gain | None
    before: Mapping[str, Value]
    after: Mapping[str, Value]
    gains: Mapping[str, Gain]
    points: int
    blocks: bool
    reason: str

    @property
    def changes(self) -> tuple[str, ...]:
        """The parameters that have another value."""
        return tuple(name for name, value in self.after.items() if value != self.before[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneResult:
    """What `csc_submit.tune` found.

    Attributes
    ----------
    settings : ProcessSettings
        The experiment's, with the values that were found.
    classes : tuple of TunedClass
    remarks : tuple of str
        What else should be known.
    rules : str
        By which it was scored.
    """

    settings: ProcessSettings
    classes: tuple[TunedClass, ...]
    remarks: tuple[str, ...]
    rules: str

    @property
    def changed(self) -> tuple[TunedClass, ...]:
        """The classes that have another value."""
        return tuple(entry for entry in self.classes if entry.changes)
