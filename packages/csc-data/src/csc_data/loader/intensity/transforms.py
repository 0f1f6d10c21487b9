"""All intensity transforms of a training run: understood from experiment files, drawn and applied together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.config.settings import setting, settings
from csc_data.errors import Problem, ProblemsError
from csc_data.loader.intensity.filters import Blur, LowResolution
from csc_data.loader.intensity.noise import GaussianNoise, Noise, NoiseTransform, PoissonNoise, combine_noise
from csc_data.loader.intensity.pointwise import Brightness, Contrast, Curve, Gamma
from csc_data.loader.intensity.sections import MissingSections, ShiftedSections
from csc_data.loader.intensity.transform import IntensityTransform, Raw

SUBJECT = "intensity_transforms"

ORDER: tuple[type[IntensityTransform], ...] = (
    Gamma,
    Contrast,
    Brightness,
    ShiftedSections,
    Blur,
    LowResolution,
    PoissonNoise,
    GaussianNoise,
    MissingSections,
)
"""In which order they are applied: the pointwise ones (a table can do them), then optics, noise and losses."""

IntensityForm: Any = settings(
    type(
        "IntensityForm",
        (),
        {
            "__doc__": "Intensity transforms as experiment files say them.",
            "__annotations__": {kind.name: kind | None for kind in ORDER},
            **{kind.name: setting(str(kind.__doc__).partition("\n")[0], default=None) for kind in ORDER},
        },
    )
)

Seeded = tuple[IntensityTransform, tuple[int, int]]
"""A transform and the seed of its own random numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnIntensity:
    """What happens to one patch: everything is drawn, nothing is done yet.

    Attributes
    ----------
    curve : Curve
        Gamma, contrast and brightness.
    rest : tuple
        The other transforms that came up, in order, each with the seed of its own random numbers.

    Examples
    --------
    >>> drawn = DrawnIntensity(curve=Curve(brightness=0.25), rest=())
    >>> raw = np.full((2, 2, 2), 0.5, np.float32)
    >>> drawn.apply_curve(raw.copy())[0, 0, 0].item(), drawn.apply_rest(raw.copy(), (8, 8, 8))[0, 0, 0].item()
    (0.75, 0.5)
    >>> drawn.apply(raw.copy(), (8, 8, 8))[0, 0, 0].item(), drawn.table(np.zeros(8, np.uint8))[0].item()
    (0.75, 0.25)
    >>> drawn.stages()
    (None, [], [])
    """

    curve: Curve
    rest: tuple[Seeded, ...]

    def table(self, values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what gamma, contrast and brightness make of uint8 raw, float32 (256,); see `Curve.table`."""
        return self.curve.table(values)

    def apply_curve(self, raw: Raw) -> Raw:
        """Apply gamma, contrast and brightness; raw that came through `table` has them already."""
        return self.curve.map(np.ascontiguousarray(raw, dtype=np.float32))

    def apply_rest(self, raw: Raw, voxel_size: Sequence[float]) -> Raw:
        """Apply everything but gamma, contrast and brightness."""
        return self._apply(raw, Curve(), voxel_size)

    def apply(self, raw: Raw, voxel_size: Sequence[float]) -> Raw:
        """Apply everything to raw.

        Parameters
        ----------
        raw : ndarray
            float32 from 0 to 1, shape (z, y, x); may be changed in place.
        voxel_size : sequence of float
            nm, z, y, x.

        Returns
        -------
        ndarray
            float32 from 0 to 1, of the same shape, C-contiguous.
        """
        return self._apply(raw, self.curve, voxel_size)

    def _apply(self, raw: Raw, curve: Curve, voxel_size: Sequence[float]) -> Raw:
        """Apply a curve and the rest; curve and noise in one pass, if nothing comes between them."""
        raw = np.ascontiguousarray(raw, dtype=np.float32)
        noise, before, after = self.stages()
        raw = curve.map(raw, None if before else noise)
        for transform, seed in before:
            raw = transform.change(raw, np.random.default_rng(seed), voxel_size)
        if before and noise is not None:
            raw = noise.add(raw)
        for transform, seed in after:
            raw = transform.change(raw, np.random.default_rng(seed), voxel_size)
        return raw

    def stages(self) -> tuple[Noise | None, list[Seeded], list[Seeded]]:
        """Return what follows the curve: all noise in one, and the transforms that come before and after it."""
        noises = [
            transform.draw_noise(np.random.default_rng(seed))
            for transform, seed in self.rest
            if isinstance(transform, NoiseTransform)
        ]
        others = [entry for entry in self.rest if not isinstance(entry[0], NoiseTransform)]
        count = sum(ORDER.index(type(transform)) < ORDER.index(PoissonNoise) for transform, _ in others)
        return combine_noise(noises) if noises else None, others[:count], others[count:]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityTransforms:
    """The transforms of a training run, at most one of each kind.

    Attributes
    ----------
    transforms : tuple of IntensityTransform
        In the order in which they are applied, whatever the order in which they were given.

    Raises
    ------
    ProblemsError
        If something is not an intensity transform, or a kind comes twice.

    Examples
    --------
    >>> IntensityTransforms.parse({"blur": {"sigma_nm": [2, 8]}, "gamma": {"probability": 0.3}}).names
    ('gamma', 'blur')
    """

    transforms: tuple[IntensityTransform, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            Problem(where=f"transforms[{i}]", what=f"is not an intensity transform: {transform!r}")
            for i, transform in enumerate(self.transforms)
            if type(transform) not in ORDER
        ]
        counts = Counter(transform.name for transform in self.transforms if type(transform) in ORDER)
        problems += [
            Problem(where=name, what=f"is given {count} times", remedy="give it once")
            for name, count in counts.items()
            if count > 1
        ]
        if problems:
            raise ProblemsError(SUBJECT, problems)
        ordered = tuple(sorted(self.transforms, key=lambda transform: ORDER.index(type(transform))))
        object.__setattr__(self, "transforms", ordered)

    def __bool__(self) -> bool:
        return bool(self.transforms)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the transforms, in order."""
        return tuple(transform.name for transform in self.transforms)

    @classmethod
    def parse(
        cls, value: IntensityTransforms | Mapping[str, Any] | Sequence[IntensityTransform] | IntensityTransform | None
    ) -> IntensityTransforms:
        """Understand what experiment files say.

        ``{"gamma": {"probability": 0.3, "range": (0.7, 1.5)}, "missing_sections": {}}``: names of transforms, each
        with its options; what is not given has its default. Also a list of transforms, one by itself, or None.

        Raises
        ------
        ProblemsError
            With every unknown name and wrong option.
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if isinstance(value, IntensityTransform):
            return cls(transforms=(value,))
        if isinstance(value, list | tuple):
            return cls(transforms=tuple(value))
        if not isinstance(value, Mapping):
            raise ProblemsError(SUBJECT, [Problem(where="", what=f"expected a mapping of transforms, got {value!r}")])
        form = IntensityForm(**{str(name): options for name, options in value.items()})
        found = (getattr(form, kind.name) for kind in ORDER)
        return cls(transforms=tuple(transform for transform in found if transform is not None))

    def draw(self, rng: np.random.Generator) -> DrawnIntensity:
        """Draw what happens to one patch.

        Each kind has random numbers of its own: what one draws does not depend on which others there are, and the
        generator goes on from the same place whatever came up.
        """
        chances = rng.random(len(ORDER))
        seed = int(rng.integers(2**63))
        gamma, contrast, brightness = 1.0, 1.0, 0.0
        rest = []
        for transform in self.transforms:
            slot = ORDER.index(type(transform))
            if chances[slot] >= transform.probability:
                continue
            if isinstance(transform, Gamma):
                gamma = transform.draw_exponent(np.random.default_rng((seed, slot)))
            elif isinstance(transform, Contrast):
                contrast = transform.draw_factor(np.random.default_rng((seed, slot)))
            elif isinstance(transform, Brightness):
                brightness = transform.draw_offset(np.random.default_rng((seed, slot)))
            else:
                rest.append((transform, (seed, slot)))
        return DrawnIntensity(curve=Curve(gamma=gamma, contrast=contrast, brightness=brightness), rest=tuple(rest))

    def apply(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Draw and apply; see `DrawnIntensity.apply`."""
        return self.draw(rng).apply(raw, voxel_size)
