"""What is known of foreign weights: told by the file, and by who imports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from csc_models.checkpoint.contents import Values


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignHints:
    """What whoever imports a file says of it; it goes before what the file says.

    Attributes
    ----------
    model : str, optional
        Name of the network in the catalogue.
    arguments : mapping
        Its arguments, or those that are to be others than the file says, such as ``deep_supervision``.
    classes : tuple of str, optional
        What the output channels stand for, in their order. A channel named ``background``, of a softmax, is taken out.
    values : {"logit", "distance", "exclusive"}, optional
        See `CheckpointDescription`; ``"exclusive"`` is a softmax.
    patch : tuple of int, optional
        Voxels (z, y, x) that the network is given.
    voxel_size : tuple of float, optional
        In nm (z, y, x).
    raw_range : tuple of float, optional
        What the ends of the raw data's range become, see `CheckpointDescription`.
    part : str, optional
        Which weights of a file that holds several: names joined by dots, such as ``ema`` or ``state_dict.net``.
    plans, dataset : path, optional
        nnU-Net's plans.json and dataset.json, where they are not in the file, in its folder or in the one above.
    configuration : str, optional
        One of nnU-Net's, such as ``3d_fullres``, where the file does not say it.
    """

    model: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    values: Values | None = None
    patch: tuple[int, int, int] | None = None
    voxel_size: tuple[float, float, float] | None = None
    raw_range: tuple[float, float] | None = None
    part: str | None = None
    plans: str | PathLike[str] | None = None
    dataset: str | PathLike[str] | None = None
    configuration: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a file says of its weights; the fields that `ForeignHints` has, too, mean the same.

    Attributes
    ----------
    kind : str
        Who wrote it, for people.
    model : str
        Empty where nobody said.
    background : int or None
        The channel of a softmax that stands for none of the classes; `classes` are those of the others.
    axes : tuple of int
        For each of z, y, x the axis of the network that it is, where they are in another order.
    notes : tuple of str
        What was assumed.
    """

    kind: str = "a state dict"
    model: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    background: int | None = None
    values: Values = "logit"
    patch: tuple[int, ...] | None = None
    voxel_size: tuple[float, ...] | None = None
    raw_range: tuple[float, float] | None = None
    axes: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
