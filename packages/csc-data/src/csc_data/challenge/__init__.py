"""The challenge: its classes, its crops, where its data lies, and the organisers' lists of all that."""

from typing import Any

from csc_data.challenge.classes import (
    LabelClass,
    UnknownClassError,
    class_problems,
    get_class,
    get_class_relations,
    get_instance_classes,
    get_tested_classes,
    label_classes,
)
from csc_data.challenge.facts import get_storage
from csc_data.challenge.test_crops import (
    TestCrop,
    TestCropRow,
    UnknownCropError,
    as_rows,
    get_test_crop_labels,
    get_test_crops,
)
from csc_data.challenge.training_crops import TrainingCrop, get_training_crops, training_crops_by_id

__all__ = [
    "LabelClass",
    "TestCrop",
    "TestCropRow",
    "TrainingCrop",
    "UnknownClassError",
    "UnknownCropError",
    "class_problems",
    "get_class",
    "get_class_relations",
    "get_instance_classes",
    "get_storage",
    "get_test_crop_labels",
    "get_test_crops",
    "get_tested_classes",
    "get_training_crops",
    "label_classes",
    "training_crops_by_id",
]


def __getattr__(name: str) -> Any:
    """Give `TEST_CROPS` and `TEST_CROPS_DICT` of the official tools; their list is read when it is first asked for."""
    if name not in {"TEST_CROPS", "TEST_CROPS_DICT"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from csc_data.challenge.current_lists import load_test_crops

    rows = as_rows(load_test_crops().values())
    return rows if name == "TEST_CROPS" else {(row.id, row.class_label): row for row in rows}
