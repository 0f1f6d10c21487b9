"""The challenge's ResNets: ``2d_resnet`` and ``3d_resnet``, after the generator of Johnson's style transfer.

Everything is one sequence ``model``, whose numbering shifts with the arguments; it is that of the challenge's toolbox,
so that state dicts saved by it load strictly.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from itertools import takewhile
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from csc_models.errors import ModelArgumentError
from csc_models.nets.layers import (
    BATCH_NORM,
    CONVOLUTION,
    INSTANCE_NORM,
    TRANSPOSED,
    check_input,
    check_least,
    crop_centre,
    crop_end,
)
from csc_models.nets.recomputation import recomputed
from csc_models.specification import Arguments, ModelSpec, SizeRule
from csc_models.specification.receptive_field import Step, convolution, receptive_field, strided_transposition

PaddingName = Literal["reflect", "same", "replicate", "zeros", "valid"]
Layer = str | Mapping[str, Any] | Callable[..., nn.Module]
"""A name, a class of torch, what makes a layer, or, as files have it, {"layer": "ELU", "alpha": 2}."""

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
_REFLECTION: dict[int, Callable[[int], nn.Module]] = {2: nn.ReflectionPad2d, 3: nn.ReflectionPad3d}
_REPLICATION: dict[int, Callable[[int], nn.Module]] = {2: nn.ReplicationPad2d, 3: nn.ReplicationPad3d}
_LAST_CONVOLUTION = 7


class _Layers:
    """Makes the layers of one network, which share padding, normalisation and activation."""

    def __init__(self, ndim: int, padding: str, norm: Callable[..., nn.Module], activation: Callable[..., nn.Module]):
        self.ndim = ndim
        self.padding = padding
        self.normalisation = norm
        self.activation = activation
        # Batch norm has an offset of its own, and instance norm (here without parameters) removes it as well, but the
        # challenge's networks have it.
        self.bias = getattr(norm, "func", norm) is INSTANCE_NORM[ndim]

    def convolution(self, channels: int, wide: int, kernel: int, *, bias: bool = True) -> list[nn.Module]:
        """Convolution that keeps the size, preceded by its padding where that is a layer."""
        margin = kernel // 2
        zeros = margin if self.padding == "zeros" else 0
        layers: list[nn.Module] = []
        if self.padding in ("reflect", "same"):
            layers.append(_REFLECTION[self.ndim](margin))
        elif self.padding == "replicate":
            layers.append(_REPLICATION[self.ndim](margin))
        layers.append(CONVOLUTION[self.ndim](channels, wide, kernel_size=kernel, padding=zeros, bias=bias))
        return layers

    def normalised(self, layer: nn.Module, wide: int) -> list[nn.Module]:
        """Let normalisation and activation follow a layer."""
        return [layer, self.normalisation(wide), self.activation()]

    def down(self, channels: int) -> list[nn.Module]:
        """Halve the resolution, double the channels."""
        margin = 0 if self.padding == "valid" else 1
        wide = 2 * channels
        layer = CONVOLUTION[self.ndim](channels, wide, kernel_size=3, stride=2, padding=margin, bias=self.bias)
        return self.normalised(layer, wide)

    def up(self, channels: int) -> list[nn.Module]:
        """Double the resolution, halve the channels."""
        margin = 0 if self.padding == "valid" else 1
        wide = channels // 2
        layer = TRANSPOSED[self.ndim](
            channels, wide, kernel_size=3, stride=2, padding=margin, output_padding=margin, bias=self.bias
        )
        return self.normalised(layer, wide)


class ResnetBlock(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, layers: _Layers, channels: int, use_dropout: bool) -> None:
        super().__init__()
        first = layers.convolution(channels, channels, 3, bias=layers.bias)
        second = layers.convolution(channels, channels, 3, bias=layers.bias)
        self.conv_block = nn.Sequential(
            *first[:-1],
            *layers.normalised(first[-1], channels),
            *([nn.Dropout(0.2)] if use_dropout else []),
            *second,
            layers.normalisation(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, ...) to the same; valid convolutions leave its centre."""
        change: Tensor = self.conv_block(x)
        return crop_centre(x, change.shape[2:]) + change


class ResNet(nn.Module):
    """The challenge's ResNet for two or three spatial axes.

    Parameters
    ----------
    ndims : int
        Number of spatial axes, 2 or 3.
    input_nc : int
        Number of input channels.
    output_nc : int, optional
        Number of output channels; as many as `ngf` if not given.
    ngf : int
        Channels at full resolution; they double with each downsampling.
    norm_layer : {"instance", "batch"}, class or callable
        Normalisation; instance norm has no parameters here. Takes a number of channels: classes of torch, and
        ``functools.partial`` of them, can be told to a checkpoint; what else makes a layer cannot.
    use_dropout : bool
        Drop 20 % of the features inside the blocks in training.
    n_blocks : int
        Number of residual blocks.
    padding_type : {"reflect", "same", "replicate", "zeros", "valid"}
        Padding of the convolutions, in upper or lower case; "same" is another word for "reflect". "valid" pads nothing,
        so that the output is smaller than the input, around the same centre.
    activation : {"relu", "leaky_relu", "elu", "gelu", "silu"}, class or callable
        Activation after normalisation; as `norm_layer`, without an argument.
    n_downsampling : int
        How many times the resolution is halved.
    gradient_checkpointing : bool
        Compute activations again in the backward pass instead of keeping them: less memory, more time.

    Raises
    ------
    ModelArgumentError
        A number is out of range, or a layer is not known or does not fit.
    """

    def __init__(
        self,
        ndims: int,
        *,
        input_nc: int = 1,
        output_nc: int | None = None,
        ngf: int = 64,
        norm_layer: Layer = "instance",
        use_dropout: bool = False,
        n_blocks: int = 6,
        padding_type: str = "reflect",
        activation: Layer = "relu",
        n_downsampling: int = 2,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if ndims not in (2, 3):
            raise ModelArgumentError(f"ResNet: ndims={ndims} must be 2 or 3")
        output_nc = ngf if output_nc is None else output_nc
        check_least("ResNet", input_nc=input_nc, output_nc=output_nc, ngf=ngf)
        check_least("ResNet", least=0, n_blocks=n_blocks, n_downsampling=n_downsampling)
        self.ndims = ndims
        self.input_nc = input_nc
        self.output_nc = output_nc
        self.ngf = ngf
        norms = {"instance": INSTANCE_NORM[ndims], "batch": BATCH_NORM[ndims]}
        self.norm_layer, norm = _layer("norm_layer", norm_layer, norms)
        self.use_dropout = use_dropout
        self.n_blocks = n_blocks
        self.padding_type = str(padding_type).lower()
        if self.padding_type not in get_args(PaddingName):
            raise ModelArgumentError(
                f"ResNet: padding_type={padding_type!r} is not one of {', '.join(get_args(PaddingName))}"
            )
        self.activation, activate = _layer("activation", activation, _ACTIVATIONS)
        self.n_downsampling = n_downsampling
        self.gradient_checkpointing = gradient_checkpointing
        self._minimum = _minimum(self.padding_type, n_blocks, n_downsampling)
        for wide in (ngf, 2 * ngf)[: 1 + min(n_downsampling, 1)]:
            if self.norm_layer not in list(norms):  # a dict has no hash
                _check_layer(f"ResNet: norm_layer={norm_layer!r}", partial(norm, wide), (2, wide, *[2] * ndims))
            if self.activation not in list(_ACTIVATIONS):
                _check_layer(f"ResNet: activation={activation!r}", activate, (2, wide, *[2] * ndims))

        stages = self._stages(_Layers(ndims, self.padding_type, norm, activate))
        self._stage_sizes = [len(stage) for stage in stages]
        self.model = nn.Sequential(*(layer for stage in stages for layer in stage))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, input_nc, [z,] y, x) to logits (B, output_nc, [z,] y, x).

        The spatial size is that of the input, but with `padding_type` "valid".

        Raises
        ------
        InputShapeError
            Wrong number of axes or channels, or an axis that is too short.
        """
        check_input("ResNet", x, self.ndims, self.input_nc, self._minimum)
        sizes = x.shape[2:]
        if self.gradient_checkpointing:
            start = 0
            for length in self._stage_sizes:
                x = recomputed(self.model[start : start + length], x, enabled=True)
                start += length
        else:
            x = self.model(x)
        # The strides round odd sizes up.
        return x if self.padding_type == "valid" else crop_end(x, sizes)

    def _stages(self, layers: _Layers) -> list[list[nn.Module]]:
        """All layers in their order, in groups that gradient checkpointing computes together."""
        first = layers.convolution(self.input_nc, self.ngf, _LAST_CONVOLUTION, bias=layers.bias)
        stages = [[*first[:-1], *layers.normalised(first[-1], self.ngf)]]
        channels = self.ngf
        for _ in range(self.n_downsampling):
            stages.append(layers.down(channels))
            channels *= 2
        stages += [[ResnetBlock(layers, channels, self.use_dropout)] for _ in range(self.n_blocks)]
        for _ in range(self.n_downsampling):
            stages.append(layers.up(channels))
            channels //= 2
        stages.append(layers.convolution(channels, self.output_nc, _LAST_CONVOLUTION))
        return stages


def _layer(name: str, given: Layer, known: Mapping[str, type[nn.Module]]) -> tuple[Any, Callable[..., nn.Module]]:
    """Return a kind of layer as plain data (or as it is, where it cannot be told), and what makes it."""
    if isinstance(given, Mapping):
        kept = {option: value for option, value in given.items() if option != "layer"}
        layer = _torch_class(name, given.get("layer"), known)
        # The first ones as such: the number of channels comes behind them, as in partial(GroupNorm, 8).
        first = [kept.pop(each) for each in takewhile(kept.__contains__, list(inspect.signature(layer).parameters))]
        given = partial(layer, *first, **kept)
    elif isinstance(given, str):
        given = _torch_class(name, given, known)
    if not callable(given):
        raise ModelArgumentError(f"ResNet: {name}={given!r} is not a name or a class of a layer")
    made: Any = given
    options: dict[str, Any] = {}
    if isinstance(given, partial):
        made = given.func
        try:
            options = dict(inspect.signature(made).bind_partial(*given.args, **given.keywords).arguments)
        except TypeError as error:
            raise ModelArgumentError(f"ResNet: {name}={given!r}: {error}") from error
    own_name = str(getattr(made, "__name__", ""))
    if getattr(nn, own_name, None) is not made:
        return given, given
    word = next((word for word, layer in known.items() if layer is made), own_name)
    return ({"layer": own_name, **options} if options else word), given


def _torch_class(name: str, word: object, known: Mapping[str, type[nn.Module]]) -> type[nn.Module]:
    found = known.get(str(word)) or getattr(nn, str(word), None)
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        names = ", ".join(map(repr, known))
        raise ModelArgumentError(f"ResNet: {name}={word!r} is not one of {names}, nor a layer of torch.nn")
    return found


def _check_layer(what: str, make: Callable[[], object], shape: tuple[int, ...]) -> None:
    """Try a layer: it must give what it takes, whatever its class says."""
    try:
        with torch.device("cpu"), torch.random.fork_rng(devices=()):
            made = make()
            result = made(torch.zeros(shape)) if isinstance(made, nn.Module) else made
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise ModelArgumentError(f"{what} does not work on {shape[1]} channels: {error}") from error
    if not isinstance(result, Tensor) or result.shape != shape:
        raise ModelArgumentError(f"{what} does not give a tensor of the shape that it takes")


def _minimum(padding_type: str, n_blocks: int, n_downsampling: int) -> int:
    """The smallest input for which every layer has what it needs: two voxels for instance norm and for reflection."""
    if padding_type != "valid":
        return max(4, (1 << n_downsampling) + 1)
    size = _LAST_CONVOLUTION
    for _ in range(n_downsampling):
        size = -(-(size - 1) // 2)
    size = max(size, 2) + 4 * n_blocks
    for _ in range(n_downsampling):
        size = 2 * (size - 1) + 3
    return size + _LAST_CONVOLUTION - 1


def _sizes(arguments: Arguments) -> SizeRule:
    padding_type, n_downsampling = arguments["padding_type"].lower(), arguments["n_downsampling"]
    note = "the output is smaller than the input (valid convolutions)" if padding_type == "valid" else ""
    return SizeRule(
        minimum=_minimum(padding_type, arguments["n_blocks"], n_downsampling),
        efficient_multiple=2**n_downsampling,
        note=note,
    )


def _receptive_field(arguments: Arguments) -> int:
    n_downsampling = arguments["n_downsampling"]
    steps: list[Step] = [convolution(_LAST_CONVOLUTION)]
    steps += [strided_transposition()] * n_downsampling
    steps += [convolution(3)] * (2 * arguments["n_blocks"])
    steps += [convolution(3, stride=2)] * n_downsampling
    steps += [convolution(_LAST_CONVOLUTION)]
    return receptive_field(steps, period=2**n_downsampling)


SPECS = tuple(
    ModelSpec(
        name=f"{ndim}d_resnet",
        builder=ResNet,
        fixed={"ndims": ndim},
        summary=f"the challenge's {ndim}D ResNet, six residual blocks at a quarter of the resolution",
        ndim=ndim,
        source="Johnson et al., Perceptual losses for style transfer, 2016, https://arxiv.org/abs/1603.08155",
        sizes=_sizes,
        receptive_field=_receptive_field,
        channels="input_nc",
        classes="output_nc",
    )
    for ndim in (2, 3)
)
