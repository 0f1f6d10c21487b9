"""Networks without what hides how far they see."""

from __future__ import annotations

from torch import nn

_POOLS = {nn.MaxPool2d: nn.AvgPool2d, nn.MaxPool3d: nn.AvgPool3d}
_PASSING = ("norm", "relu", "elu", "silu", "swish", "sigmoid", "tanh", "softplus", "mish")


def make_linear(model: nn.Module) -> None:
    """Replace norms and activations by nothing, maxima by means, weights by positive ones, so that nothing cancels.

    Norms and activations are told by the names of their classes.
    """
    for name, part in list(model.named_children()):
        kind = type(part)
        if any(word in kind.__name__.lower() for word in _PASSING) and not list(part.children()):
            setattr(model, name, nn.Identity())
        elif isinstance(part, (nn.MaxPool2d, nn.MaxPool3d)):
            setattr(model, name, _POOLS[kind](part.kernel_size, ceil_mode=part.ceil_mode))
        else:
            make_linear(part)
    for weights in model.parameters():
        nn.init.constant_(weights, 0.01)
