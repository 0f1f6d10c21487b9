"""The network of an experiment, and how its output meets the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from csc_data.errors import InvalidArgumentError
from csc_data.loader import ArrayInfo, PatchShape
from csc_models import create_model, describe_model, model_card
from csc_models.pretrained import pretrained_card
from csc_train.parts import freeze
from csc_train.settings import TrainSettings
from csc_train.settings.network import weights_file


def build_network(settings: TrainSettings, channels: int | None = None) -> nn.Module:
    """Return the network to train, parts of it frozen: the module that the settings hold, or one from the catalogue.

    Parameters
    ----------
    settings : TrainSettings
    channels : int, optional
        Channels that it gives; by default those of all targets together.

    Raises
    ------
    InvalidArgumentError
        If ``model`` is something else than a torch module, or has no such parts.
    csc_models.ModelError
        If the catalogue has no such network, or it does not take the arguments.

    Examples
    --------
    >>> from csc_train import TrainSettings
    >>> settings = TrainSettings(
    ...     classes=["nuc", "mito"], model_name="2d_unet_s", model_kwargs={"width": 4, "depth": 2},
    ...     input_array_info={"shape": (1, 64, 64), "scale": (8, 8, 8)},
    ... )
    >>> build_network(settings).n_classes
    2
    """
    network = settings.model
    if network is None:
        network = create_model(_network_name(settings), **_network_arguments(settings, channels))
    if not isinstance(network, nn.Module):
        raise InvalidArgumentError(f"model must be a torch module, got {network!r}")
    if settings.frozen:
        freeze(network, settings.frozen)
    return network


def network_with_channels(settings: TrainSettings, more: int) -> nn.Module:
    """Return the network of the catalogue with so many more output channels; where they differ is its head."""
    arguments = _network_arguments(settings)
    return create_model(_network_name(settings), **{**arguments, "n_classes": arguments["n_classes"] + more})


def target_array_info(settings: TrainSettings) -> ArrayInfo:
    """Return what the network gives: as the settings say, else as its card says, else like the input.

    Networks with valid convolutions give less than they take, and some give it at a finer voxel size.

    Raises
    ------
    csc_models.ModelError
        If the network does not take patches of this shape; the text has the next larger.

    Examples
    --------
    >>> from csc_train import TrainSettings
    >>> patch = {"shape": (32, 32, 32), "scale": (8, 8, 8)}
    >>> target_array_info(TrainSettings(classes=["nuc"], model_name="3d_unet_s", input_array_info=patch)).shape
    (32, 32, 32)
    """
    given = settings.input_array_info
    if settings.target_array_info is not None:
        return settings.target_array_info
    if settings.model is None:
        card = model_card(_network_name(settings), **_network_arguments(settings))
    else:
        description = describe_model(settings.model)
        if description is None:
            return given
        card = model_card(description.name, **description.arguments)
    if card.ndim != 3:  # the sizes of flat patches are those of a plane
        return given
    z, y, x = card.output_shape(given.shape)
    factor = card.output.scale_factor
    nm_z, nm_y, nm_x = given.scale
    return ArrayInfo(shape=(z, y, x), scale=(nm_z / factor, nm_y / factor, nm_x / factor))


def patch_shape(settings: TrainSettings) -> PatchShape:
    """Return what the network takes and gives; see `target_array_info`.

    Examples
    --------
    >>> from csc_train import TrainSettings
    >>> patch = {"shape": (32, 32, 32), "scale": (8, 8, 8)}
    >>> patch_shape(TrainSettings(classes=["nuc"], model_name="3d_unet_s", input_array_info=patch)).target.shape
    (32, 32, 32)
    """
    return PatchShape(
        input=settings.input_array_info,
        target=target_array_info(settings),
        further_inputs=settings.further_inputs,
        further_targets=settings.further_targets,
    )


def _network_name(settings: TrainSettings) -> str:
    published = None
    if settings.pretrained and weights_file(settings.pretrained) is None:
        published = pretrained_card(settings.pretrained).model
    return settings.architecture or published or settings.model_name


def _network_arguments(settings: TrainSettings, channels: int | None = None) -> dict[str, Any]:
    if channels is None:
        channels = sum(len(kind.channel_names(settings.classes)) for kind in settings.kinds.values())
    wanted = {name: True for name in ("deep_supervision", "gradient_checkpointing") if getattr(settings, name)}
    given = 1 + len(settings.further_inputs)
    return {"n_channels": given, "n_classes": channels, **wanted, **settings.model_kwargs}


def joined_inputs(given: Mapping[str, Tensor]) -> Tensor:
    """Return several inputs as the channels of one, for a network that takes one array.

    Raises
    ------
    InvalidArgumentError
        If they have different numbers of voxels.

    Examples
    --------
    >>> import torch
    >>> tuple(joined_inputs({"raw": torch.rand(1, 1, 4, 4), "coarse": torch.rand(1, 1, 4, 4)}).shape)
    (1, 2, 4, 4)
    """
    if len({tuple(array.shape[2:]) for array in given.values()}) > 1:
        found = ", ".join(f"{name} {tuple(array.shape[2:])}" for name, array in given.items())
        raise InvalidArgumentError(
            f"a network of the catalogue takes inputs of as many voxels each, as channels, and not {found}; give them "
            "the same shape, or a model of your own that takes a mapping"
        )
    return torch.cat(list(given.values()), 1)


def named_outputs(outputs: object, channels: Mapping[str, int]) -> dict[str, Tensor | list[Tensor]]:
    """Return what a network gives by the names of its outputs.

    Parameters
    ----------
    outputs : Tensor, sequence or mapping
        A tensor (B, C, [z,] y, x) holds the channels of all outputs in their order. A mapping names outputs. A list is
        deep supervision, largest first, or else one entry for each output in their order.
    channels : mapping
        From names to numbers of channels.

    Raises
    ------
    InvalidArgumentError
        If outputs are missing, or channels do not add up.

    Examples
    --------
    >>> import torch
    >>> found = named_outputs(torch.rand(1, 3, 4, 4), {"output": 2, "distances": 1})
    >>> {name: tuple(values.shape) for name, values in found.items()}
    {'output': (1, 2, 4, 4), 'distances': (1, 1, 4, 4)}
    """
    names, total = tuple(channels), sum(channels.values())
    if isinstance(outputs, Tensor):
        return dict(_split_channels(outputs, channels))
    if isinstance(outputs, Mapping):
        missing = [name for name in names if name not in outputs]
        if missing:
            given = ", ".join(map(str, outputs))
            raise InvalidArgumentError(f"the network gives {given}; {', '.join(missing)} must be among it")
        return {name: outputs[name] for name in names}
    if not isinstance(outputs, list | tuple) or not outputs or not all(isinstance(one, Tensor) for one in outputs):
        raise InvalidArgumentError(f"a network must give tensors, a list or a mapping of them, got {outputs!r}")
    if len(names) > 1 and len(outputs) == len(names) and outputs[0].shape[1] != total:
        return dict(zip(names, outputs, strict=True))
    levels = [_split_channels(level, channels) for level in outputs]
    return {name: [level[name] for level in levels] for name in names}


def _split_channels(output: Tensor, channels: Mapping[str, int]) -> dict[str, Tensor]:
    if len(channels) == 1:
        return dict.fromkeys(channels, output)
    if output.shape[1] != sum(channels.values()):
        wanted = " + ".join(f"{count} of {name}" for name, count in channels.items())
        raise InvalidArgumentError(f"the network gives {output.shape[1]} channels where {wanted} are needed")
    return dict(zip(channels, torch.split(output, list(channels.values()), 1), strict=True))


def fit_output(logits: Tensor, target: Tensor) -> Tensor:
    """Cut the centre out of an output that is larger than the target.

    Raises
    ------
    InvalidArgumentError
        If channels or sizes cannot fit.

    Examples
    --------
    >>> import torch
    >>> tuple(fit_output(torch.rand(1, 2, 8, 8), torch.rand(1, 2, 4, 4)).shape)
    (1, 2, 4, 4)
    """
    if logits.shape[:2] != target.shape[:2] or logits.ndim != target.ndim:
        raise InvalidArgumentError(
            f"the network gives {tuple(logits.shape)} where targets are {tuple(target.shape)} (batch, classes, voxels)"
        )
    return crop_centre(logits, tuple(target.shape[2:]))


def crop_centre(values: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Cut the centre out of the last axes.

    Raises
    ------
    InvalidArgumentError
        If an axis is shorter than asked, or cannot be cut alike on both sides.

    Examples
    --------
    >>> import torch
    >>> crop_centre(torch.arange(6), (2,)).tolist()
    [2, 3]
    """
    found = tuple(values.shape[-len(sizes) :])
    if found == sizes:
        return values
    if any(have < want or (have - want) % 2 for have, want in zip(found, sizes, strict=True)):
        raise InvalidArgumentError(
            f"the network gives {found} voxels where {sizes} are wanted; set target_array_info to what it gives"
        )
    for axis, (have, want) in enumerate(zip(found, sizes, strict=True)):
        values = values.narrow(values.ndim - len(sizes) + axis, (have - want) // 2, want)
    return values


class WeightAverage:
    """A running mean of a network's weights (EMA), and of its running statistics, which vary from batch to batch.

    Parameters
    ----------
    network : torch.nn.Module
    decay : float
        Share of the mean that a step keeps; in the first steps less, so that it does not stay at the random weights.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Linear(1, 1, bias=False)
    >>> _ = network.weight.data.fill_(0.0)
    >>> average = WeightAverage(network, decay=0.9)
    >>> _ = network.weight.data.fill_(1.0)
    >>> average.update(network)
    >>> 0 < average.module.weight.item() < 1
    True
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        import copy

        self.module = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after an optimizer step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        for mean, new in zip(self.module.parameters(), network.parameters(), strict=True):
            mean.lerp_(new.detach(), 1 - decay)
        for held, buffer in zip(self.module.buffers(), network.buffers(), strict=True):
            if held.is_floating_point():
                held.lerp_(buffer, 1 - decay)
            else:
                held.copy_(buffer)
