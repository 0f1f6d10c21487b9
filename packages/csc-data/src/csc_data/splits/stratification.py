"""Choosing validation crops so that every class is on both sides where that can be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def stratify(
    present: Sequence[set[str]], share: float, seed: int, fixed: Sequence[bool | None] | None = None
) -> list[bool]:
    """Choose validation crops so that every class is on both sides where it can be.

    First each class gets one validation crop, from the rarest to the commonest, by a search that goes back where a
    choice leaves another class without; then crops are added until the wished share is met. No class loses its last
    training crop, and among equal crops those come first that overshoot the wishes of other classes least. In spirit:
    iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011).

    Parameters
    ----------
    present : sequence of set of str
        The classes that each crop has.
    share : float
        Wished share of validation crops per class; at least one crop where a class has two or more, unless it is 0.
    seed : int
        Breaks ties.
    fixed : sequence of bool or None, optional
        Whether a crop must validate (True) or train (False); None leaves it free.

    Returns
    -------
    list of bool
        Whether each crop validates.

    Examples
    --------
    >>> crops = [{"mito"}, {"mito", "er"}, {"er"}, {"mito"}]
    >>> validates = stratify(crops, share=0.25, seed=0)
    >>> set().union(*(names for names, chosen in zip(crops, validates) if chosen)) == {"mito", "er"}
    True
    >>> set().union(*(names for names, chosen in zip(crops, validates) if not chosen)) == {"mito", "er"}
    True
    """
    order = np.random.default_rng(seed).permutation(len(present)).tolist()
    choice = _Choice(present, share, order, [None] * len(present) if fixed is None else list(fixed))
    _serve_each_class(choice)
    for name in choice.names:
        while choice.validating[name] < choice.wishes[name] and (candidates := choice.candidates(name)):
            choice.move(candidates[0], validates=True)
    return choice.validates


class _Choice:
    """A split in the making."""

    def __init__(self, present: Sequence[set[str]], share: float, order: list[int], fixed: list[bool | None]) -> None:
        counts: dict[str, int] = {}
        for names in present:
            for name in names:
                counts[name] = counts.get(name, 0) + 1
        self.present = present
        self.order = [i for i in order if fixed[i] is None]
        self.wishes = {n: max(1, round(share * count)) if count > 1 and share > 0 else 0 for n, count in counts.items()}
        self.training, self.validating = dict(counts), dict.fromkeys(counts, 0)
        self.validates = [False] * len(present)
        self.names = sorted(counts, key=lambda name: (counts[name], name))
        for crop, side in enumerate(fixed):
            if side:
                self.move(crop, validates=True)

    def move(self, crop: int, *, validates: bool) -> None:
        self.validates[crop] = validates
        step = 1 if validates else -1
        for name in self.present[crop]:
            self.training[name] -= step
            self.validating[name] += step

    def candidates(self, name: str) -> list[int]:
        """Return the training crops with a class that no class needs there, the best first."""
        free = [
            i
            for i in self.order
            if name in self.present[i] and not self.validates[i] and all(self.training[n] > 1 for n in self.present[i])
        ]
        # Sorting is stable: ties stay in the order of the seed.
        return sorted(free, key=lambda i: sum(max(0, self.validating[n] + 1 - self.wishes[n]) for n in self.present[i]))


_SEARCH_EFFORT = 2_000_000  # classes looked at; about a second, and more than enough for a hundred crops


def _serve_each_class(choice: _Choice) -> None:
    """Give as many classes as possible a validation crop."""
    before = choice.validates[:]
    servable = [name for name in choice.names if choice.wishes[name] and choice.candidates(name)]
    steps_left = _SEARCH_EFFORT // max(1, sum(map(len, choice.present)))
    best: list[bool] = choice.validates[:]
    most = -1

    def search(position: int) -> bool:
        """Go through the classes from a position on; tell whether all are served, or time is up."""
        nonlocal best, most, steps_left
        steps_left -= 1
        served = sum(choice.validating[name] > 0 for name in servable)
        if served > most:
            best, most = choice.validates[:], served
        if most == len(servable) or steps_left <= 0:
            return True
        while position < len(servable) and choice.validating[servable[position]]:
            position += 1
        open_ones = sum(not choice.validating[name] for name in servable[position:])
        if position == len(servable) or served + open_ones <= most:
            return False
        for crop in choice.candidates(servable[position]):
            choice.move(crop, validates=True)
            done = search(position + 1)
            choice.move(crop, validates=False)
            if done:
                return True
        return search(position + 1)

    search(0)
    for crop, validates in enumerate(best):
        if validates and not before[crop]:
            choice.move(crop, validates=True)
