"""What an experiment file may say about training and predicting.

Every default stands here, once, in a module for each subject. Nothing here needs torch: commands read these for their
``--help``. Where a setting may be a name or an object of torch, a Python experiment file gives the object.
"""

from csc_train.settings.prediction import PredictSettings
from csc_train.settings.training import TrainSettings, read_train_settings

__all__ = ["PredictSettings", "TrainSettings", "read_train_settings"]
