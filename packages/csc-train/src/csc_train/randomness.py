"""The state of the random generators, so that a resumed run draws what an unbroken one would."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_generators(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch.

    Examples
    --------
    >>> import torch
    >>> before = random_state()
    >>> seed_generators(42)
    >>> first = torch.rand(3)
    >>> seed_generators(42)
    >>> torch.equal(torch.rand(3), first)
    True
    >>> restore_random_state(before)
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # user code in a model may draw from the global generator
    torch.manual_seed(seed)


class RandomStream:
    """A state of the CPU's global generators that is taken up where it was left, beside that of everybody else.

    Parameters
    ----------
    seed, epoch : int
        Decide the first state.

    Examples
    --------
    >>> stream, same = RandomStream(0, 1), RandomStream(0, 1)
    >>> with stream:
    ...     first = random.random()
    >>> with same:
    ...     first == random.random()
    True
    """

    def __init__(self, seed: int, epoch: int) -> None:
        self._seeds = [int(each) for each in np.random.SeedSequence([seed, epoch]).generate_state(3)]
        self._state: Any = None
        self._outer: Any = None

    def __enter__(self) -> None:
        self._outer = _global_state()
        if self._state is not None:
            _set_global_state(self._state)
            return
        random.seed(self._seeds[0])
        np.random.seed(self._seeds[1])  # noqa: NPY002  # loaders of others draw from the global generator
        torch.default_generator.manual_seed(self._seeds[2])

    def __exit__(self, *error: object) -> None:
        self._state = _global_state()
        _set_global_state(self._outer)


def _global_state() -> tuple[Any, Any, torch.Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


def _set_global_state(state: tuple[Any, Any, torch.Tensor]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    torch.set_rng_state(state[2])


def random_state() -> dict[str, Any]:
    """Return the state of the global generators as plain data.

    Examples
    --------
    >>> import random
    >>> state = random_state()
    >>> first = random.random()
    >>> restore_random_state(state)
    >>> random.random() == first
    True
    """
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    state: dict[str, Any] = {
        "python": [version, list(numbers), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Bring the global generators into a state from `random_state`.

    Examples
    --------
    >>> import torch
    >>> state = random_state()
    >>> first = torch.rand(3)
    >>> restore_random_state(state)
    >>> torch.equal(torch.rand(3), first)
    True
    """
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all([entry.cpu() for entry in state["cuda"]])
