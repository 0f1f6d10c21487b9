"""Training and block-wise prediction for the CellMap Segmentation Challenge, from one experiment file.

`train` and `predict` do the work; `TrainSettings` and `PredictSettings` are what an experiment file may say. The names
are imported when they are first used, so that a command's ``--help`` does not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.2.0"
