from __future__ import annotations

import pytest

from csc_data.config.experiment import build_settings, read_experiment
from csc_data.errors import ProblemsError
from csc_submit import ProcessSettings
from csc_submit.steps.declared import Components, Opening, Threshold, Watershed


def read(tmp_path, text):
    file = tmp_path / "experiment.toml"
    file.write_text(text)
    return build_settings(read_experiment(file), ProcessSettings)


def test_steps_stand_in_an_experiment_for_all_classes_or_for_each(tmp_path):
    settings = read(tmp_path, 'steps = ["threshold", {name = "opening", radius_nm = 8}, "components"]')
    assert settings.step_list("mito") == (Threshold(), Opening(radius_nm=8.0), Components())
    settings = read(tmp_path, '[steps]\nmito = [{name = "threshold", level = 0.7}, {name = "watershed"}]')
    assert settings.step_list("mito") == (Threshold(level=0.7), Watershed())
    assert settings.step_list("er") is None


@pytest.mark.parametrize(
    ("steps", "where", "words"),
    [
        (["treshold"], "steps.0", "threshold"),
        (["threshold", {"name": "opening"}], "steps.1.radius_nm", ""),
        (["threshold", {"name": "opening", "radius_nm": -1.0}], "steps.1.radius_nm", "at least 0"),
        (["threshold", {"name": "opening", "radius": 1.0}], "steps.1.radius", ""),
        (["opening", "threshold"], "steps.0.radius_nm", ""),
        (["components"], "steps.0", 'put "threshold" before it'),
        (["threshold", {"name": "smoothing", "sigma_nm": 8.0}], "steps.1", "after the threshold"),
        ([{"name": "smoothing", "sigma_nm": 8.0}], "steps", "no threshold"),
        ({"mitoo": ["threshold"]}, "steps.mitoo", "did you mean mito?"),
        ({"mito": "threshold"}, "steps.mito", "must be a list"),
        (["threshold", {"name": "watershed", "seeds": "mito_lumen"}], "steps.1.seeds", "mito_lum"),
        (["threshold", "components", {"name": "union", "of": ["er"]}], "steps.2", "numbered"),
        (["threshold", 7], "steps.1", "must be a name"),
    ],
)
def test_what_is_wrong_with_steps_is_said_where_it_stands(steps, where, words):
    with pytest.raises(ProblemsError) as caught:
        ProcessSettings(steps=steps)
    assert any(problem.where == where and words in str(problem) for problem in caught.value.problems), caught.value
