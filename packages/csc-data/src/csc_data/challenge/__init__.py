"""The challenge: its classes, its crops, where its data lies, and the organisers' lists of all that."""

from typing import Any

from csc_data.challenge.classes import (
    LabelClass,
    UnknownClassError,
    get_class,
    get_class_relations,
    get_instance_classes,
    get_tested_classes,
    label_classes,
    nearest_class,
)
from csc_data.challenge.facts import get_storage, get_training_crops
from csc_data.challenge.test_crops import TestCrop, UnknownCropError, get_test_crop_labels, get_test_crops

__all__ = [
    "LabelClass",
    "TestCrop",
    "UnknownClassError",
    "UnknownCropError",
    "get_class",
    "get_class_relations",
    "get_instance_classes",
    "get_storage",
    "get_test_crop_labels",
    "get_test_crops",
    "get_tested_classes",
    "get_training_crops",
    "label_classes",
    "nearest_class",
]


def __getattr__(name: str) -> Any:
    """Give `TEST_CROPS`, as the official tools call the test crops; read when it is first asked for."""
    if name == "TEST_CROPS":
        return get_test_crops()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
