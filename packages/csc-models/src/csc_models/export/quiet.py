"""Torch's exporters warn about their own insides, and about sizes becoming constants, which is checked afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings that users of an export cannot do anything about from them."""
    jit: Any = torch.jit  # its names have no types
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning, UserWarning, jit.TracerWarning):
            warnings.simplefilter("ignore", kind)
        yield
