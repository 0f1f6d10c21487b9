from .classes import ClassTable as ClassTable
from .classes import LabelClass as LabelClass
from .classes import UnknownClassError as UnknownClassError
from .classes import get_class as get_class
from .classes import get_class_relations as get_class_relations
from .classes import get_instance_classes as get_instance_classes
from .classes import get_tested_classes as get_tested_classes
from .classes import label_classes as label_classes
from .classes.own import load_classes as load_classes
from .classes.own import read_classes as read_classes
from .facts import get_storage as get_storage
from .test_crops import TestCrop as TestCrop
from .test_crops import TestCropRow as TestCropRow
from .test_crops import UnknownCropError as UnknownCropError
from .test_crops import as_rows as as_rows
from .test_crops import get_test_crop_labels as get_test_crop_labels
from .test_crops import get_test_crops as get_test_crops
from .training_crops import TrainingCrop as TrainingCrop
from .training_crops import get_training_crops as get_training_crops
from .training_crops import training_crops_by_id as training_crops_by_id

__all__ = [
    "ClassTable",
    "LabelClass",
    "TestCrop",
    "TestCropRow",
    "TrainingCrop",
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
    "load_classes",
    "read_classes",
    "training_crops_by_id",
]

TEST_CROPS: tuple[TestCropRow, ...]
TEST_CROPS_DICT: dict[tuple[int, str], TestCropRow]
