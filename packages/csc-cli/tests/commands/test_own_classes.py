"""Own data and own classes, from TIFF files to a score, and what is told where something lacks."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from csc_cli.commands.visualize.finding import Wanted, find_shown
from csc_cli.commands.visualize.opening import open_crop
from csc_data.challenge import load_classes
from csc_data.config.user_config import load_config
from csc_data.volumes import open_volume

EXPERIMENT = """
import torch
from torch import nn

class GivesRawBack(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        logit = torch.logit(x.clamp(1e-4, 1 - 1e-4)) * self.weight
        return torch.cat([logit, -logit], dim=1)

classes = ["synapse", "er"]
model = GivesRawBack()
input_array_info = {"shape": (16, 16, 16), "scale": (8, 8, 8)}
batch_size = 1
epochs = 1
iterations_per_epoch = 2
instance_score_every = 1
spatial_transforms = {}
device = "cpu"
min_voxels = {"synapse": 4}
"""


@pytest.fixture
def converted(tmp_path, run):
    """Two crops of TIFF files, each with bright synapses in dark er, as a data folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "classes.toml").write_text(
        '[classes.synapse]\ninstance = true\nexcludes = ["er"]\ncolour = "#123456"\n', encoding="utf-8"
    )
    for number in (1, 2):
        labels = np.full((24, 24, 24), 1, np.uint8)
        for z, y in ((2, 2), (2, 14), (14, 2), (14, 14)):
            labels[z : z + 4, y : y + 4, 8 : 8 + 3 * number] = 2
        tifffile.imwrite(tmp_path / "raw.tif", np.where(labels == 2, 250, 5).astype(np.uint8))
        tifffile.imwrite(tmp_path / "labels.tif", labels)
        classes = ("--labels", "labels.tif", "--classes", "1=er,2=synapse", "--voxel-size", "8")
        result = run("convert", "raw.tif", "--dataset", f"mine-{number}", *classes)
        assert result.exit_code == 0, result.output
    return tmp_path


def test_an_own_class_goes_from_files_to_a_score(converted, run):
    (converted / "train.py").write_text(EXPERIMENT, encoding="utf-8")
    for command in (
        ("make-datasplit",),
        ("train", "train.py"),
        ("predict", "train.py", "-c", "validation"),
        ("process", "train.py"),
        ("evaluate", "--datasplit", "data/datasplit.csv", "--result-file", "result.json"),
    ):
        result = run(*command)
        assert result.exit_code == 0, result.output
    scores = json.loads((converted / "result.json").read_text("utf-8"))
    assert scores["label_scores"]["synapse"]["f1"] == 1
    assert scores["label_scores"]["er"]["iou"] == 1
    (stored,) = converted.glob("data/processed/*/*/synapse")
    assert set(np.unique(np.asarray(open_volume(stored).levels[0].array[...]))) == {0, 1, 2, 3, 4}


def test_the_viewer_knows_its_kind_and_colour(converted):
    config = load_config()
    crop = find_shown(config, Wanted(table=load_classes(config)), print)[0]
    layers = {layer.class_name: layer for layer in open_crop(crop, print)}
    assert (layers["synapse"].kind, layers["synapse"].colour) == ("instances", (0x12, 0x34, 0x56))
    assert layers["er"].kind == "mask"


def test_reports_and_previews_have_its_colour(converted, run):
    (converted / "train.py").write_text(EXPERIMENT + 'checkpoint = "untrained"\n', encoding="utf-8")
    for command in (
        ("make-datasplit",),
        ("predict", "train.py", "-c", "validation"),
        ("process", "train.py"),
        ("evaluate", "--datasplit", "data/datasplit.csv", "-r", "r.json", "--report", "r.html"),
        ("data-preview", "train.py", "-n", "6"),
    ):
        result = run(*command)
        assert result.exit_code == 0, result.output
    assert "#123456" in (converted / "r.html").read_text("utf-8")
    picture = np.asarray(Image.open(converted / "preview.png").convert("RGB"))
    assert (picture == (0x12, 0x34, 0x56)).all(-1).any()


def test_a_truth_of_objects_alone_does_not_score_0_without_a_word(converted, run):
    (converted / "train.py").write_text(EXPERIMENT + 'checkpoint = "untrained"\n', encoding="utf-8")
    for command in (
        ("make-datasplit", "-c", "synapse"),
        ("predict", "train.py", "-c", "validation"),
        ("process", "train.py"),
    ):
        assert run(*command).exit_code == 0
    said = run("evaluate", "--datasplit", "data/datasplit.csv").output
    assert "there is no semantic class" in said
    assert "the instance score is what counts" in said


def test_it_is_listed_after_the_challenges(converted, run):
    assert run("classes").output.splitlines()[-1].split()[1:] == ["synapse", "instance", "own"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("make-datasplit", "-c", "synapze"), "data/classes.toml has a class 'synapze'; did you mean synapse?"),
        (("get-counts", "-c", "synapze"), "did you mean synapse?"),
        (("train", "train.py"), "classes: neither the challenge nor data/classes.toml has a class 'synapze'"),
        (("process", "train.py"), "did you mean synapse?"),
        (("evaluate",), "--datasplit data/datasplit.csv"),
        (("plan", "-c", "synapze"), "synapze"),
    ],
)
def test_a_misspelt_or_missing_one_is_told(converted, run, command, words):
    (converted / "train.py").write_text(EXPERIMENT.replace('["synapse"', '["synapze"'), encoding="utf-8")
    assert run("make-datasplit").exit_code == 0
    result = run(*command)
    assert result.exit_code == 1
    assert words in result.output


def test_without_test_crops_predict_says_what_to_give(converted, run):
    (converted / "train.py").write_text(EXPERIMENT + 'checkpoint = "untrained"\n', encoding="utf-8")
    result = run("predict", "train.py")
    assert result.exit_code == 1
    assert "-c annotated" in result.output
    assert len(result.output.strip().splitlines()) < 8
    submitted = run("submit", "train.py")
    assert submitted.exit_code == 1
    assert "csc evaluate --datasplit" in submitted.output
    assert len(submitted.output.strip().splitlines()) == 1


def test_crops_of_several_data_sets_get_numbers_of_their_own(converted, run):
    def crops():
        return sorted(path.name for path in (converted / "data").glob("*/*.zarr/recon-1/labels/groundtruth/crop*"))

    assert crops() == ["crop1", "crop2"]
    again = run("convert", "labels.tif", "--dataset", "mine-2", "--class", "psd", "--voxel-size", "8")
    assert "has a class 'psd'" in again.output
    again = run("convert", "labels.tif", "--dataset", "mine-2", "--class", "mito", "--voxel-size", "8")
    assert "mine-2.zarr/recon-1/labels/groundtruth/crop2/mito" in again.output
    assert crops() == ["crop1", "crop2"]
