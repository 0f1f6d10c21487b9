"""State dicts: taken from networks and put into them, with every difference named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from csc_models.errors import CheckpointMismatchError

# What torch.compile, and data-parallel wrappers, put before the names of a network's weights.
WRAPPER_PREFIXES = ("_orig_mod.", "module.")


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Keys that a load that is not strict passed over.

    Attributes
    ----------
    missing : tuple of str
        Keys of the network that keep their values.
    surplus : tuple of str
        Keys of the file that are not used.
    reshaped : tuple of str
        Keys that both have, in different shapes; the network keeps its values.
    """

    missing: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.surplus or self.reshaped)


@runtime_checkable
class AdaptsWeights(Protocol):
    """A network that can fit weights of another configuration to itself, such as position embeddings."""

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of this network's shapes where that can be done."""


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network itself, out of ``torch.compile`` and data-parallel wrappers.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Linear(2, 2)
    >>> unwrapped(torch.nn.DataParallel(network)) is network
    True
    """
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ in ("DataParallel", "DistributedDataParallel", "_FabricModule"):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def without_wrapper_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes of wrappers, as long as every key has them.

    Examples
    --------
    >>> without_wrapper_prefixes({"module._orig_mod.a": 1, "module._orig_mod.b": 2})
    {'a': 1, 'b': 2}
    """
    cleaned = dict(state)
    while cleaned:
        prefix = next((known for known in WRAPPER_PREFIXES if all(key.startswith(known) for key in cleaned)), None)
        if prefix is None:
            break
        cleaned = {key.removeprefix(prefix): value for key, value in cleaned.items()}
    return cleaned


def load_weights(
    model: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True, source: str = "state dict"
) -> LeftOut:
    """Put weights into a network, in place.

    Parameters
    ----------
    model : torch.nn.Module
        The network; may be wrapped by ``torch.compile`` or for data-parallel training.
    state : mapping
        Weights by key; prefixes of wrappers are removed.
    strict : bool
        All keys and shapes must agree. Otherwise what fits is loaded, and the rest is reported.
    source : str
        Where the weights come from, for the message.

    Returns
    -------
    LeftOut
        What was not loaded; empty if `strict`.

    Raises
    ------
    CheckpointMismatchError
        Keys are missing, surplus or of another shape; the network is unchanged. Also if not strict and no key fits.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Linear(2, 2)
    >>> load_weights(network, {"weight": torch.zeros(2, 2)}, strict=False).missing
    ('bias',)
    >>> network.weight.tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    fitting, left_out = fitting_weights(model, state, strict=strict, source=source)
    unwrapped(model).load_state_dict(fitting, strict=strict)
    return left_out


def fitting_weights(
    model: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True, source: str = "state dict"
) -> tuple[dict[str, Tensor], LeftOut]:
    """Return the weights that `load_weights` would put into a network, and what it would leave out.

    Raises
    ------
    CheckpointMismatchError
        As `load_weights`.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Linear(2, 2)
    >>> weights, left_out = fitting_weights(network, {"module.weight": torch.zeros(2, 2)}, strict=False)
    >>> list(weights), left_out.missing
    (['weight'], ('bias',))
    """
    model = unwrapped(model)
    found = without_wrapper_prefixes(state)
    if isinstance(model, AdaptsWeights):
        found = model.adapt_state_dict(found)
    expected = model.state_dict()
    reshaped = {
        key: f"{key}: {tuple(found[key].shape)} in the file, {tuple(expected[key].shape)} in the network"
        for key in expected
        if key in found and found[key].shape != expected[key].shape
    }
    left_out = LeftOut(
        missing=tuple(key for key in expected if key not in found),
        surplus=tuple(key for key in found if key not in expected),
        reshaped=tuple(reshaped.values()),
    )
    fitting = {key: value for key, value in found.items() if key in expected and key not in reshaped}
    if left_out and (strict or not fitting):
        raise CheckpointMismatchError(source, left_out.missing, left_out.surplus, left_out.reshaped)
    return fitting, left_out
