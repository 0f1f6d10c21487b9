"""What was looked at, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    state : {"ok", "note", "missing"}
        ``missing``: needed, and not there, or not as it has to be; ``note``: somebody may want to know it.
    said : str
        What there is, for people.
    remedy : str
        What to do, the command first; "" where there is nothing to do.
    details : mapping
        What there is, for programs.
    """

    name: str
    state: Literal["ok", "note", "missing"] = "ok"
    said: str
    remedy: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
