"""What the loaders are asked for, and how good ours has to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FEW_SPLIT = "datasplit.csv"
MANY_SPLIT = "many.csv"
ALL_CLASSES_SPLIT = "all_classes.csv"

CLASSES = ("ecs", "mito", "er", "nuc", "ves")

FLIPS = {"mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}}, "transpose": {"axes": ["x", "y", "z"]}}
FLAT_FLIPS = {"mirror": {"axes": {"x": 0.5, "y": 0.5}}}
SCALES = (0.8, 1.25)
ELASTIC = {"spacing_nm": 400, "amplitude_nm": 20}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all loaders are asked for, how many patches of it, and how many times cellmap-data's ours must be."""

    shape: tuple[int, int, int]
    transforms: dict[str, Any]
    batch_size: int
    ours: int
    theirs: int = 0
    warm_bar: float | None = None
    cold_bar: float | None = None


def turned(axes: str) -> dict[str, Any]:
    """Return a rotation by any angle about the axes."""
    return {"rotate": {"axes": {axis: [-180, 180] for axis in axes}}}


ROTATED = "128^3, rotated about all axes"
SCALED = "128^3, rotated and scaled"
ELASTICALLY = "128^3, rotated and elastic"
CUBE = (128, 128, 128)
_TURNED = {**FLIPS, **turned("zyx")}

WORKS = {
    ROTATED: Work(
        shape=CUBE, transforms=_TURNED, batch_size=2, ours=48, theirs=8, warm_bar=80, cold_bar=20
    ),
    "64^3, rotated about all axes": Work(
        shape=(64, 64, 64), transforms=_TURNED, batch_size=4, ours=200, theirs=40, warm_bar=50, cold_bar=9
    ),
    "(1, 128, 128), rotated in its plane": Work(
        shape=(1, 128, 128), transforms={**FLAT_FLIPS, **turned("z")}, batch_size=8, ours=2000, theirs=200, warm_bar=30
    ),
    "128^3, not rotated": Work(
        shape=CUBE, transforms=FLIPS, batch_size=2, ours=48, theirs=20, warm_bar=7
    ),
    "(1, 128, 128), not rotated": Work(
        shape=(1, 128, 128), transforms=FLAT_FLIPS, batch_size=8, ours=2000, theirs=400, warm_bar=12
    ),
}  # fmt: skip
"""Also what cellmap-data can do."""

AUGMENTED = {
    ROTATED: Work(shape=CUBE, transforms=_TURNED, batch_size=2, ours=48, theirs=8),
    SCALED: Work(
        shape=CUBE, transforms={**_TURNED, "scale": dict.fromkeys("zyx", SCALES)}, batch_size=2, ours=48, theirs=8
    ),
    ELASTICALLY: Work(shape=CUBE, transforms={**_TURNED, "elastic": ELASTIC}, batch_size=2, ours=48, theirs=6),
}
"""What augmentation libraries can do as well, on crops that are in memory."""

OTHERS = {
    "128^3, rotated, of many crops": Work(shape=CUBE, transforms=_TURNED, batch_size=2, ours=640),
    "(1, 64, 64), not rotated": Work(shape=(1, 64, 64), transforms=FLAT_FLIPS, batch_size=100, ours=100_000),
}
MANY, SMALL = OTHERS

ALL_WORKS = {**WORKS, **AUGMENTED, **OTHERS}
