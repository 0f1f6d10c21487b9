"""Tables of a page, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell that holds more than a text.

    Attributes
    ----------
    text : str
    colour : str
        Of a dot before the text, as HTML writes it; "" for none.
    bar : float or None
        A bar from 0 to 1 behind the text.
    """

    text: str
    colour: str = ""
    bar: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; its first column stands to the left, and so do those that hold words.

    Attributes
    ----------
    header : sequence of str
    rows : sequence of sequence of str or Cell
    words : sequence of int
        Numbers of the columns that hold words, beside the first.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    words: Sequence[int] = field(default=())
