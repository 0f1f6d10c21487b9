"""The example experiments are ones that every stage accepts."""

import runpy
from pathlib import Path

import pytest
import torch

from csc_data.config.experiment import build_settings, read_experiment
from csc_models import create_model
from csc_submit.settings import ProcessSettings
from csc_train.settings import PredictSettings, TrainSettings

EXAMPLES = sorted(
    path for path in (Path(__file__).parents[1] / "examples").iterdir() if path.suffix in {".py", ".toml"}
)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_stage_accepts_the_example(path):
    experiment = read_experiment(path)
    train = build_settings(experiment, TrainSettings)
    build_settings(experiment, PredictSettings)
    process = build_settings(experiment, ProcessSettings)
    assert train.classes == process.classes
    with torch.device("meta"):  # the arguments are what is tested, not the memory
        name = train.architecture or train.model_name
        model = create_model(name, n_channels=1, n_classes=len(train.classes), **train.model_kwargs)
    assert sum(p.numel() for p in model.parameters()) > 0


def test_settings_files_of_all_stages_share_no_name_with_another_meaning():
    experiment_names = [set(cls.__dataclass_fields__) for cls in (TrainSettings, PredictSettings, ProcessSettings)]
    shared = (experiment_names[0] | experiment_names[1]) & experiment_names[2]
    assert shared == {"classes"}


def test_an_example_that_is_run_as_a_script_trains_itself(monkeypatch):
    called = []
    monkeypatch.setattr("csc_train.train", called.append, raising=False)
    path = EXAMPLES[[p.name for p in EXAMPLES].index("train_3D.py")]
    runpy.run_path(str(path), run_name="__main__")
    assert called == [str(path)]
