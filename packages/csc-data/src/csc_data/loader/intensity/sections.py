"""Sections that were lost or lie displaced: what slicing a block does, and milling sometimes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from csc_data.config.settings import (
    COUNT,
    NOT_NEGATIVE,
    SHARE,
    Given,
    Interval,
    WholeInterval,
    not_empty,
    setting,
    settings,
)
from csc_data.loader.intensity.filters import AXES, Axis
from csc_data.loader.intensity.transform import IntensityTransform, Raw, draw

Fill = Literal["black", "white", "repeat"]


def _draw_sections(rng: np.random.Generator, count: tuple[int, int], sections: int) -> list[int]:
    """Draw which sections are hit, in ascending order; at least one is left."""
    wanted = int(rng.integers(count[0], count[1], endpoint=True))
    return sorted(map(int, rng.permutation(sections)[: min(wanted, sections - 1)]))


@settings
class MissingSections(IntensityTransform):
    """Replace sections by black, by white, or by the nearest section that is left.

    A patch that is flat along the axis is left as it is, and at least one section of a patch stays.
    """

    name: ClassVar[str] = "missing_sections"

    probability: float = setting("how often it is applied", SHARE, default=0.1)
    count: WholeInterval = setting("how many sections of a patch are lost", COUNT, default=(1, 2))
    axis: Axis = setting("axis that the volume was cut along, as it lies in the patch", default="z")
    fill: Given[tuple[Fill, ...], Sequence[Fill]] = setting(
        "what may stand there; one is drawn per section", not_empty, default=("black", "white", "repeat")
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


@settings
class ShiftedSections(IntensityTransform):
    """Displace sections within their plane, by whole voxels and each by itself; its edges are repeated.

    Targets stay in place: a network learns to look past the displacement. A patch that is flat along the axis is
    left as it is.
    """

    name: ClassVar[str] = "shifted_sections"

    probability: float = setting("how often it is applied", SHARE, default=0.1)
    count: WholeInterval = setting("how many sections of a patch are displaced", COUNT, default=(1, 4))
    axis: Axis = setting("axis that the volume was cut along, as it lies in the patch", default="z")
    shift_nm: Interval = setting("how far along each axis of the plane, either way", NOT_NEGATIVE, default=(4.0, 16.0))

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
