"""The example experiments are ones that every stage accepts."""

import json
import runpy
import tomllib
from pathlib import Path

import jsonschema
import pytest
import torch
from click.testing import CliRunner

from csc_cli.main import csc
from csc_cli.submission import plan_submission, submit
from csc_data.config.experiment import build_settings, read_experiment
from csc_data.errors import ProblemsError
from csc_data.loader import SpatialTransforms
from csc_models import create_model
from csc_submit.settings import ProcessSettings
from csc_train import predict, train
from csc_train.network import build_network
from csc_train.prediction.predictor import load_predictor
from csc_train.settings import PredictSettings, TrainSettings

FOLDER = Path(__file__).parents[2] / "examples"
# Those of PyTorch Connectomics' own classes are read where there is a stand-in for it.
EXAMPLES = sorted(
    path
    for path in (*FOLDER.glob("*.*"), *FOLDER.glob("connectomics/m*.py"), FOLDER / "library" / "stream_from_s3.py")
    if path.suffix in {".py", ".toml"}
)


def example(name):
    """Return the path of an example by its file name."""
    return next(path for path in EXAMPLES if path.name == name)


def read_for_all_stages(path):
    experiment = read_experiment(path)
    return [build_settings(experiment, cls) for cls in (TrainSettings, PredictSettings, ProcessSettings)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_stage_accepts_the_example(path):
    train, _, process = read_for_all_stages(path)
    assert train.classes == process.classes
    with torch.device("meta"):  # the arguments are what is tested, not the memory
        assert sum(p.numel() for p in build_network(train).parameters()) > 0


SMALL_COSEM = {"features": (2, 3), "factors": (2,)}
EDGES = {"setup_04_all.py": (28, 28, 28)}  # 8 of them are the network's context
SMALL = {"epochs": 1, "iterations_per_epoch": 1, "batch_size": 1, "validation_batch_limit": 1, "device": "cpu"}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mednext_cos7.py", {"mednext_size": "s", "model_kwargs": {"width": 2}}),
        ("mednext_mito.py", {"mednext_size": "s", "model_kwargs": {"width": 2}}),
        ("monai_unet_quick.py", {"model_kwargs": {"features": (4, 4, 4, 4, 4, 4)}}),
        ("setup_04_all.py", {"model_kwargs": SMALL_COSEM}),
        ("train_2D.py", {"model_kwargs": {"width": 2}}),
    ],
)
def test_a_recipe_trains(name, changes, small_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    published = create_model("cosem_setup04", **SMALL_COSEM)  # in place of a gigabyte of weights
    monkeypatch.setattr("csc_train.training.resume.load_pretrained", lambda *_, **__: published)
    experiment = example(name)
    array = build_settings(read_experiment(experiment), TrainSettings).input_array_info
    patch = {"shape": (1, 32, 32) if array.flat else EDGES.get(name, (24, 24, 24)), "scale": array.scale}
    if array.flat:
        changes = {**changes, "target_array_info": patch}
    result = train(experiment, config=small_data, input_array_info=patch, **SMALL, **changes)
    assert result.records[0].validation.dice >= 0
    if name == "mednext_cos7.py":  # the smaller outputs of deep supervision are for training alone
        predicted = predict(result.latest_checkpoint, crops=["validation"], config=small_data, device="cpu")
        assert predicted.crops
        assert not predicted.problems


SMALLER = """
classes = ("mito",)
input_array_info = {"shape": (24, 24, 24), "scale": (4, 4, 4)}
architecture, model_kwargs, precision = "3d_unet_s", {"width": 2, "depth": 2}, "32-true"
iterations_per_epoch, batch_size, validation_batch_limit, epochs = 2, 1, 1, 1
block_shape, device = (16, 16, 16), "cpu"
"""
SMALLER_STEPS = {
    "instances_3D.py": '[*divided, {"name": "remove_small", "voxels": 8}]',
    "instances_watershed.py": "divided(8, 512)",
}


@pytest.mark.parametrize("name", SMALLER_STEPS)
def test_a_recipe_of_instances_goes_from_training_to_a_score(name, submittable, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = tmp_path / "instances.py"
    smaller = f'{SMALLER}steps = {{"mito": {SMALLER_STEPS[name]}}}\n'
    experiment.write_text(example(name).read_text("utf-8").replace("\nif __name__", f"{smaller}\nif __name__"), "utf-8")
    trained = train(experiment, config=submittable)
    said = plan_submission(experiment, config=submittable).prediction.works[0].estimate.classes
    offsets = read_experiment(experiment).names.get("offsets", ())
    assert said == ("mito", *(f"mito_affinity_{z}_{y}_{x}" for z, y, x in offsets))
    assert load_predictor(trained.latest_checkpoint).arrays == said  # the checkpoint alone knows it, too
    result = submit(experiment, config=submittable)
    assert result.problems == ()
    assert 0 <= result.score.combined.classes["mito"].score <= 1


def test_settings_files_of_all_stages_share_no_name_with_another_meaning():
    experiment_names = [set(cls.__dataclass_fields__) for cls in (TrainSettings, PredictSettings, ProcessSettings)]
    shared = (experiment_names[0] | experiment_names[1]) & experiment_names[2]
    # What is cut at a threshold, and which one, is the same for both; so is what classes there are.
    assert shared == {"class_table", "classes", "threshold"}


def test_an_example_that_is_run_as_a_script_trains_itself(monkeypatch):
    called = []
    monkeypatch.setattr("csc_train.train", called.append, raising=False)
    path = example("train_3D.py")
    runpy.run_path(str(path), run_name="__main__")
    assert called == [str(path)]


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    """Return the JSON schema that `csc settings` writes."""
    file = tmp_path_factory.mktemp("schema") / "experiment.json"
    result = CliRunner().invoke(csc, ["settings", "--schema", str(file)])
    assert result.exit_code == 0, result.output
    return json.loads(file.read_text())


def test_the_schema_is_valid_and_knows_all_that_examples_say(schema):
    jsonschema.Draft7Validator.check_schema(schema)
    for path in EXAMPLES:
        names = {
            name: value
            for name, value in read_experiment(path).names.items()
            if name in schema["properties"] and not callable(value)
        }
        jsonschema.validate(json.loads(json.dumps(names)), schema)
        assert len(names) > 5


@pytest.mark.parametrize(
    "text",
    [
        "mirror = true",
        'mirror = ["x"]',
        "mirror = {x = 0.5}\ntranspose.axes = ['x', 'y']",
        "rotate.axes = {z = 20, y = [0, 90]}\nscale.x = [0.5, 2]\nelastic = {probability = 0.3}",
    ],
)
def test_the_schema_knows_the_short_forms(schema, text):
    table = tomllib.loads(f"[spatial_transforms]\n{text}")
    jsonschema.validate(table, schema)
    assert SpatialTransforms.parse(table["spatial_transforms"]) != SpatialTransforms()


@pytest.mark.parametrize(
    "text",
    [
        "epoks = 3",
        "epochs = 0",
        'epochs = "3"',
        "classes = 3",
        'precision = "16"',
        'optimizer = "adamv"',
        "learning_rate = 0",
        "input_array_info = {shape = [8, 8], scale = [8, 8, 8]}",
        "input_array_info = {shap = [8, 8, 8], scale = [8, 8, 8]}",
        "spatial_transforms = {miror = true}",
        "spatial_transforms = {rotate = {w = 20}}",
        "intensity_transforms = {gama = {}}",
        "intensity_transforms = {gamma = {probability = 2}}",
        "threshold = {mito = 1.5}",
        "process_func = 3",
        "steps = 3",
        'model = "3d_unet"',
    ],
)
def test_what_the_schema_refuses_is_refused_when_it_is_read(schema, text, tmp_path):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), schema)
    if not text.startswith("model"):  # whose type only the network's builder knows
        file = tmp_path / "experiment.toml"
        file.write_text(text if "classes" in text else f'classes = ["mito"]\n{text}')
        with pytest.raises(ProblemsError):
            read_for_all_stages(file)


def test_every_entry_of_the_schema_says_what_it_is_for(schema):
    for name, entry in schema["properties"].items():
        assert len(entry["description"]) > 15, name
    assert schema["properties"]["epochs"]["default"] == 1000
    assert "Python files only" in schema["properties"]["model"]["description"]
    assert set(schema["properties"]["classes"]["description"].split(": ", 1)[0].split()) == {"train"}
