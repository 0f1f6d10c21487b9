"""The cases: each odd thing alone, then several at once from fixed seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .drafts import Draft
from .odd_arrays import ODD_ARRAYS
from .odd_layouts import ODD_LAYOUTS

COMBINED = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One submission: a seed for its voxels, and what is odd about it."""

    name: str
    seed: int
    arrays: tuple[tuple[str, str, str], ...] = ()
    layouts: tuple[str, ...] = ()

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write submission and truth into an empty folder; returns their paths."""
        draft = Draft.good(self.seed)
        for crop, label, odd in self.arrays:
            if (crop, label) in draft.arrays:
                ODD_ARRAYS[odd](draft, (crop, label))
        for odd in self.layouts:
            ODD_LAYOUTS[odd](draft)
        folder.mkdir(parents=True, exist_ok=True)
        return draft.write(folder)


def all_cases() -> Iterator[Case]:
    """Yield all cases, in a fixed order."""
    yield Case(name="good", seed=1)
    for number, odd in enumerate(ODD_ARRAYS):
        yield Case(name=f"mito: {odd}", seed=1000 + number, arrays=(("crop557", "mito", odd),))
        yield Case(name=f"er: {odd}", seed=2000 + number, arrays=(("crop557", "er", odd),))
    for number, odd in enumerate(ODD_LAYOUTS):
        yield Case(name=odd, seed=3000 + number, layouts=(odd,))
    places = [("crop557", "mito"), ("crop557", "er"), ("crop558", "ves"), ("crop558", "er")]
    for number in range(COMBINED):
        rng = np.random.default_rng(4000 + number)
        arrays = tuple(
            (*places[i], str(rng.choice(sorted(ODD_ARRAYS)))) for i in rng.permutation(4)[: rng.integers(1, 4)]
        )
        layouts = (str(rng.choice(sorted(ODD_LAYOUTS))),) if rng.random() < 0.5 else ()
        name = " + ".join([*(f"{crop}/{label}: {odd}" for crop, label, odd in arrays), *layouts])
        yield Case(name=name, seed=4000 + number, arrays=arrays, layouts=layouts)
