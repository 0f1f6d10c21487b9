"""Training visits a few crops at a time and moves on, so that what is cached serves many samples.

There is an endless row of visits, each an independent draw of a crop and a class; a sample belongs to one of a few that
follow each other. So each sample by itself is distributed as if it were drawn independently of all others, however few
samples there are, while its neighbours come from the same few crops.
"""

from __future__ import annotations

import numpy as np

from csc_data.loader.sampling.drawing import AnchorDraws, Visit

VISITS_AT_ONCE = 16
"""Visits that a sample may belong to; with no more crops than this, samples are drawn independently."""

SAMPLES_A_VISIT = 32
"""Samples after which the first visit ends and another begins."""

_MOST_KNOWN = 256


class Visits:
    """The visits of a seed; which they are depends on nothing else.

    Parameters
    ----------
    draws : AnchorDraws
    seed : int
    """

    def __init__(self, draws: AnchorDraws, seed: int) -> None:
        self.draws, self.seed = draws, seed
        self._known: dict[int, Visit] = {}

    def draw(self, rng: np.random.Generator, index: int) -> Visit:
        """Draw the visit that a sample belongs to.

        Parameters
        ----------
        rng : Generator
            The sample's.
        index : int
            The sample's.
        """
        at_once = self.at_once(index)
        return self.visit(at_once[int(rng.integers(len(at_once)))])

    def at_once(self, index: int) -> range:
        """Return the numbers of the visits that the sample of an index may belong to."""
        first = index // SAMPLES_A_VISIT
        return range(first, first + VISITS_AT_ONCE)

    def visit(self, number: int) -> Visit:
        """Return a visit."""
        found = self._known.get(number)
        if found is None:
            # A spawn key keeps these numbers apart from those of samples.
            sequence = np.random.SeedSequence(self.seed, spawn_key=(number,))
            found = self.draws.draw_visit(np.random.default_rng(sequence))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[number] = found
        return found
