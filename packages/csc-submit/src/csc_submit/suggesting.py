"""Post-processing that suits what is annotated: where to cut probabilities, and how small an object may be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from csc_data.challenge import get_instance_classes
from csc_data.fingerprint import Choice, ClassFacts

_SHARE_OF_A_SMALL_OBJECT = 0.25  # an object that a crop's border cuts in two still stays
_SHARE_OF_A_LARGE_OBJECT = 0.05  # one in twenty of some classes is a crumb, which no network finds
_DIGITS = 2


def suggest_processing(classes: Sequence[ClassFacts]) -> tuple[Choice, ...]:
    """Return settings of post-processing for classes.

    Small objects are removed of instance classes alone: there each false object costs as much as a true one, while in
    others specks hardly count.

    Parameters
    ----------
    classes : sequence of ClassFacts
    """
    choices = [
        Choice(name="threshold", value=0.5, reason="a half is what was trained; raise it where there is too much")
    ]
    sizes, words = {}, []
    for facts in classes:
        if facts.name in get_instance_classes() and facts.diameter_nm is not None and facts.bulk_nm is not None:
            small, large = facts.diameter_nm.p5, facts.bulk_nm
            volume = max(_SHARE_OF_A_SMALL_OBJECT * _ball(small), _SHARE_OF_A_LARGE_OBJECT * _ball(large))
            sizes[facts.name] = _rounded(volume)
            words.append(f"{facts.name} {small:.0f} and {large:.0f} nm")
    if sizes:
        reason = (
            "a quarter of a small object's volume (one in twenty is smaller), or a twentieth of a large one's "
            f"(half of the class is in larger ones), where that is more; their diameters: {', '.join(words)}"
        )
        choices.append(Choice(name="min_size_nm3", value=sizes, reason=reason))
    return tuple(choices)


def _ball(diameter: float) -> float:
    return math.pi / 6 * diameter**3


def _rounded(value: float) -> float:
    """Round to digits that a person reads."""
    return float(f"{value:.{_DIGITS}g}")
