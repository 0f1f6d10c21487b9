"""Our side: the demo's recipe, with as many steps as asked for or as take the seconds."""

from __future__ import annotations

from typing import Any

from cpu_budget import fit_to_time
from loader.measuring import cpu_seconds
from side_scores import own_places

from csc_data.config.user_config import Config
from csc_train import TrainSettings, predict, train
from csc_train.prediction.predictor import load_predictor
from csc_train.settings import read_train_settings

MIRRORED = "-mirrored"
"""Ends the name of the predictions that are means over mirrored patches, as all of nnU-Net's are."""


def fit_to_steps(settings: TrainSettings, steps: int) -> TrainSettings:
    """Return the settings with about as many iterations: a whole number in each epoch."""
    return read_train_settings(settings, iterations_per_epoch=max(1, round(steps / settings.epochs)))


def run_ours(data: Config, folder: str, settings: TrainSettings) -> dict[str, Any]:
    """Train and predict the test crops: as by default, and mirrored.

    Parameters
    ----------
    data : Config
        The challenge.
    folder : str
        Where below it checkpoints and predictions go.
    settings : TrainSettings
        Those of `fit_to_steps` or `fit_to_time`.
    """
    began = cpu_seconds()
    result = train(
        settings,
        config=data,
        progress=lambda state: None,
        load_model="fresh",
        datasplit_path=data.path("datasplit"),
        model_save_path=str(data.root / folder / "{model_name}_{epoch}.pth"),
        logs_save_path=str(data.root / folder / "logs"),
    )
    trained = cpu_seconds()
    checkpoint = result.best_checkpoint or result.latest_checkpoint
    predict(checkpoint, config=own_places(data, folder, "predictions"), existing="overwrite")
    predicted = cpu_seconds()
    places = own_places(data, f"{folder}{MIRRORED}", "predictions")
    predict(checkpoint, config=places, existing="overwrite", tta="mirror")
    return {
        "steps": settings.epochs * settings.iterations_per_epoch,
        "train_cpu_seconds": trained - began,
        "prepare_cpu_seconds": 0.0,
        "predict_cpu_seconds": predicted - trained,
        "parameters": sum(parameter.numel() for parameter in load_predictor(checkpoint).networks[0].parameters()),
    }


__all__ = ["MIRRORED", "fit_to_steps", "fit_to_time", "run_ours"]
