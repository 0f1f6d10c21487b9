"""Sections that were lost or lie displaced: what slicing a block does, and milling sometimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from csc_data.config.experiment import setting
from csc_data.errors import Problem, ProblemsError
from csc_data.loader.intensity.filters import AXES, Axis
from csc_data.loader.intensity.transform import IntensityTransform, Raw, draw

Fill = Literal["black", "white", "repeat"]


def _draw_sections(rng: np.random.Generator, count: tuple[int, int], sections: int) -> list[int]:
    """Draw which sections are hit, in ascending order; at least one is left."""
    wanted = int(rng.integers(count[0], count[1], endpoint=True))
    return sorted(map(int, rng.permutation(sections)[: min(wanted, sections - 1)]))


@dataclass(frozen=True, kw_only=True)
class MissingSections(IntensityTransform):
    """Replace sections by black, by white, or by the nearest section that is left.

    A patch that is flat along the axis is left as it is, and at least one section of a patch stays.
    """

    name: ClassVar[str] = "missing_sections"
    ranges: ClassVar[tuple[str, ...]] = ("count",)

    probability: float = setting(0.1, doc="how often it is applied", minimum=0, maximum=1)
    count: tuple[int, int] = setting((1, 2), doc="how many sections of a patch are lost", minimum=1)
    axis: Axis = setting("z", doc="axis that the volume was cut along, as it lies in the patch")
    fill: tuple[Fill, ...] = setting(("black", "white", "repeat"), doc="what may stand there; one is drawn per section")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.fill:
            raise ProblemsError(
                self.name, [Problem(where="fill", what="is empty", remedy="name black, white or repeat")]
            )

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; in place."""
        sections = np.moveaxis(raw, AXES.index(self.axis), 0)
        if len(sections) < 2:
            return raw
        lost = _draw_sections(rng, self.count, len(sections))
        left = np.setdiff1d(np.arange(len(sections)), lost)
        for section in lost:
            fill = self.fill[int(rng.integers(len(self.fill)))]
            if fill == "repeat":
                sections[section] = sections[left[np.abs(left - section).argmin()]]
            else:
                sections[section] = 0.0 if fill == "black" else 1.0
        return raw


@dataclass(frozen=True, kw_only=True)
class ShiftedSections(IntensityTransform):
    """Displace sections within their plane, by whole voxels and each by itself; its edges are repeated.

    Targets stay in place: a network learns to look past the displacement. A patch that is flat along the axis is
    left as it is.
    """

    name: ClassVar[str] = "shifted_sections"
    ranges: ClassVar[tuple[str, ...]] = ("count", "shift_nm")

    probability: float = setting(0.1, doc="how often it is applied", minimum=0, maximum=1)
    count: tuple[int, int] = setting((1, 4), doc="how many sections of a patch are displaced", minimum=1)
    axis: Axis = setting("z", doc="axis that the volume was cut along, as it lies in the patch")
    shift_nm: tuple[float, float] = setting(
        (4.0, 16.0), doc="how far along each axis of the plane, either way", minimum=0
    )

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; in place."""
        axis = AXES.index(self.axis)
        sections = np.moveaxis(raw, axis, 0)
        if len(sections) < 2:
            return raw
        plane = [size for other, size in enumerate(voxel_size) if other != axis]
        for section in _draw_sections(rng, self.count, len(sections)):
            image = sections[section]
            index = []
            for length, size in zip(image.shape, plane, strict=True):
                shift = round(draw(rng, self.shift_nm) / size) * (1 if rng.random() < 0.5 else -1)
                index.append(np.clip(np.arange(length) - shift, 0, length - 1))
            sections[section] = image[np.ix_(*index)]
        return raw
