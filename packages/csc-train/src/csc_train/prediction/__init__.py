"""Prediction of regions of volumes, block by block, and of arrays."""

from csc_train.prediction.array import predict_array
from csc_train.prediction.predict import predict
from csc_train.prediction.results import CropPrediction, IncompletePredictionError, PredictProgress, PredictResult

__all__ = [
    "CropPrediction",
    "IncompletePredictionError",
    "PredictProgress",
    "PredictResult",
    "predict",
    "predict_array",
]
