"""What is known about a network besides its weights: how it is built, what it takes, gives and sees."""

from csc_models.specification.models import (
    DESCRIPTION_ATTRIBUTE,
    Arguments,
    ModelCard,
    ModelDescription,
    ModelSpec,
    without_values,
    without_weights,
)
from csc_models.specification.sizes import SAME_SIZE, OutputRule, SizeRule

__all__ = [
    "DESCRIPTION_ATTRIBUTE",
    "SAME_SIZE",
    "Arguments",
    "ModelCard",
    "ModelDescription",
    "ModelSpec",
    "OutputRule",
    "SizeRule",
    "without_values",
    "without_weights",
]
