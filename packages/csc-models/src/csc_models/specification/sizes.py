"""Which sizes a network takes, and which it gives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeRule:
    """Which sizes of the spatial axes a network takes.

    Attributes
    ----------
    minimum : int
        The smallest size per axis, in voxels.
    efficient_multiple : int
        Sizes that are multiples of this need no padding or cropping inside; all others work as well.
    note : str
        What else there is to know; may be empty.
    step : int
        Only the minimum, and what is larger by multiples of this, works; 1 where any size does.

    Examples
    --------
    >>> rule = SizeRule(minimum=8, efficient_multiple=4, step=4)
    >>> str(rule), rule.fit(9)
    ('8, 12, 16, ... (steps of 4)', 12)
    """

    minimum: int
    efficient_multiple: int
    note: str = ""
    step: int = 1

    def __str__(self) -> str:
        if self.step > 1:
            text = f"{', '.join(str(self.minimum + k * self.step) for k in range(3))}, ... (steps of {self.step})"
        else:
            text = f"any size from {self.minimum}; multiples of {self.efficient_multiple} are best"
        return f"{text}; {self.note}" if self.note else text

    def fit(self, size: int) -> int:
        """Return the smallest size that works and is not below this one.

        Examples
        --------
        >>> SizeRule(minimum=198, efficient_multiple=18, step=18).fit(200)
        216
        """
        return self.minimum + max(0, -(-(size - self.minimum) // self.step)) * self.step


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputRule:
    """How the output of a network follows from its input, along each axis; both have the same centre.

    Attributes
    ----------
    scale_factor : int
        Output voxels per input voxel: the voxel size of the output is that of the input divided by this.
    lost : int
        Output voxels that are missing at the borders, both sides together.
    """

    scale_factor: int = 1
    lost: int = 0

    def size(self, input_size: int) -> int:
        """Return the output's voxels along an axis.

        Examples
        --------
        >>> OutputRule(scale_factor=2, lost=364).size(216)
        68
        """
        return self.scale_factor * input_size - self.lost


SAME_SIZE = OutputRule()
