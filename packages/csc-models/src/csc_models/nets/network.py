"""What all networks here have: arguments that are fields of a dataclass, checks of them and of inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor, nn

from csc_models.errors import ModelArgumentError
from csc_models.nets.layers import check_input
from csc_models.specification.arguments import plain_value


@dataclass(eq=False, repr=False)
class Network(nn.Module):
    """Base of networks. Their arguments are written once, as fields, and can be read as attributes.

    Whole numbers, also those in tuples, must be at least 1, or what the field's metadata has for ``"least"``.

    Parameters
    ----------
    n_channels : int
        Number of input channels.
    n_classes : int
        Number of output channels.
    ndim : int
        Number of spatial axes, 2 or 3; most names and classes stand for one of them.
    gradient_checkpointing : bool
        Compute activations again in the backward pass instead of keeping them: less memory, more time.

    Raises
    ------
    ModelArgumentError
        A number is out of range, or arguments do not go together.
    """

    n_channels: int
    n_classes: int
    ndim: int = field(kw_only=True)
    gradient_checkpointing: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__init__()
        self.minimum = 1  # voxels per axis
        problems = []
        for argument in fields(self):
            name, least = argument.name, argument.metadata.get("least", 1)
            value = plain_value(getattr(self, name))
            setattr(self, name, value)
            if any(number < least for number in _whole_numbers(value)):
                problems.append(f"{name}={value} must be at least {least}")
            if name == "dropout" and not 0 <= value < 1:
                problems.append(f"dropout={value} must be from 0 and below 1")
        self._require(not problems, "; ".join(problems))

    def forward(self, x: Tensor) -> Any:
        """Map (B, n_channels, [z,] y, x) to logits (B, n_classes, [z,] y, x) of the same spatial size.

        With deep supervision, return a list of them, largest first; each next one is smaller by a stride, rounded up.

        Raises
        ------
        InputTypeError, InputShapeError
            Whole numbers; a wrong number of axes or channels, or an axis that is too short.
        """
        check_input(type(self).__name__, x, self.ndim, self.n_channels, self.minimum)
        return self._compute(x)

    def _compute(self, x: Tensor) -> Any:
        """Map an input that has been checked to logits."""
        raise NotImplementedError

    def _require(self, right: bool, words: str) -> None:
        if not right:
            raise ModelArgumentError(f"{type(self).__name__}: {words}")


def _whole_numbers(value: Any) -> Iterator[int]:
    if isinstance(value, tuple):
        for item in value:
            yield from _whole_numbers(item)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value
