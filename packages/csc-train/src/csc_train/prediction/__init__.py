"""Prediction of crops and of any box of a volume, block by block, and of arrays."""

from csc_train.prediction.array import predict_array
from csc_train.prediction.live import LiveNetwork, LivePrediction
from csc_train.prediction.planning.plan import PredictPlan
from csc_train.prediction.predict import check_prediction, open_session, plan_prediction, predict
from csc_train.prediction.results import CropPrediction, IncompletePredictionError, PredictProgress, PredictResult
from csc_train.prediction.running.workers import ExecutionOptions
from csc_train.prediction.session import PredictSession

__all__ = [
    "CropPrediction",
    "ExecutionOptions",
    "IncompletePredictionError",
    "LiveNetwork",
    "LivePrediction",
    "PredictPlan",
    "PredictProgress",
    "PredictResult",
    "PredictSession",
    "check_prediction",
    "open_session",
    "plan_prediction",
    "predict",
    "predict_array",
]
