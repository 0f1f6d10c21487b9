"""How shells ask for completions: click's way, mended where bash and fish divide words."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    add_completion_class,
    get_completion_class,
)

VARIABLE = "_CSC_COMPLETE"
"""By which shells ask."""


class _Bash(BashComplete):
    """Bash ends words at "=", and would put a space behind NAME=."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", "COMPREPLY+=($value)\n            [[ $value == *= ]] && compopt -o nospace"
    )
    typed = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Put words together again that stood on both sides of "="."""
        args, incomplete = super().get_completion_args()
        joined: list[str] = []
        for word in (*args, incomplete):
            if joined and (word == "=" or joined[-1].endswith("=")):
                joined[-1] += word
            else:
                joined.append(word)
        name, equals, _ = joined[-1].rpartition("=")
        self.typed = name + equals
        return joined[:-1], joined[-1]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Write what follows what bash takes for the last word."""
        item.value = item.value.removeprefix(self.typed)
        return super().format_completion(item)


class _Fish(FishComplete):
    """Names that are separated by commas are one value."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')


for _shell in (_Bash, _Fish):
    add_completion_class(_shell)


def completion_script(cli: click.Command, shell: str) -> str:
    """Return what a shell has to run once to complete ``csc``."""
    found = get_completion_class(shell)
    assert found is not None
    return found(cli, {}, "csc", VARIABLE).source()
