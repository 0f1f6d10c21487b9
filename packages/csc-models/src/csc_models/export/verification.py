"""Exported files are run before they get their name: their outputs must be those of the network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from csc_models.errors import ExportError
from csc_models.export.exportable import Exportable

Format = Literal["torchscript", "export", "onnx", "bioimageio"]
# Outputs that are all smaller, as of a head that starts at zero, are compared with this: rounding further inside the
# network does not shrink with them.
_SMALLEST_SCALE = 1e-2
# What torch and onnxruntime raise for inputs and operations that they cannot take.
RUN_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    AssertionError,
    NotImplementedError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedFile:
    """An exported network that was run and gave the outputs of the original.

    Attributes
    ----------
    path : Path
        The file.
    format : {"torchscript", "export", "onnx", "bioimageio"}
        What it is.
    input_shape : tuple of int
        Shape (B, C, [z,] y, x) of the input that it was traced with.
    dynamic_axes : tuple of str
        Axes whose size is free: "batch", "z", "y", "x"; others have the size of `input_shape`.
    smallest, step : int
        Free spatial axes have the smallest size plus a multiple of the step, in voxels.
    largest_difference : float
        Between its outputs and the network's, relative to the largest output.
    notes : tuple of str
        What there is to know about it, for people.
    """

    path: Path
    format: Format
    input_shape: tuple[int, ...]
    dynamic_axes: tuple[str, ...]
    smallest: int
    step: int
    largest_difference: float
    notes: tuple[str, ...] = ()


def example_input(shape: Sequence[int]) -> Tensor:
    """Reproducible values in [0, 1], without touching the global generator.

    Examples
    --------
    >>> tuple(example_input((1, 1, 4, 4)).shape)
    (1, 1, 4, 4)
    """
    return torch.rand(tuple(shape), generator=torch.Generator().manual_seed(0))


def difference(network: nn.Module, run: Callable[[Tensor], Tensor], shape: Sequence[int]) -> float:
    """The largest difference between a network and its export, relative to the largest output.

    Infinite if the shapes differ, or there is a value that is not finite in one and finite in the other.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Identity()
    >>> difference(network, lambda x: x, (1, 1, 4, 4)), difference(network, lambda x: x[..., 1:], (1, 1, 4, 4))
    (0.0, inf)
    """
    x = example_input(shape)
    with torch.no_grad():
        expected = network(x)
    actual = run(x)
    if actual.shape != expected.shape:
        return float("inf")
    relative = float((actual - expected).abs().max()) / max(_SMALLEST_SCALE, float(expected.abs().max()))
    return float("inf") if math.isnan(relative) else relative


def check_agreement(source: Exportable, run: Callable[[Tensor], Tensor], dynamic_axes: Sequence[str]) -> float:
    """Run an export on the input that it was traced with, and on ones with other sizes.

    Returns
    -------
    float
        The largest relative difference.

    Raises
    ------
    ExportError
        It is above the tolerance, or the export does not run.
    """
    found = 0.0
    for shape in (source.example, *source.further_examples(dynamic_axes)):
        try:
            found = max(found, difference(source.network, run, shape))
        except RUN_ERRORS as error:
            raise ExportError(f"the exported network does not run on an input of {shape}: {reason(error)}") from error
        if found > source.tolerance:
            raise ExportError(
                f"on an input of {shape}, the exported network differs from the original by {found:.2g} of the largest "
                f"output; the tolerance is {source.tolerance:g}"
            )
    return found


def reason(error: Exception) -> str:
    r"""The kind and the first line of an error, for a message.

    Examples
    --------
    >>> reason(ValueError("too large\nand more"))
    'ValueError: too large'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no text'}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings that users of an export cannot do anything about from them.

    Torch's exporters warn about their own insides, and about sizes becoming constants, which is checked afterwards.
    """
    jit: Any = torch.jit  # its names have no types
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning, UserWarning, jit.TracerWarning):
            warnings.simplefilter("ignore", kind)
        yield
