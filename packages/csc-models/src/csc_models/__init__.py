"""Segmentation networks for electron microscopy volumes, and checkpoints that describe themselves; needs torch only.

`create_model` builds a network by its name, `list_models` and `model_card` say what there is, `load_pretrained` builds
one with published weights, `load_foreign` one with those of other programs, and `csc_models.checkpoint` saves networks
so that they can be rebuilt from the file alone.
"""

from csc_models.catalog import create_model, describe_model, list_models, model_card, model_spec, register_model
from csc_models.errors import (
    CheckpointError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    CheckpointReadError,
    InputShapeError,
    ModelArgumentError,
    ModelError,
    UnknownModelError,
)
from csc_models.foreign import load_foreign
from csc_models.nets.resnet import ResNet
from csc_models.nets.unet import UNet_2D, UNet_3D
from csc_models.nets.vit_v_net import ViTVNet
from csc_models.pretrained import list_pretrained, load_pretrained
from csc_models.specification import ModelCard, ModelDescription, ModelSpec, SizeRule

__all__ = [
    "CheckpointError",
    "CheckpointMismatchError",
    "CheckpointNotFoundError",
    "CheckpointReadError",
    "InputShapeError",
    "ModelArgumentError",
    "ModelCard",
    "ModelDescription",
    "ModelError",
    "ModelSpec",
    "ResNet",
    "SizeRule",
    "UNet_2D",
    "UNet_3D",
    "UnknownModelError",
    "ViTVNet",
    "create_model",
    "describe_model",
    "list_models",
    "list_pretrained",
    "load_foreign",
    "load_pretrained",
    "model_card",
    "model_spec",
    "register_model",
]
