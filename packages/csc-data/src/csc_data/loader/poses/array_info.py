"""What a network takes or gives: how many voxels, of which size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from csc_data.config.experiment import setting
from csc_data.config.typed import build_dataclass
from csc_data.errors import InvalidArgumentError, Problem, ProblemsError
from csc_data.geometry import Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayInfo:
    """Shape and voxel size of a patch.

    Examples
    --------
    >>> ArrayInfo.parse({"shape": [64, 64, 64], "scale": [8, 8, 8]}).extent
    (512.0, 512.0, 512.0)
    """

    shape: tuple[int, int, int] = setting(doc="voxels of a patch, z, y, x; (1, y, x) is a flat one", minimum=1)
    scale: tuple[float, float, float] = setting(doc="voxel size in nm, z, y, x", above=0)

    @property
    def extent(self) -> Triple:
        """Edge lengths in nm."""
        z, y, x = (n * v for n, v in zip(self.shape, self.scale, strict=True))
        return z, y, x

    @property
    def flat(self) -> bool:
        """Whether it is a single plane, for networks with two spatial axes."""
        return self.shape[0] == 1

    @classmethod
    def parse(cls, value: ArrayInfo | Mapping[str, Any], name: str = "array_info") -> ArrayInfo:
        """Return the value as an ArrayInfo.

        Raises
        ------
        ProblemsError
            With everything that is wrong in a mapping.
        InvalidArgumentError
            If it is neither.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise InvalidArgumentError(f"{name} must be a mapping with shape and scale, got {value!r}")
        found: ArrayInfo | None
        problems: list[Problem]
        found, problems = build_dataclass(cls, value)
        if found is None:
            raise ProblemsError(name, problems)
        return found

    def to_plain(self) -> dict[str, list[int] | list[float]]:
        """Return it as a mapping of lists, for a checkpoint."""
        return {"shape": list(self.shape), "scale": list(self.scale)}
