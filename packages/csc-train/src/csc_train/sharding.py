"""Weights, gradients and optimizer state that are divided among processes (FSDP), and brought together to be saved.

PyTorch's second FSDP (`torch.distributed.fsdp.fully_shard`), which runs on CPUs as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

FSDP = "fsdp"


def fsdp_strategy(processes: int) -> ModelParallelStrategy:
    """Return Fabric's strategy under which each of so many processes holds a part of all weights."""
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    return ModelParallelStrategy(
        _shard, data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def is_sharded(fabric: Fabric) -> bool:
    """Tell whether processes hold parts of weights."""
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    return isinstance(fabric.strategy, ModelParallelStrategy)


def set_up_sharded(fabric: Fabric, network: nn.Module, trained: nn.Module, optimizer: Optimizer) -> tuple[Any, Any]:
    """Divide a network, and return it and its optimizer as Fabric wraps them.

    Parameters
    ----------
    fabric : Fabric
    network : torch.nn.Module
        Is divided in place.
    trained : torch.nn.Module
        The same, maybe compiled.
    optimizer : torch.optim.Optimizer
        Gets the parts in place of the weights that it held; it has no state yet.
    """
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]
    network.to(fabric.device)
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP takes no other order in memory
    wrapped = fabric.setup_module(trained)
    parts = dict(network.named_parameters())
    for group, held in zip(optimizer.param_groups, groups, strict=True):
        group["params"] = [parts[name] for name in held]
    return wrapped, fabric.setup_optimizers(optimizer)


def _shard(network: nn.Module, mesh: Any) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    own = mesh["data_parallel"]
    for unit in _units(network):
        fully_shard(unit, mesh=own)
    return cast("nn.Module", fully_shard(network, mesh=own))


def _units(network: nn.Module) -> Iterator[nn.Module]:
    """Yield what is brought together at once: the parts of a network that are called as a whole."""
    for child in network.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _units(child)
        elif any(True for _ in child.parameters()):
            yield child


def gather_weights(network: nn.Module, whole: nn.Module) -> None:
    """Fill a network with the weights of a divided one; all processes call this.

    Running statistics are those of the first process.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    whole.load_state_dict(get_model_state_dict(network, options=StateDictOptions(full_state_dict=True)))
    for buffer in whole.buffers():
        torch.distributed.broadcast(buffer, 0)


def scatter_weights(network: nn.Module, whole: nn.Module) -> None:
    """Put the weights of a network into a divided one; all processes call this, with the same weights."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    set_model_state_dict(network, whole.state_dict(), options=StateDictOptions(full_state_dict=True))


def gather_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of a divided network's optimizer as that of a whole one; all processes call this."""
    state = optimizer.state_dict()
    held = {number: {name: _whole(value) for name, value in each.items()} for number, each in state["state"].items()}
    return {**state, "state": held}


def scatter_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Bring a divided network's optimizer into the state of a whole one's."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    held: dict[int, dict[str, Any]] = {}
    for number, each in state["state"].items():
        part = parameters[number]
        held[number] = {
            name: distribute_tensor(value.to(part.device), part.device_mesh, part.placements)
            if isinstance(part, DTensor) and isinstance(value, Tensor) and value.shape == part.shape
            else value
            for name, value in each.items()
        }
    optimizer.load_state_dict({**state, "state": held})


def whole_norm(norm: Tensor) -> float:
    """Return a norm over the parts of all processes."""
    return float(_whole(norm))


def _whole(value: Any) -> Any:
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value
