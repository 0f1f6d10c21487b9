"""What a side of a comparison scores: its predictions processed, packed and scored, in places of their own."""

from __future__ import annotations

import dataclasses
from typing import Any

from csc_data.config.user_config import Config
from csc_eval import score_submission
from csc_submit import ProcessSettings, pack_results, process


def own_places(data: Config, folder: str, *names: str) -> Config:
    """Return the configuration with templates whose places lie in a folder below the data folder."""
    return dataclasses.replace(data, **{name: f"{folder}/{getattr(data, name)}" for name in names})


def score_side(place: Config, settings: ProcessSettings, crops: str | None = None) -> dict[str, Any]:
    """Process, pack and score what is predicted.

    Parameters
    ----------
    place : Config
        Where the predictions, the truth and all that is made lie; see `own_places`.
    settings : ProcessSettings
    crops : str, optional
        As for `csc_submit.process`.
    """
    process(settings, crops, config=place, existing="overwrite")
    pack_results(config=place, existing="overwrite")
    score = score_submission(place.path("submission").with_suffix(".zip"), place.path("ground_truth")).combined
    return {
        "overall": score.overall_score,
        "instance": score.overall_instance_score,
        "semantic": score.overall_semantic_score,
        "classes": {name: entry.score for name, entry in score.classes.items()},
    }
