"""State dicts somewhere in a file: under some name, with some prefix, beside others.

A trainer saves ``{"state_dict": ...}``; Lightning puts ``net.`` before each key, because the network is an attribute of
its module, and losses and metrics may stand beside it; `torch.optim.swa_utils.AveragedModel` puts ``module.``, and
``n_averaged`` beside it; torch.compile ``_orig_mod.``. All of these are looked at; the shapes decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from csc_models.errors import CheckpointError, CheckpointMismatchError, CheckpointReadError
from csc_models.foreign.known_names import StoredTensor
from csc_models.foreign.torch_files import State

_DEEPEST = 4
_MOST = 200
# Moments of an optimiser have the shapes of weights.
_OTHER = ("optim", "scheduler", "scaler", "callback", "loop", "logging", "buffers_state")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A state dict in a file.

    Attributes
    ----------
    place : str
        Names and prefix under which it stands, joined by dots; empty for the file itself.
    state : mapping
        Tensors by key, without that prefix.
    """

    place: str
    state: State

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by key."""
        return {key: tuple(tensor.shape) for key, tensor in self.state.items()}


def candidates(contents: Any, part: str | None, source: str) -> list[Candidate]:
    """Find all state dicts in what a file holds.

    Parameters
    ----------
    contents : object
        See `ForeignFile`.
    part : str or None
        Only those that stand there, or below.
    source : str
        The file, for messages.

    Raises
    ------
    CheckpointReadError
        There are none; the text says what there is.

    Examples
    --------
    >>> import torch
    >>> weights = {"weight": torch.zeros(2, 2)}
    >>> found = candidates({"epoch": 3, "network": weights, "ema": {"network": weights}}, None, "a.pth")
    >>> [candidate.place for candidate in found]
    ['network', 'ema.network']
    """
    found = [
        candidate
        for _, candidate in zip(range(_MOST), _found(contents, "", _DEEPEST), strict=False)
        if part is None or candidate.place == part or candidate.place.startswith(f"{part}.")
    ]
    if not found:
        names = ", ".join(map(str, list(contents)[:12])) if isinstance(contents, Mapping) else type(contents).__name__
        where = f" under {part!r}" if part is not None else ""
        raise CheckpointReadError(f"{source} holds no weights{where}; it holds: {names}")
    return found


def _found(contents: Any, place: str, depth: int) -> Iterator[Candidate]:
    if not isinstance(contents, Mapping) or not depth:
        return
    state = {key: value for key, value in contents.items() if isinstance(value, StoredTensor | Tensor)}
    words = {key: value for key, value in state.items() if isinstance(key, str)}
    if words:
        yield from _without_prefixes(words, place, _DEEPEST)
    for key, value in contents.items():
        if isinstance(key, str) and not any(word in key.lower() for word in _OTHER):
            yield from _found(value, _joined(place, key), depth - 1)


def _without_prefixes(state: State, place: str, depth: int) -> Iterator[Candidate]:
    yield Candidate(place, state)
    if not depth:
        return
    groups: dict[str, dict[str, Any]] = {}
    for key, value in state.items():
        first, dot, rest = key.partition(".")
        if dot:
            groups.setdefault(first, {})[rest] = value
    for first, group in groups.items():
        if len(group) > 1 and not first.isdigit():
            yield from _without_prefixes(group, _joined(place, first), depth - 1)


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def fitting(
    found: list[Candidate], expected: Mapping[str, tuple[int, ...]], source: str, optional: tuple[str, ...] = ()
) -> tuple[Candidate, tuple[str, ...]]:
    """Choose the state dict that is a network's, by its keys and shapes.

    Parameters
    ----------
    found : list of Candidate
    expected : mapping
        Shapes of the network's weights by key.
    source : str
        The file, for messages.
    optional : tuple of str
        Beginnings of keys that may stand there besides, such as heads that are not used.

    Returns
    -------
    Candidate
        With the expected keys alone.
    tuple of str
        The optional keys that were left out.

    Raises
    ------
    CheckpointMismatchError
        None fits; what the nearest lacks is named.
    CheckpointError
        Several fit, and their weights are not the same.

    Examples
    --------
    >>> import torch
    >>> found = candidates({"network": {"weight": torch.zeros(2, 2)}}, None, "a.pth")
    >>> chosen, surplus = fitting(found, {"weight": (2, 2)}, "a.pth")
    >>> chosen.place, surplus
    ('network', ())
    """
    fit = []
    for candidate in found:
        surplus = tuple(key for key in candidate.state if key not in expected and key.startswith(optional or " "))
        shapes = {key: shape for key, shape in candidate.shapes.items() if key not in surplus}
        if shapes == expected:
            fit.append((Candidate(candidate.place, {key: candidate.state[key] for key in expected}), surplus))
    if not fit:
        _tell_the_nearest(found, expected, source)
    (first, surplus), *others = fit
    if any(not _same(other.state, first.state) for other, _ in others):
        places = ", ".join(candidate.place or "the file itself" for candidate, _ in fit)
        raise CheckpointError(f"{source} holds several weights of this network: {places}; say which (--part NAME)")
    return first, surplus


def _same(one: State, other: State) -> bool:
    return all(
        torch.equal(tensor, other[key])  # type: ignore[arg-type]  # of one file all are of one kind
        if isinstance(tensor, Tensor)
        else tensor == other[key]
        for key, tensor in one.items()
    )


def _tell_the_nearest(found: list[Candidate], expected: Mapping[str, tuple[int, ...]], source: str) -> NoReturn:
    nearest = max(found, key=lambda candidate: (len(expected.keys() & candidate.state.keys()), -len(candidate.state)))
    shapes = nearest.shapes
    raise CheckpointMismatchError(
        f"{source}{f' ({nearest.place})' if nearest.place else ''}",
        [key for key in expected if key not in shapes],
        [key for key in shapes if key not in expected],
        [
            f"{key}: {shapes[key]} in the file, {expected[key]} in the network"
            for key in expected
            if key in shapes and shapes[key] != expected[key]
        ],
    )


def without_numbers(state: State) -> dict[str, Tensor]:
    """Tensors that have the shapes of a state dict and take no memory.

    Examples
    --------
    >>> import torch
    >>> without_numbers({"weight": torch.zeros(2, 2)})["weight"].device.type
    'meta'
    """
    return {key: torch.empty(tuple(tensor.shape), device="meta") for key, tensor in state.items()}


def permuted(tensor: StoredTensor | Tensor, order: tuple[int, ...]) -> StoredTensor | Tensor:
    """Let axes change places, as `torch.permute` does.

    Examples
    --------
    >>> import torch
    >>> tuple(permuted(torch.zeros(2, 3, 4), (1, 0, 2)).shape)
    (3, 2, 4)
    """
    if isinstance(tensor, Tensor):
        return tensor.permute(order)
    shape, stride = (tuple(values[axis] for axis in order) for values in (tensor.shape, tensor.stride))
    return replace(tensor, shape=shape, stride=stride)
