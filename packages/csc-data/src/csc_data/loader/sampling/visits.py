"""Training visits a few crops at a time and moves on, so that what is cached serves many samples.

There is an endless row of visits, each an independent draw of a crop and a class; a sample belongs to one of a few that
follow each other. So each sample by itself is distributed as if it were drawn independently of all others, however few
samples there are, while its neighbours come from the same few crops.

What it costs to read a crop grows with its voxels, what a sample costs with those of the patch: small patches make a
visit longer.
"""

from __future__ import annotations

import numpy as np

from csc_data.loader.sampling.drawing import AnchorDraws, Visit

VISITS_AT_ONCE = 16
"""Visits that a sample may belong to; with no more crops than this, samples are drawn independently."""

FEWEST_SAMPLES, MOST_SAMPLES = 32, 512
"""Samples after which the first visit ends and another begins."""

_TIMES_READ = 4
_MOST_KNOWN = 256


class Visits:
    """The visits of a seed; which they are depends on nothing else.

    Parameters
    ----------
    draws : AnchorDraws
    seed : int
    samples : int
        Samples after which the first visit ends and another begins, see `samples_a_visit`.
    """

    def __init__(self, draws: AnchorDraws, seed: int, samples: int = FEWEST_SAMPLES) -> None:
        self.draws, self.seed, self.samples = draws, seed, samples
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
        first = index // self.samples
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


def samples_a_visit(crop_voxels: float, patch_voxels: int) -> int:
    """Return how many samples a visit gives: so many that each voxel of a crop is in some of them.

    Examples
    --------
    >>> samples_a_visit(200**3, 128**3), samples_a_visit(200**3, 64**3), samples_a_visit(200**3, 128**2)
    (32, 122, 512)
    """
    return min(max(FEWEST_SAMPLES, round(_TIMES_READ * crop_voxels / patch_voxels)), MOST_SAMPLES)
