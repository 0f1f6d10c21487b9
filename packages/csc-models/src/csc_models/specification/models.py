"""What is known about a model besides its weights: how it is built, which arguments it takes, what it needs.

`ModelSpec` says it for a name, for all arguments; `ModelCard` for one network with its arguments.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from csc_models.errors import InputShapeError, ModelArgumentError, nearest
from csc_models.specification.arguments import check_arguments, plain_arguments
from csc_models.specification.sizes import SAME_SIZE, OutputRule, SizeRule

Arguments = Mapping[str, Any]
DESCRIPTION_ATTRIBUTE = "csc_description"
NO_ARGUMENTS: Arguments = MappingProxyType({})


_RANDOM: set[Any] = {Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_}
_UNTOLD = {"output_nc"}
"""By default as many as there are features in the official ResNet, which is nobody's number of classes."""
_ARRAYS: set[Any] = {torch.empty, torch.zeros, torch.ones}


class _Uninitialised(TorchFunctionMode):
    """Skips filling with random values; on the meta device that would import a thousand modules of torch first."""

    def __init__(self, most_arrays: float) -> None:
        super().__init__()
        self._arrays_left = most_arrays

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # Counted here only: an error in the call that ends `torch.no_grad` would leave gradients off.
        self._arrays_left -= func in _ARRAYS
        if self._arrays_left < 0 and func in _ARRAYS:
            raise ModelArgumentError("its arguments ask for many more layers than there are weights")
        named = kwargs or {}
        if func in _RANDOM:
            return args[0] if args else named["tensor"]
        if func is torch.linspace:  # builders read its values, say for rates of dropout per layer
            named = {**named, "device": "cpu"}
        return func(*args, **named)


@contextmanager
def without_weights(most_arrays: float = math.inf) -> Iterator[None]:
    """Build networks that have shapes and no values, in no time and memory; one of too many arrays is refused.

    Raises
    ------
    ModelArgumentError
        For a network of many more layers than expected.

    Examples
    --------
    >>> from csc_models import create_model
    >>> with without_weights():
    ...     model = create_model("3d_unet", n_channels=1, n_classes=14)
    >>> next(model.parameters()).device.type
    'meta'
    """
    with torch.device("meta"), _Uninitialised(most_arrays):
        yield


@contextmanager
def without_values() -> Iterator[None]:
    """Build networks whose weights are to be replaced: where they would be random, they are whatever memory holds.

    Unlike memory for a network of shapes, theirs is in the order in which the network itself puts it, on which it
    depends how convolutions round.
    """
    with _Uninitialised(math.inf):
        yield


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDescription:
    """Name and arguments from which a network can be built again.

    Attributes
    ----------
    name : str
        Name in the catalogue.
    arguments : mapping
        All arguments as plain data.
    """

    name: str
    arguments: Arguments


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Facts about one network.

    Attributes
    ----------
    name : str
        Name in the catalogue.
    arguments : mapping
        All arguments of the network, defaults included.
    summary : str
        What it is, in a sentence.
    ndim : int
        Number of spatial axes, 2 or 3.
    parameters : int
        Number of trainable parameters.
    receptive_field : int or None
        Voxels along an axis that an output voxel sees through convolutions; None if it sees all.
        Normalisation over the patch is left out.
    sizes : SizeRule
        Sizes of the spatial axes that it takes.
    source : str
        The publication, or what else defines it.
    output : OutputRule
        Sizes of its output.

    Examples
    --------
    >>> from csc_models import model_card
    >>> model_card("3d_unet_s").output_shape((64, 61, 50))
    (64, 61, 50)
    >>> model_card("cosem_setup04").output_shape((216, 216, 216))
    (68, 68, 68)
    """

    name: str
    arguments: Arguments
    summary: str
    ndim: int
    parameters: int
    receptive_field: int | None
    sizes: SizeRule
    source: str
    output: OutputRule = SAME_SIZE

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial sizes of the output for those of an input.

        Raises
        ------
        InputShapeError
            The network does not take this size; the text has one that it takes.
        """
        fitting = tuple(self.sizes.fit(size) for size in shape)
        if len(shape) != self.ndim or (self.sizes.step > 1 and fitting != tuple(shape)):
            raise InputShapeError(
                f"{self.name} takes {self.ndim} axes of {self.sizes}; got {tuple(shape)}"
                + (f", the next larger is {fitting}" if len(shape) == self.ndim else "")
            )
        return tuple(self.output.size(size) for size in shape)

    def __str__(self) -> str:
        field_of_view = "global" if self.receptive_field is None else f"{self.receptive_field} voxels"
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        lines = [
            f"{self.name}: {self.summary}",
            f"  arguments        {arguments}",
            f"  parameters       {self.parameters:,}",
            f"  receptive field  {field_of_view}",
            f"  input sizes      {self.sizes}",
        ]
        if self.output != SAME_SIZE:
            example = self.sizes.fit(216)
            factor = self.output.scale_factor
            finer = f" of 1/{factor} the size" if factor > 1 else ""
            lines.append(f"  output size      {self.output.size(example)} voxels{finer} at the centre of {example}")
        return "\n".join([*lines, f"  source           {self.source}"])


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """How the models of one name are built, and their facts as functions of the arguments.

    Attributes
    ----------
    name : str
        Name in the catalogue.
    builder : callable
        Builds the network from named, annotated arguments. A class keeps each argument as an attribute of the same
        name, so that a network that somebody constructed without the catalogue can be described as well.
    summary, ndim, source
        See `ModelCard`.
    sizes : callable
        Arguments to `SizeRule`.
    receptive_field : callable
        Arguments to `ModelCard.receptive_field`.
    fixed : mapping
        Arguments of the builder that the name stands for.
    channels, classes : str
        The builder's own words for the numbers of input and output channels; every model takes ``n_channels`` and
        ``n_classes`` for them.
    output : callable
        Arguments to `OutputRule`.
    aliases : tuple of str
        Other names that it is found by.
    encoder : tuple of str
        What the names of the weights of its encoder begin with, which sees raw first; empty where it has none apart.
    extra : str or None
        The extra of csc-models that must be installed to build it; see `csc_models.optional.is_installed`.

    Examples
    --------
    >>> from csc_models import model_spec
    >>> spec = model_spec("2d_unet_s")
    >>> list(spec.parameters())
    ['n_channels', 'n_classes', 'width', 'depth', 'norm', 'gradient_checkpointing']
    >>> spec.complete({"n_channels": 1, "n_classes": 2})["width"]
    16
    >>> spec.describe(spec.build({"n_channels": 1, "n_classes": 2, "width": 4})).arguments["width"]
    4
    >>> spec.card({"width": 4}).parameters < spec.card().parameters
    True
    """

    name: str
    builder: Callable[..., nn.Module]
    summary: str
    ndim: int
    source: str
    sizes: Callable[[Arguments], SizeRule]
    receptive_field: Callable[[Arguments], int | None]
    fixed: Arguments = field(default_factory=dict)
    channels: str = "n_channels"
    classes: str = "n_classes"
    output: Callable[[Arguments], OutputRule] = lambda _: SAME_SIZE
    aliases: tuple[str, ...] = ()
    encoder: tuple[str, ...] = ()
    extra: str | None = None

    def parameters(self) -> dict[str, inspect.Parameter]:
        """Arguments that a user gives, with annotations and defaults, by name."""
        signature = inspect.signature(self.builder, eval_str=True)
        return {name: parameter for name, parameter in signature.parameters.items() if name not in self.fixed}

    def complete(self, arguments: Arguments) -> dict[str, Any]:
        """Check what was given, and add the defaults.

        Raises
        ------
        ModelArgumentError
            A name that the model does not take, a missing one, or a value of the wrong type.
        """
        parameters = self.parameters()
        given: dict[str, Any] = {}
        for name, value in arguments.items():
            own_name = {"n_channels": self.channels, "n_classes": self.classes}.get(name, name)
            if own_name not in parameters:
                known = {*parameters, "n_channels", "n_classes"}
                hint = nearest(name, known)
                raise ModelArgumentError(
                    f"{self.name} takes no argument {name!r}{hint}; its arguments are: {', '.join(parameters)}"
                )
            if own_name in given:
                raise ModelArgumentError(f"{self.name}: {name!r} and {own_name!r} are the same argument; give one")
            given[own_name] = value
        return check_arguments(self.name, parameters, given)

    def build(self, arguments: Arguments) -> nn.Module:
        """Build the network, and leave its description on it."""
        complete = self.complete(arguments)
        model = self.builder(**self.fixed, **complete)
        # Kept on the network itself, so that copies of it (an EMA, say) know what they are, too.
        given = ModelDescription(name=self.name, arguments=plain_arguments(complete))
        description = self.describe(model) or given
        object.__setattr__(model, DESCRIPTION_ATTRIBUTE, description)
        return model

    def describe(self, model: nn.Module) -> ModelDescription | None:
        """Describe a network that was made by calling its class; None if it is not of this name."""
        if type(model) is not self.builder:
            return None
        if any(getattr(model, name) != value for name, value in self.fixed.items()):
            return None
        names = tuple(self.parameters())
        if not all(hasattr(model, name) for name in names):
            return None
        arguments = {name: getattr(model, name) for name in names}
        return ModelDescription(name=self.name, arguments=plain_arguments(arguments))

    def card(self, arguments: Arguments = NO_ARGUMENTS) -> ModelCard:
        """Facts about the network with these arguments; one input channel and two classes unless it has defaults."""
        complete = self.complete(self._with_channels(arguments))
        with without_weights():
            model = self.builder(**self.fixed, **complete)
        description = self.describe(model)
        return ModelCard(
            name=self.name,
            arguments=MappingProxyType(dict(description.arguments if description else plain_arguments(complete))),
            summary=self.summary,
            ndim=self.ndim,
            parameters=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
            receptive_field=self.receptive_field(complete),
            sizes=self.sizes(complete),
            source=self.source,
            output=self.output(complete),
        )

    def _with_channels(self, arguments: Arguments) -> dict[str, Any]:
        parameters = self.parameters()
        defaults = {
            long: value
            for long, own, value in (("n_channels", self.channels, 1), ("n_classes", self.classes, 2))
            if not {long, own} & set(arguments)
            and (own in _UNTOLD or parameters[own].default is inspect.Parameter.empty)
        }
        return {**defaults, **arguments}
