"""Post-processing, packing and scoring, the same for both sides."""

from __future__ import annotations

import dataclasses
from typing import Any

from csc_cli.commands.demo.experiment import FILE_NAME
from csc_data.config.experiment import build_settings, read_experiment
from csc_data.config.user_config import Config
from csc_eval import score_submission
from csc_submit import ProcessSettings, pack_results, process

VOXEL_NM3 = 8.0**3  # at which the demo's recipe predicts


def own_places(data: Config, folder: str, *names: str) -> Config:
    """Return the configuration with templates whose places lie in a folder below the data folder."""
    return dataclasses.replace(data, **{name: f"{folder}/{getattr(data, name)}" for name in names})


def score_predictions(data: Config, folder: str) -> dict[str, dict[str, Any]]:
    """Score the predictions of a run, by the defaults of csc-submit and with the demo's least sizes of objects.

    Parameters
    ----------
    data : Config
        The challenge; its folder holds the demo's experiment.
    folder : str
        Where below it the run's predictions lie.
    """
    demo = build_settings(read_experiment(data.root / FILE_NAME), ProcessSettings)
    assert not isinstance(demo.min_voxels, int)
    # The sides predict at other voxel sizes, so that equal numbers of voxels are not equal sizes.
    sizes = {name: VOXEL_NM3 * count for name, count in demo.min_voxels.items()}
    choices = {"defaults": ProcessSettings(), "sizes": ProcessSettings(min_size_nm3=sizes)}
    return {name: _score(data, folder, name, settings) for name, settings in choices.items()}


def _score(data: Config, folder: str, name: str, settings: ProcessSettings) -> dict[str, Any]:
    place = own_places(own_places(data, folder, "predictions"), f"{folder}/{name}", "processed", "submission")
    process(settings, config=place, existing="overwrite")
    pack_results(config=place, existing="overwrite")
    score = score_submission(place.path("submission").with_suffix(".zip"), data.path("ground_truth")).combined
    return {
        "overall": score.overall_score,
        "instance": score.overall_instance_score,
        "semantic": score.overall_semantic_score,
        "classes": {class_name: entry.score for class_name, entry in score.classes.items()},
    }
