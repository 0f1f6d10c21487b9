"""Prediction of test crops, block by block, on the grid of the targets."""

from csc_train.prediction.predict import predict
from csc_train.prediction.results import CropPrediction, IncompletePredictionError, PredictProgress, PredictResult

__all__ = ["CropPrediction", "IncompletePredictionError", "PredictProgress", "PredictResult", "predict"]
