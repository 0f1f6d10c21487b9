"""What a part may take, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds and bytes, about, that a part may take."""

    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a part found: words for people, numbers for programs; ``measured`` is False where it could not be tried."""

    part: str
    said: str
    measured: bool = True
    details: Mapping[str, object] = field(default_factory=dict)
