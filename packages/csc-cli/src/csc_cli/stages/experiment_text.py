"""An experiment file in TOML, with the reason of each choice as a comment."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from csc_data.fingerprint import Choice

_WIDTH = 110
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def experiment_text(title: Sequence[str], sections: Iterable[tuple[str, Sequence[Choice]]]) -> str:
    """Return the text of an experiment file.

    Parameters
    ----------
    title : sequence of str
        Paragraphs at its top.
    sections : iterable
        Headings and the settings below them. All are written as names of the top level, as stages share the file.
    """
    lines = [line for paragraph in title for line in _comment(paragraph)]
    for heading, choices in sections:
        lines += ["", *_comment(heading)]
        for choice in choices:
            lines += ["", *_comment(choice.reason)] if choice.reason else []
            lines += _setting(choice.name, choice.value)
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """Return a value of a setting as TOML writes it, on one line.

    >>> toml_value({"shape": [8, 8], "scale": 0.5, "name": "a"})
    '{ shape = [8, 8], scale = 0.5, name = "a" }'
    """
    if isinstance(value, Mapping):
        entries = (f"{_key(str(name))} = {toml_value(entry)}" for name, entry in value.items())
        return f"{{ {', '.join(entries)} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _setting(name: str, value: Any) -> list[str]:
    """Write a setting on one line, or an entry a line where that would be too long."""
    line = f"{name} = {toml_value(value)}"
    if len(line) <= _WIDTH or not isinstance(value, Mapping):
        return [line]
    return [row for entry, inner in value.items() for row in _setting(f"{name}.{_key(str(entry))}", inner)]


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name)


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]
