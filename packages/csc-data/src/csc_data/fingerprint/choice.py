"""A setting that was chosen from what data is like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A setting of an experiment, and why it is as it is.

    Attributes
    ----------
    name : str
        Name of the setting.
    value : object
        As it stands in an experiment file in TOML.
    reason : str
        For a person who reads that file; may be empty.
    """

    name: str
    value: Any
    reason: str
