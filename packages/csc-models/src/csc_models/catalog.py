"""The catalogue of models: build one by its name, list them, look at their facts."""

from __future__ import annotations

import itertools
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from csc_models import plug_ins
from csc_models.errors import ModelArgumentError, UnknownModelError
from csc_models.nets import (
    compact_unet,
    cosem_unet,
    encoder_unet,
    mednext,
    monai_nets,
    planned_unet,
    resnet,
    segresnet,
    unet,
    vit_v_net,
)
from csc_models.specification import DESCRIPTION_ATTRIBUTE, ModelCard, ModelDescription, ModelSpec

_FAMILIES = (
    compact_unet,
    unet,
    resnet,
    vit_v_net,
    planned_unet,
    mednext,
    segresnet,
    cosem_unet,
    monai_nets,
    encoder_unet,
)
_SPECS: dict[str, ModelSpec] = {spec.name: spec for family in _FAMILIES for spec in family.SPECS}
_OWN = frozenset(name for spec in _SPECS.values() for name in (spec.name, *spec.aliases))


def create_model(name: str, **arguments: Any) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    name : str
        A name from `list_models`.
    **arguments
        Arguments of that network; they are checked, and `model_card` shows them. Every network takes ``n_channels``
        (input channels) and ``n_classes`` (output channels), whatever its own words for them are.

    Returns
    -------
    torch.nn.Module
        With fresh weights, in training mode; maps (B, n_channels, [z,] y, x) to (B, n_classes, [z,] y, x), of the same
        spatial size unless its card says otherwise.

    Raises
    ------
    UnknownModelError
        No such model; the text has the nearest name.
    ModelArgumentError
        The network does not take an argument, or not this value; the text has the nearest name.
    MissingExtraError
        The network comes from a library that is not installed; the text says how to install it.
    PlugInError
        Another package brings the network, and cannot be used.

    Examples
    --------
    >>> import torch
    >>> from csc_models import create_model
    >>> model = create_model("3d_unet_s", n_channels=1, n_classes=14, width=4, depth=2)
    >>> tuple(model(torch.rand(1, 1, 16, 13, 10)).shape)  # any size works
    (1, 14, 16, 13, 10)
    """
    return model_spec(name).build(arguments)


def list_models(filter: str | None = None) -> list[str]:  # noqa: A002 - the word that timm and torchvision use
    """Names of all models, those that other packages bring among them, sorted.

    Parameters
    ----------
    filter : str, optional
        A shell pattern such as ``"3d_*"``, or a part of the name.

    Examples
    --------
    >>> list_models("3d_unet_*")
    ['3d_unet_s']
    """
    names = sorted(_SPECS.keys() | ({offer.name for offer in plug_ins.offers()} - _OWN))
    if filter is None:
        return names
    pattern = filter if any(sign in filter for sign in "*?[") else f"*{filter}*"
    return [name for name in names if fnmatchcase(name, pattern)]


def model_card(name: str, **arguments: Any) -> ModelCard:
    """Facts about a network: parameters, receptive field, sizes that it takes, source.

    Parameters
    ----------
    name : str
        A name from `list_models`.
    **arguments
        As for `create_model`; one input channel and two classes where they are not given and have no default. No
        weights are made.

    Raises
    ------
    UnknownModelError, ModelArgumentError, MissingExtraError, PlugInError
        As for `create_model`.

    Examples
    --------
    >>> from csc_models import model_card
    >>> card = model_card("3d_unet_s", n_classes=14)
    >>> card.parameters, card.receptive_field, str(card.sizes)
    (270574, 40, 'any size from 8; multiples of 4 are best')
    """
    return model_spec(name).card(arguments)


def model_spec(name: str) -> ModelSpec:
    """Find the specification of a model: among ours, else among those that other packages bring.

    Raises
    ------
    UnknownModelError
        No such model.
    PlugInError
        As for `create_model`.

    Examples
    --------
    >>> from csc_models import UnknownModelError, model_spec
    >>> model_spec("3d_dynunet").name
    '3d_plain_unet'
    >>> try:
    ...     model_spec("3d_unet_x")
    ... except UnknownModelError as error:
    ...     print(str(error).partition(";")[0])
    there is no model '3d_unet_x' (did you mean '3d_unet_s'?)
    """
    found = _SPECS.get(name) or next((spec for spec in _SPECS.values() if name in spec.aliases), None)
    found = found or plug_ins.load_offer(name)
    if found is None:
        raise UnknownModelError(name, list_models())
    return found


def model_package(name: str) -> str | None:
    """Package and version, such as ``"their-nets 1.2"``, that bring a model; None for ours, and where nobody knows.

    Examples
    --------
    >>> model_package("3d_unet_s") is None
    True
    """
    return None if name in _OWN else plug_ins.package_of(name)


def register_model(spec: ModelSpec) -> None:
    """Add a model of your own to the catalogue of this process, so that `load_checkpoint` can rebuild its checkpoints.

    For all processes, a package names the specification as an entry point of the group ``csc.models``.

    Raises
    ------
    ModelArgumentError
        The name is taken by another model.
    """
    if _SPECS.setdefault(spec.name, spec) is not spec:
        raise ModelArgumentError(f"a model named {spec.name!r} exists already")


def describe_model(model: nn.Module) -> ModelDescription | None:
    """Say from which name and arguments a network can be built again.

    Parameters
    ----------
    model : torch.nn.Module
        Made by `create_model`, or by calling the class of a network in the catalogue.

    Returns
    -------
    ModelDescription or None
        None for a network that the catalogue does not know.

    Examples
    --------
    >>> from csc_models import create_model, describe_model
    >>> found = describe_model(create_model("2d_unet_s", n_channels=1, n_classes=3, width=4, depth=2))
    >>> found.name, found.arguments["n_classes"]
    ('2d_unet_s', 3)
    """
    recorded = getattr(model, DESCRIPTION_ATTRIBUTE, None)
    if isinstance(recorded, ModelDescription):
        return recorded
    foreign = (spec for spec in plug_ins.load_offers_beside(type(model)) if spec.name not in _OWN)
    specs = itertools.chain(_SPECS.values(), foreign)
    return next((found for spec in specs if (found := spec.describe(model)) is not None), None)


def encoder_parts(model: nn.Module) -> tuple[str, ...]:
    """Say what the names of the weights of a network's encoder begin with; nothing where it is not known to have one.

    A network of your own may say it by an attribute ``encoder_parts``.

    Examples
    --------
    >>> encoder_parts(create_model("2d_unet", n_channels=1, n_classes=1))
    ('inc.', 'down')
    """
    own = getattr(model, "encoder_parts", ())
    description = describe_model(model)
    return tuple(own) or (() if description is None else model_spec(description.name).encoder)
