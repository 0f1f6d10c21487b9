"""How far networks see, by what a gradient reaches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_PASSING = ("norm", "relu", "elu", "silu", "swish", "sigmoid", "tanh", "softplus", "mish")


def make_linear(model: nn.Module) -> None:
    """Replace norms and activations by nothing, maxima by means, weights by ones, so that nothing hides or cancels.

    Norms and activations are told by the names of their classes. Outputs of layers pass on where their gradient is not
    zero, and nothing else of it, so that float32 is enough for a network of any depth.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Conv1d(1, 1, 3), torch.nn.ReLU())
    >>> make_linear(network)
    >>> network(-torch.ones(1, 1, 3)).tolist()
    [[[-3.0]]]
    """
    for name, part in list(model.named_children()):
        if list(part.children()):
            make_linear(part)
        elif any(word in type(part).__name__.lower() for word in _PASSING):
            setattr(model, name, nn.Identity())
        elif isinstance(part, (nn.MaxPool2d, nn.MaxPool3d)):
            mean: Any = nn.AvgPool2d if isinstance(part, nn.MaxPool2d) else nn.AvgPool3d
            setattr(model, name, mean(part.kernel_size, ceil_mode=part.ceil_mode))
        else:
            part.register_forward_hook(_pass_on)
    for name, weights in model.named_parameters():
        nn.init.constant_(weights, 0.0 if name.endswith("bias") else 1.0)


def _pass_on(_: nn.Module, __: object, output: Any) -> None:
    if isinstance(output, Tensor) and output.requires_grad:
        hooked: Any = output  # the method has no types
        hooked.register_hook(lambda gradient: (gradient != 0).to(gradient))


def reached_widths(model: nn.Module, shape: tuple[int, ...], positions: int) -> list[int]:
    """Voxels along the last axis of an input of a shape that so many outputs in the middle see, from first to last.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Conv1d(1, 1, 3, padding=1)
    >>> make_linear(network)
    >>> reached_widths(network, (1, 1, 9), positions=2)
    [3, 3]
    """
    x = torch.zeros(shape, requires_grad=True)
    line = model(x).sum(dim=tuple(range(x.ndim - 1)))
    widths = []
    for position in range(len(line) // 2, len(line) // 2 + positions):
        (gradient,) = torch.autograd.grad(line[position], x, retain_graph=True)
        reached = gradient.sum(dim=tuple(range(x.ndim - 1))).nonzero().flatten()
        widths.append(int(reached[-1] - reached[0]) + 1)
    return widths
