"""What every export needs to know of a network: the module itself, its input, and which sizes it takes."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from csc_models.catalog import describe_model, model_card, model_spec
from csc_models.checkpoint.contents import CheckpointDescription, described
from csc_models.checkpoint.state_dicts import unwrapped
from csc_models.ensemble import ENSEMBLE
from csc_models.errors import ExportError
from csc_models.specification import SAME_SIZE, ModelCard, ModelDescription, OutputRule, SizeRule

AXES = {2: ("y", "x"), 3: ("z", "y", "x")}


class _OneOutput(nn.Module):
    """A network with deep supervision, of whose outputs only the first, and largest, is wanted."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to (B, classes, ...)."""
        output = self.network(x)
        first: Tensor = output[0] if isinstance(output, (list, tuple)) else output
        return first


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """How an export is tried: the file has to give the network's outputs.

    Attributes
    ----------
    shape : sequence of int, optional
        Shape (B, C, [z,] y, x) of the input to trace the network with; needed for a network of one's own.
    tolerance : float
        Largest difference of outputs, relative to the largest output.
    """

    shape: Sequence[int] | None = None
    tolerance: float = 1e-4


DEFAULT_TRIAL = Trial()


@dataclass(frozen=True, kw_only=True, slots=True)
class Exportable:
    """A network as exports take it.

    Attributes
    ----------
    network : torch.nn.Module
        A copy on the CPU, in float32 and evaluation mode, with a single output.
    description : CheckpointDescription
        Name, arguments, classes, arrays and raw range, as far as they are known.
    channels : int
        Number of input channels.
    sizes : SizeRule or None
        Sizes of the spatial axes that it takes; None for a network of one's own, which takes that of `example` only.
    output : OutputRule
        How the size of the output follows.
    receptive_field : int or None
        Voxels along an axis that an output voxel sees; None if it is not known, or sees all.
    example : tuple of int
        Shape (B, C, [z,] y, x) of an input to trace the network with.
    smallest, unit : int
        Spatial sizes of exported files are the smallest one plus multiples of the unit, in voxels.
    tolerance : float
        Largest difference of outputs that an export may have, relative to the largest output.
    """

    network: nn.Module
    description: CheckpointDescription
    channels: int
    sizes: SizeRule | None
    output: OutputRule
    receptive_field: int | None
    example: tuple[int, ...]
    smallest: int
    unit: int
    tolerance: float

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the spatial axes."""
        return AXES[len(self.example) - 2]

    def further_examples(self, dynamic_axes: Sequence[str]) -> list[tuple[int, ...]]:
        """Shapes of inputs with other sizes along free axes; with free spatial axes, the smallest is among them."""
        if not dynamic_axes:
            return []
        batch, channels, *sizes = self.example
        other = 1 if batch > 1 else 2
        if not set(self.axes) <= set(dynamic_axes):
            return [(other, channels, *sizes)]
        larger = [size + self.unit * (axis % 2 == 0) for axis, size in enumerate(sizes)]
        return [(other, channels, *larger), (1, channels, *[self.smallest] * len(sizes))]


def exportable(model: nn.Module, description: CheckpointDescription | None, trial: Trial) -> Exportable:
    """Take a network apart for an export; the network itself stays as it is.

    Parameters
    ----------
    model : torch.nn.Module
        From the catalogue, an ensemble of such, or one's own.
    description : CheckpointDescription, optional
        What it was trained for.
    trial : Trial
        How it is tried.

    Raises
    ------
    ExportError
        The shape is missing or wrong, or the network does not take it.

    Examples
    --------
    >>> from csc_models import create_model
    >>> found = exportable(create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2), None, DEFAULT_TRIAL)
    >>> found.channels, found.axes, found.unit
    (1, ('y', 'x'), 2)
    """
    shape = trial.shape
    network = copy.deepcopy(unwrapped(model)).to(device="cpu", dtype=torch.float32).eval().requires_grad_(False)
    full = described(description or CheckpointDescription(), network)
    own = describe_model(network)
    if own is None:
        if shape is None:
            raise ExportError(
                "the network is not in the catalogue: give trial=Trial(shape=(batch, channels, [z,] y, x))"
            )
        sizes, output, field, channels = None, SAME_SIZE, None, shape[1] if len(shape) > 1 else 0
        ndim = len(shape) - 2
    else:
        cards = _cards(own)
        ndim, output, field, sizes = cards[0].ndim, cards[0].output, _largest_field(cards), _common_sizes(cards)
        channels = cards[0].arguments[model_spec(cards[0].name).channels]
    example = _example(shape, ndim, channels, sizes)
    smallest, unit = (min(example[2:]), 1) if sizes is None else _steps(sizes)
    found = Exportable(
        network=_OneOutput(network), description=full, channels=channels, sizes=sizes, output=output,
        receptive_field=field, example=example, smallest=smallest, unit=unit,
        tolerance=trial.tolerance,
    )  # fmt: skip
    _check_output(found)
    return found


def _cards(own: ModelDescription) -> list[ModelCard]:
    """Facts of the network, or of all members of an ensemble."""
    if own.name != ENSEMBLE:
        return [model_card(own.name, **own.arguments)]
    return [model_card(member["name"], **member["arguments"]) for member in own.arguments["members"]]


def _common_sizes(cards: Sequence[ModelCard]) -> SizeRule | None:
    """Sizes that all members of an ensemble take; None if there is no simple rule."""
    rules = [card.sizes for card in cards]
    if all(rule.step == 1 for rule in rules):
        return SizeRule(
            minimum=max(rule.minimum for rule in rules),
            efficient_multiple=math.lcm(*(rule.efficient_multiple for rule in rules)),
        )
    return rules[0] if all(rule == rules[0] for rule in rules) else None


def _largest_field(cards: Sequence[ModelCard]) -> int | None:
    fields = [card.receptive_field for card in cards]
    return None if None in fields else max(field for field in fields if field is not None)


def _example(shape: Sequence[int] | None, ndim: int, channels: int, sizes: SizeRule | None) -> tuple[int, ...]:
    if shape is not None:
        if ndim not in AXES or len(shape) != ndim + 2 or shape[1] != channels or min(shape) < 1:
            raise ExportError(f"shape={tuple(shape)} is not (batch, {channels}, {', '.join(AXES.get(ndim, AXES[3]))})")
        return tuple(shape)
    if sizes is None:
        raise ExportError(
            "the networks of the ensemble take different sizes: give trial=Trial(shape=(batch, channels, [z,] y, x))"
        )
    if sizes.step > 1:
        return (2, channels, *[sizes.minimum] * ndim)
    # More than one voxel at the coarsest level, so that no axis looks like one that is 1 by design; unequal sizes, so
    # that a file with axes in the wrong order would be noticed.
    smallest, unit = _steps(sizes)
    return (2, channels, *[smallest + unit] * (ndim - 1), smallest + 2 * unit)


def _steps(sizes: SizeRule) -> tuple[int, int]:
    """The smallest size and the step of sizes that need no padding inside."""
    if sizes.step > 1:
        return sizes.minimum, sizes.step
    unit = sizes.efficient_multiple
    return -(-sizes.minimum // unit) * unit, unit


def _check_output(found: Exportable) -> None:
    with torch.no_grad():
        try:
            output = found.network(torch.zeros(found.example))
        except (RuntimeError, ValueError) as error:
            raise ExportError(f"the network does not take an input of {found.example}: {error}") from error
    if not isinstance(output, Tensor) or output.ndim != len(found.example):
        raise ExportError("only networks that give one array (B, classes, [z,] y, x) can be exported")
