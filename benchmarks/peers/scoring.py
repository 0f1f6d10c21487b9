"""Post-processing, packing and scoring, the same for both sides."""

from __future__ import annotations

from typing import Any

from side_scores import own_places, score_side

from csc_cli.commands.demo.experiment import FILE_NAME
from csc_data.config.experiment import build_settings, read_experiment
from csc_data.config.user_config import Config
from csc_submit import ProcessSettings

VOXEL_NM3 = 8.0**3  # at which the demo's recipe predicts


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
    return score_side(place, settings)
