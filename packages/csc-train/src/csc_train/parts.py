"""Parts of a network, by what the names of their weights begin with: frozen, or with step sizes of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from csc_data.errors import InvalidArgumentError, did_you_mean


def freeze(network: nn.Module, prefixes: Iterable[str]) -> None:
    """Let the weights of parts stay as they are.

    Raises
    ------
    InvalidArgumentError
        If a part has no weights, or no weights are left.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    >>> freeze(network, ["0."])
    >>> [parameter.requires_grad for parameter in network.parameters()]
    [False, False, True, True]
    """
    for prefix in prefixes:
        for parameter in _weights(network, prefix, "frozen").values():
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InvalidArgumentError("frozen names all weights of the network; nothing is left to train")


def rest(network: nn.Module, prefixes: Iterable[str]) -> None:
    """Let dropout and running statistics of frozen parts rest while the other ones are in training.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout()).train()
    >>> rest(network, ["0."])
    >>> [part.training for part in network]
    [False, True]
    """
    chosen = tuple(prefixes)
    for name, module in network.named_modules():
        if f"{name}.".startswith(chosen):
            module.eval()


def parameter_groups(network: nn.Module, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the weights that are trained, for an optimizer: first those without a step size of their own.

    Parameters
    ----------
    network : torch.nn.Module
    rates : mapping
        From what the names of weights begin with to a step size; the longest that fits counts.

    Raises
    ------
    InvalidArgumentError
        If a part has no weights.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    >>> [group.get("lr") for group in parameter_groups(network, {"0.": 1e-5})]
    [None, 1e-05]
    """
    for prefix in rates:
        _weights(network, prefix, "learning_rates")
    by_length = sorted(rates, key=len, reverse=True)
    groups: dict[str | None, list[nn.Parameter]] = {prefix: [] for prefix in (None, *rates)}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups[next((prefix for prefix in by_length if name.startswith(prefix)), None)].append(parameter)
    return [
        {"params": parameters} | ({} if prefix is None else {"lr": rates[prefix]})
        for prefix, parameters in groups.items()
        if parameters
    ]


def _weights(network: nn.Module, prefix: str, setting: str) -> dict[str, nn.Parameter]:
    found = {name: weight for name, weight in network.named_parameters() if name.startswith(prefix)}
    if not found:
        known = list(dict.fromkeys(f"{name.partition('.')[0]}." for name, _ in network.named_parameters()))
        hint = did_you_mean(prefix, known)
        raise InvalidArgumentError(f"{setting}: no weight of the network begins with {prefix!r} ({hint})")
    return found
