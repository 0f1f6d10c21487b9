"""Post-processing that suits what is annotated: where to cut probabilities, and how small an object may be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from csc_data.fingerprint import Choice, ClassFacts
from csc_data.geometry import Triple

_SHARE_OF_A_SMALL_OBJECT = 0.25  # an object that a crop's border cuts in two still stays
_SHARE_OF_A_LARGE_OBJECT = 0.05  # one in twenty of some classes is a crumb, which no network finds
_DIGITS = 2


def suggest_processing(classes: Sequence[ClassFacts], voxel_size: Triple) -> tuple[Choice, ...]:
    """Return settings of post-processing for classes.

    Small objects are removed of instance classes alone: there each false object costs as much as a true one, while in
    others specks hardly count. A network that is unsure misses the outermost voxels of what it finds, which is most of
    an object of a few voxels: sizes are those of what then is left. Whatever is common in the crops together, nine of
    ten objects of each crop stay.

    Parameters
    ----------
    classes : sequence of ClassFacts
    voxel_size : tuple of float
        Of predictions, nm, z, y, x.

    Examples
    --------
    >>> [(choice.name, choice.value) for choice in suggest_processing([], (8.0, 8.0, 8.0))]
    [('threshold', 0.5)]
    """
    choices = [
        Choice(name="threshold", value=0.5, reason="a half is what was trained; raise it where there is too much")
    ]
    sizes, words = {}, []
    for facts in classes:
        if not facts.instance or facts.diameter_nm is None or facts.bulk_nm is None:
            continue
        volume = _least_volume(facts, facts.diameter_nm.p5, facts.bulk_nm, voxel_size)
        if volume >= math.prod(voxel_size):  # below that there is nothing to remove
            sizes[facts.name] = _rounded(volume)
            words.append(f"{facts.name} {facts.diameter_nm.p5:.0f} and {facts.bulk_nm:.0f} nm")
    if sizes:
        reason = (
            "a quarter of a small object's volume (one in twenty is smaller), or a twentieth of a large one's "
            "(half of the class is in larger ones), where that is more, each without its outermost voxels, but less "
            f"than nine of ten objects of each crop; their diameters: {', '.join(words)}"
        )
        choices.append(Choice(name="min_size_nm3", value=sizes, reason=reason))
    return tuple(choices)


def _least_volume(facts: ClassFacts, small: float, large: float, voxel_size: Triple) -> float:
    """Return the volume in nm^3 from which on an object is one."""

    def core(diameter: float) -> float:
        return _ball(max(0.0, diameter - 2 * math.prod(voxel_size) ** (1 / 3)))

    volume = max(_SHARE_OF_A_SMALL_OBJECT * core(small), _SHARE_OF_A_LARGE_OBJECT * core(large))
    return volume if facts.small_nm is None else min(volume, core(facts.small_nm))


def _ball(diameter: float) -> float:
    return math.pi / 6 * diameter**3


def _rounded(value: float) -> float:
    """Round to digits that a person reads."""
    return float(f"{value:.{_DIGITS}g}")
