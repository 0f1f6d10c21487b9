"""The stages of the path, each one call of a library and the words about it; commands and the demo share them."""

from csc_cli.stages.packing import pack_crops
from csc_cli.stages.prediction import predict_crops
from csc_cli.stages.processing import process_crops
from csc_cli.stages.splitting import split_crops
from csc_cli.stages.training import train_model

__all__ = ["pack_crops", "predict_crops", "process_crops", "split_crops", "train_model"]
