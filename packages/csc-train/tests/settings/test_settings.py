import dataclasses
import subprocess
import sys

import pytest

from csc_data.config.experiment import build_settings, read_experiment
from csc_data.config.reference import describe_settings
from csc_data.errors import ProblemsError
from csc_train.settings import PredictSettings, TrainSettings

EXPERIMENT = """
import torch
from torch.nn import BCEWithLogitsLoss

learning_rate = 0.0001
batch_size = 4
input_array_info = {"shape": (64, 64, 64), "scale": (8, 8, 8)}
target_array_info = input_array_info
epochs = 10
iterations_per_epoch = 1000
random_seed = 42
classes = ["nuc", "er"]
model_name = "3d_unet"
model_to_load = "3d_unet"
load_model = "latest"
criterion = BCEWithLogitsLoss
logs_save_path = "tensorboard/{model_name}"
model_save_path = "checkpoints/{model_name}_{epoch}.pth"
datasplit_path = "datasplit.csv"
spatial_transforms = {"mirror": {"axes": {"x": 0.5, "y": 0.5}}, "transpose": {"axes": ["x", "y"]}}
validation_time_limit = None
filter_by_scale = True
halo = (4, 4, 4)
"""


def test_an_experiment_with_the_words_of_the_official_toolbox_is_read(tmp_path):
    file = tmp_path / "train_3D.py"
    file.write_text(EXPERIMENT)
    experiment = read_experiment(file)
    training = build_settings(experiment, TrainSettings)
    assert (training.classes, training.batch_size, training.random_seed) == (("nuc", "er"), 4, 42)
    assert training.target_array_info == training.input_array_info
    assert training.input_array_info.scale == (8.0, 8.0, 8.0)
    predicting = build_settings(experiment, PredictSettings, batch_size=2)
    assert (predicting.batch_size, predicting.halo) == (2, (4, 4, 4))
    assert predicting.stored_dtype == "uint8"


def test_all_mistakes_are_reported_together_with_the_right_names(tmp_path):
    file = tmp_path / "experiment.toml"
    file.write_text(
        """
        classes = ["mito", "miito", "mito"]
        learning_rat = 1.0
        batch_size = 0
        model_name = ""
        max_grad_norm = nan
        optimizer = "adamv"
        raw_range = [1, 0]
        model_save_path = "x_{iteration}.pth"
        [spatial_transforms.rotate.axes]
        z = [180, -180]
        [intensity_transforms.gama]
        """
    )
    with pytest.raises(ProblemsError) as caught:
        build_settings(read_experiment(file), TrainSettings)
    text = str(caught.value)
    for words in (
        "did you mean learning_rate?",
        "batch_size: must be at least 1, got 0",
        "model_name: is empty",
        "max_grad_norm: must be finite",
        "is named twice",
        "did you mean mito?",
        "known are adamw",
        "raw_range",
        "{epoch}",
        "holds {iteration}",
        "spatial_transforms.rotate.axes.z: must be two numbers, the smaller first",
        "intensity_transforms.gama",
        "did you mean gamma?",
    ):
        assert words in text


def test_settings_that_contradict_each_other_are_told():
    with pytest.raises(ProblemsError) as caught:
        PredictSettings(output="logit", output_dtype="uint8", patch_shape=(32, 32, 32), halo=(4, 16, 4))
    assert [problem.where for problem in caught.value.problems] == ["halo", "output_dtype"]


@pytest.mark.parametrize("cls", [TrainSettings, PredictSettings])
def test_every_setting_says_what_it_is_for(cls):
    for row in describe_settings(cls):
        assert len(row.doc) > 10, row.name


def test_reading_settings_imports_no_torch():
    code = "import sys, csc_train, csc_train.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_several_targets_and_criteria_are_read_and_names_are_not_taken_twice():
    distance = {"output": "binary", "distance": {"kind": "signed_distance", "scale_nm": 50}}
    settings = TrainSettings(classes=["mito"], targets=distance, criterion={"output": "bce", "distance": "bce"})
    assert list(settings.kinds) == ["output", "distance"]
    assert TrainSettings(classes=["mito"], criterion=["bce", "dice"]).criterion == ["bce", "dice"]
    array = {"shape": (8, 8, 8), "scale": (8, 8, 8)}
    with pytest.raises(ProblemsError) as caught:
        TrainSettings(
            classes=["mito"],
            further_inputs={"around": array, "output": array},
            further_targets={"around": array},
            targets={"edges": "boundariez"},
            criterion="bcee",
        )
    text = str(caught.value)
    for words in ("further_inputs.output", "targets", "boundariez", "there is no 'bcee'"):
        assert words in text


def test_names_of_the_official_tests_are_understood():
    read = TrainSettings(classes=["mito"], validation_count_limit=3, force_all_classes="both")
    assert (read.validation_batch_limit, read.force_all_classes) == (3, True)
    assert read == dataclasses.replace(read)
