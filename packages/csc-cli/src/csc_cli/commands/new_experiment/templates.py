"""What the experiments are that can be begun with: their networks, samples and post-processing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from csc_data.challenge import ClassTable

Settings = Mapping[str, Any]

_CUBE = {"shape": (128, 128, 128), "scale": (8.0, 8.0, 8.0)}
_TURNED = {"mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}}, "transpose": {"axes": ["x", "y", "z"]}}
_TURNED_PLANES = {
    "mirror": {"axes": {"x": 0.5, "y": 0.5}},
    "transpose": {"axes": ["x", "y"]},
    "rotate": {"axes": {"z": [-180, 180]}},
}
_CHANGED = {"gamma": {"probability": 0.3}, "brightness": {"probability": 0.3}, "gaussian_noise": {"probability": 0.2}}
_OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-4, 0, 0], [0, -4, 0], [0, 0, -4]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An experiment to begin with; each mapping is from names of settings to their values.

    Attributes
    ----------
    title : str
        What it is.
    model : mapping
        The network.
    data : mapping
        What is done to samples; names that training does not know stay in that file.
    training : mapping
        What is learnt from what, and how long.
    processing : mapping
        How probabilities become masks and objects.
    objects_only : bool
        Whether it is for classes of which there are objects.
    """

    title: str
    model: Settings
    data: Settings = field(default_factory=lambda: {"spatial_transforms": _TURNED, "intensity_transforms": _CHANGED})
    training: Settings
    processing: Settings = field(default_factory=lambda: {"threshold": 0.5, "min_size_nm3": 0.0})
    objects_only: bool = False

    def choose(self, annotated: tuple[str, ...], table: ClassTable) -> tuple[str, ...]:
        """Return those of the annotated classes that it is for; a few of the challenge's where nothing is annotated."""
        found = annotated or ("nuc", "er", "mito")
        return tuple(name for name in found if not self.objects_only or (name in table and table[name].instance))


_STEPS = {"epochs": 500, "iterations_per_epoch": 500, "learning_rate": 1e-4, "max_grad_norm": 1.0, "ema": 0.999}
_BOTH = {"criterion": "bce_dice", **_STEPS, "precision": "auto", "num_workers": min(4, os.cpu_count() or 1)}

TEMPLATES: Mapping[str, Template] = {
    "2d": Template(
        title="A U-Net for planes",
        model={"architecture": "2d_unet", "model_kwargs": {}},
        data={"spatial_transforms": _TURNED_PLANES, "intensity_transforms": _CHANGED},
        training={
            "input_array_info": {"shape": (1, 256, 256), "scale": (8.0, 8.0, 8.0)},
            "batch_size": 8,
            **_BOTH,
        },
    ),
    "3d": Template(
        title="A U-Net for volumes",
        model={"architecture": "3d_unet", "model_kwargs": {"trilinear": True}},
        training={"input_array_info": _CUBE, "batch_size": 2, **_BOTH},
    ),
    "mednext": Template(
        title="MedNeXt",
        model={"architecture": "3d_mednext", "model_kwargs": {"size": "s"}},
        training={"input_array_info": _CUBE, "batch_size": 2, "optimizer": "adamw", **_BOTH},
    ),
    "cosem": Template(
        title="The U-Net of the COSEM project, which takes more than it gives; untrained",
        model={"architecture": "cosem_setup04", "model_kwargs": {}},
        training={
            "input_array_info": {"shape": (216, 216, 216), "scale": (8.0, 8.0, 8.0)},
            "batch_size": 1,
            **_BOTH,
            "criterion": "bce",
            "optimizer": "radam",
            "gradient_checkpointing": True,
        },
    ),
    "instances": Template(
        title="Objects that touch, each by itself, by affinities",
        model={"architecture": "3d_unet", "model_kwargs": {"trilinear": True}},
        data={
            "spatial_transforms": _TURNED,
            "intensity_transforms": _CHANGED,
            "offsets": _OFFSETS,
        },
        training={
            "input_array_info": _CUBE,
            "batch_size": 2,
            **_BOTH,
            "criterion": {"output": "bce_dice", "affinities": "bce_dice"},
        },
        processing={"min_size_nm3": 0.0},
        objects_only=True,
    ),
}
"""By name. ``plan`` is not among them: it is made for the data."""

NAMES = (*TEMPLATES, "plan")
