"""Gradient checkpointing: activations are computed again in the backward pass instead of being kept.

Source: Chen et al., Training deep nets with sublinear memory cost, 2016, https://arxiv.org/abs/1604.06174
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, *inputs: Tensor, enabled: bool) -> Tensor:
    """Call a module; if enabled, and gradients are wanted, without keeping its activations.

    Running statistics of batch norm are updated once, as without checkpointing.
    """
    if not (enabled and torch.is_grad_enabled()):
        output: Tensor = module(*inputs)
        return output

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _frozen_statistics(module)

    if torch.compiler.is_compiling():
        # The compiler traces the module once and allows no contexts of ours.
        output = checkpoint(module, *inputs, use_reentrant=False)
    else:
        output = checkpoint(module, *inputs, use_reentrant=False, context_fn=contexts)
    return output


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep batch norm from counting a batch for the second time.

    It must still save the same tensors, so that the statistics are updated with weight 0.
    """
    counting = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training]
    before = [(part.momentum, part.num_batches_tracked) for part in counting]
    for part in counting:
        part.momentum = 0.0
        part.num_batches_tracked = None
    try:
        yield
    finally:
        for part, (momentum, batches) in zip(counting, before, strict=True):
            part.momentum = momentum
            part.num_batches_tracked = batches
