"""Training and block-wise prediction for the CellMap Segmentation Challenge, from one experiment file.

`train` and `predict` do the work; `TrainSettings` and `PredictSettings` are what an experiment file may say. The names
are imported when they are first used, so that a command's ``--help`` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from csc_train.checkpoints import NoCheckpointError
    from csc_train.prediction import IncompletePredictionError, PredictProgress, PredictResult, predict
    from csc_train.results import EpochRecord, TrainProgress, TrainResult
    from csc_train.settings import PredictSettings, TrainSettings
    from csc_train.training import train

__all__ = [
    "EpochRecord",
    "IncompletePredictionError",
    "NoCheckpointError",
    "PredictProgress",
    "PredictResult",
    "PredictSettings",
    "TrainProgress",
    "TrainResult",
    "TrainSettings",
    "predict",
    "train",
]
__version__ = "0.1.0"

_HOMES = {
    "checkpoints": ("NoCheckpointError",),
    "prediction": ("IncompletePredictionError", "PredictProgress", "PredictResult", "predict"),
    "results": ("EpochRecord", "TrainProgress", "TrainResult"),
    "settings": ("PredictSettings", "TrainSettings"),
    "training": ("train",),
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for."""
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"csc_train.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'csc_train' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
