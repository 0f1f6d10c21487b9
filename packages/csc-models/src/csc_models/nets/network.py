"""What all networks here have: arguments that are fields of a dataclass, and gradient checkpointing."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from torch import nn

from csc_models.nets.layers import check_least
from csc_models.specification.arguments import plain_value


@dataclass(eq=False, repr=False)
class Network(nn.Module):
    """Base of networks. Their arguments are written once, as fields, and can be read as attributes.

    Parameters
    ----------
    n_channels : int
        Number of input channels.
    n_classes : int
        Number of output channels.
    gradient_checkpointing : bool
        Compute activations again in the backward pass instead of keeping them: less memory, more time.

    Raises
    ------
    ModelArgumentError
        A number is out of range.
    """

    n_channels: int
    n_classes: int
    gradient_checkpointing: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__init__()
        for argument in fields(self):
            setattr(self, argument.name, plain_value(getattr(self, argument.name)))
        check_least(type(self).__name__, n_channels=self.n_channels, n_classes=self.n_classes)
