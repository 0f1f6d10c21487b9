"""Whether checkpoints belong together: the same classes, arrays and raw range."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from csc_models.checkpoint.contents import CheckpointDescription
from csc_models.errors import CheckpointError

_WORDS = {
    "model_name": "the network",
    "model_arguments": "its arguments",
    "classes": "classes",
    "input_arrays": "input_arrays",
    "target_arrays": "target_arrays",
    "raw_range": "raw_range",
}
# Arguments that change how a network computes, and not what.
_WITHOUT_EFFECT = ("gradient_checkpointing",)


def check_agreement(
    first: tuple[Path, CheckpointDescription], other: tuple[Path, CheckpointDescription], fields: Sequence[str]
) -> None:
    """Check that two checkpoints say the same in some fields of their descriptions.

    Raises
    ------
    CheckpointError
        With everything that differs.
    """
    (first_path, one), (other_path, two) = first, other
    one_plain, two_plain = one.to_plain(), two.to_plain()
    for plain in (one_plain, two_plain):
        for name in _WITHOUT_EFFECT:
            plain["model_arguments"].pop(name, None)
    different = [
        f"{_WORDS[name]} ({one_plain[name]!r} and {two_plain[name]!r})"
        for name in fields
        if one_plain[name] != two_plain[name]
    ]
    if different:
        raise CheckpointError(
            f"{first_path} and {other_path} do not go together: they differ in {', '.join(different)}"
        )
