"""Which classes there are: the challenge's, and those of a `classes.toml` beside them."""

from csc_data.challenge.classes.table import (
    ClassTable,
    LabelClass,
    UnknownClassError,
    get_class,
    get_class_relations,
    get_instance_classes,
    get_tested_classes,
    label_classes,
)

__all__ = [
    "ClassTable",
    "LabelClass",
    "UnknownClassError",
    "get_class",
    "get_class_relations",
    "get_instance_classes",
    "get_tested_classes",
    "label_classes",
]
