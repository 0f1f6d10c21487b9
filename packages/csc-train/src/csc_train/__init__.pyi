from .checkpoints import NoCheckpointError as NoCheckpointError
from .prediction import IncompletePredictionError as IncompletePredictionError
from .prediction import PredictPlan as PredictPlan
from .prediction import PredictProgress as PredictProgress
from .prediction import PredictResult as PredictResult
from .prediction import check_prediction as check_prediction
from .prediction import plan_prediction as plan_prediction
from .prediction import predict as predict
from .prediction import predict_array as predict_array
from .settings import PredictSettings as PredictSettings
from .settings import TrainSettings as TrainSettings
from .training.pretraining.pretrain import pretrain as pretrain
from .training.pretraining.pretrain import rehearse_pretraining as rehearse_pretraining
from .training.rehearsal import Rehearsal as Rehearsal
from .training.results import EpochRecord as EpochRecord
from .training.results import TrainProgress as TrainProgress
from .training.results import TrainResult as TrainResult
from .training.train import rehearse_training as rehearse_training
from .training.train import train as train

__version__: str
__all__ = [
    "EpochRecord",
    "IncompletePredictionError",
    "NoCheckpointError",
    "PredictPlan",
    "PredictProgress",
    "PredictResult",
    "PredictSettings",
    "Rehearsal",
    "TrainProgress",
    "TrainResult",
    "TrainSettings",
    "check_prediction",
    "plan_prediction",
    "predict",
    "predict_array",
    "pretrain",
    "rehearse_pretraining",
    "rehearse_training",
    "train",
]
