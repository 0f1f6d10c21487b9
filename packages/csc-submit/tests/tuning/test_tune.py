from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from csc_data.errors import InvalidArgumentError, MissingDataError, MissingPackageError
from csc_data.geometry import Grid
from csc_data.volumes import open_volume, write_multiscale
from csc_eval import DEFINITION, score_submission
from csc_eval.scoring.validation_truth import build_validation_truth
from csc_submit import ProcessSettings, pack_results, process, tune
from csc_submit.predictions import find_predictions
from csc_submit.tuning.section import describe_settings

SHAPE = (18, 20, 22)


@pytest.fixture
def predicted(world, write_prediction, make_blobs, network):
    """Validation crops of er and mito whose best threshold is low, and whose specks are no objects."""

    def make(count=5, *, classes=("er", "mito"), empty=(), shape=SHAPE, predict=True):
        for number in range(count):
            values = make_blobs(shape, seed=number, sigma=2.0)
            mask = values > np.quantile(values, 0.85)
            truth = {"er": mask.astype(np.uint8), "mito": ndimage.label(mask)[0].astype(np.uint8)}
            labels = {name: 0 * truth[name] if name in empty else truth[name] for name in classes}
            world.annotate(7 + number, labels)
            for name in classes if predict else ():
                write_prediction(
                    network(labels[name], number), name, crop=f"crop{7 + number}", kind="probability", one=255.0
                )
        return world.config

    return make


def as_toml(sections):
    """Write settings line by line, as ``csc tune`` does."""
    entries = [(choice.name, choice.value) for _, choices in sections for choice in choices]
    flat = [(f"{name}.{key}", one) for name, value in entries if isinstance(value, dict) for key, one in value.items()]
    flat += [entry for entry in entries if not isinstance(entry[1], dict)]
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in flat)


@pytest.fixture
def experiment(tmp_path):
    def write(text):
        file = tmp_path / "experiment.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_values_that_gain_are_found_and_the_section_says_so(predicted, experiment):
    config = predicted(4)
    file = experiment('classes = ["er", "mito"]\nthreshold = 0.5\nconnectivity = 18\n')
    result = tune(file, config=config, trials=20)
    er, mito = result.classes
    assert (er.class_name, mito.class_name) == ("er", "mito")
    assert er.after["threshold"] < 0.5
    assert (er.gain.folds, er.blocks) == (4, False)
    assert er.gain.mean > 0.05
    assert mito.after["threshold"] < 0.5 or mito.after["min_size_nm3"] > 0
    assert set(er.gains) == set(er.changes)
    for entry in (er, mito):
        for name, value in entry.after.items():
            assert getattr(result.settings.for_class(entry.class_name), name) == value
    assert result.settings.connectivity == 18
    build_validation_truth(config.path("datasplit"), config.path("ground_truth"))
    scores = []
    for settings in (ProcessSettings(connectivity=18), result.settings):
        process(settings, config=config, existing="overwrite")
        packed = pack_results(config=config, existing="overwrite")
        scores.append(score_submission(packed.archive, config.path("ground_truth"), rules=DEFINITION).combined.classes)
    for entry in (er, mito):
        assert scores[0][entry.class_name].score == entry.score
        assert scores[1][entry.class_name].score > entry.score + 0.05


def test_the_section_says_all_that_was_found_and_nothing_that_is_as_always(predicted, experiment):
    config = predicted(4, classes=("er",))
    result = tune(experiment('classes = ["er", "mito"]\nthreshold = {mito = 0.7}\n'), config=config)
    again: dict[str, object] = {}
    reasons = {}
    for _, choices in describe_settings(result):
        for choice in choices:
            name, _, label = choice.name.partition(".")
            again[name] = {**again.get(name, {}), label: choice.value} if label else choice.value
            reasons[choice.name] = choice.reason
    for name in ("er", "mito"):
        assert ProcessSettings(**again).for_class(name) == result.settings.for_class(name)
    assert reasons["threshold.er"].startswith("was 0.5; +")
    assert reasons["threshold.mito"] == ""
    assert set(again) <= {"classes", "threshold", "smoothing_nm"}


def test_the_lines_of_the_readme_run(predicted, experiment, tmp_path, monkeypatch, capsys):
    predicted(4, classes=("er",))
    experiment("threshold = 0.5").rename(tmp_path / "process.toml")
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (lines,) = [
        block for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if "tune(" in block
    ]
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("er {'threshold': ")
    assert (tmp_path / "data" / "processed" / "x.zarr" / "crop7" / "er").is_dir()


def test_steps_of_a_list_are_tuned_and_stay_a_list(predicted, experiment):
    config = predicted(classes=("er",))
    steps = 'steps = [{name = "threshold", level = 0.5}, {name = "opening", radius_nm = 8.0}]\nclasses = ["er"]\n'
    result = tune(experiment(steps), config=config, trials=25)
    (entry,) = result.classes
    assert set(entry.before) == {"steps.0.level", "steps.1.radius_nm"}
    assert entry.after["steps.0.level"] < 0.5
    (_, general), (heading, (choice,)) = describe_settings(result)
    assert heading.startswith("er: scored")
    assert choice.name == "steps.er"
    assert choice.value[0] == {"name": "threshold", "level": entry.after["steps.0.level"]}
    assert "steps.0.level was 0.5" in choice.reason
    assert {one.name for one in general} == {"classes"}


@pytest.mark.parametrize(("count", "blocks"), [(1, 8), (2, 8), (3, 6)])
def test_few_crops_are_divided_into_blocks(predicted, count, blocks):
    config = predicted(count, classes=("er",), shape=(34, 36, 40))
    (entry,) = tune(ProcessSettings(), "er", config=config, trials=30).classes
    assert entry.blocks
    assert entry.gain.folds == blocks


def test_what_is_too_little_to_tell_stays_and_says_why(predicted):
    config = predicted(1, shape=(18, 20, 24))
    found = tune(ProcessSettings(threshold=0.6), config=config, trials=30)
    assert not found.changed
    assert all("too few to tell" in entry.reason for entry in found.classes)


def test_without_a_section_tuning_begins_with_what_is_suggested(predicted, experiment, world, make_blobs):
    config = predicted(4)
    mask = make_blobs(SHAPE, seed=30, sigma=2.0) > 0.6
    world.annotate(30, {"mito": ndimage.label(mask)[0].astype(np.uint8)}, usage="train")
    raw = np.zeros((30, 40, 50), np.uint8)
    grid = Grid(voxel_size=(8.0,) * 3, translation=(64.0, 164.0, 264.0), shape=raw.shape)
    write_multiscale(config.path("raw", dataset="x"), [raw], [grid], chunks=(16, 16, 16))
    result = tune(experiment('classes = ["er", "mito"]\n'), config=config, trials=3)
    assert "compared with what `csc plan` suggests" in result.remarks[0]
    assert result.classes[1].before["min_size_nm3"] > 0


def test_probabilities_are_read_once(predicted, monkeypatch):
    from csc_submit.tuning import one_class

    config = predicted(4, classes=("er",))
    read = []
    hold = one_class.hold_crop
    monkeypatch.setattr(one_class, "hold_crop", lambda crop, *rest: read.append(crop.name) or hold(crop, *rest))
    tune(ProcessSettings(), config=config, trials=30)
    assert sorted(read) == ["crop10", "crop7", "crop8", "crop9"]


@pytest.mark.parametrize(
    ("text", "classes", "error", "words"),
    [
        ('classes = ["er"]', "mito", InvalidArgumentError, "mito is not predicted"),
        ("", "nuc", InvalidArgumentError, "nuc is not predicted; "),
        ('classes = ["er", "nuc"]', "nuc", MissingDataError, "no validation crop has a truth of nuc"),
        ('classes = ["nuc"]', None, MissingDataError, "no validation crop has a truth of nuc"),
    ],
)
def test_classes_that_cannot_be_tuned(predicted, experiment, text, classes, error, words):
    config = predicted(1)
    with pytest.raises(error, match=words):
        tune(experiment(text + "\nthreshold = 0.5"), classes, config=config)


def test_missing_predictions_come_with_the_command_that_makes_them(predicted, experiment):
    config = predicted(2, predict=False)
    file = experiment("threshold = 0.5")
    with pytest.raises(
        MissingDataError, match=r"x/crop7 \(mito, er\), x/crop8 .*`csc predict .*experiment.toml -c valid"
    ):
        tune(file, config=config)


def test_a_class_without_any_truth_stays_and_says_why(predicted):
    config = predicted(2, empty=("er",))
    result = tune(ProcessSettings(threshold=0.6), "er", config=config)
    assert not result.changed
    assert "no validation crop holds any" in result.classes[0].reason
    assert np.isnan(result.classes[0].score)


def test_arguments_of_an_own_function_are_tuned_where_they_have_ranges(predicted, tmp_path):
    config = predicted(4, classes=("er", "mito"))
    own = tmp_path / "own.py"
    own.write_text(
        "classes = ['er', 'mito']\n"
        "threshold = 0.5\n"
        "process_parameters = {'by': 'cut', 'cut': {'mito': 0.6}}\n"
        "process_ranges = {'cut': [0.2, 0.3, 0.4, 0.5, 0.6]}\n"
        "def process_func(x, class_name, by=None, cut=0.5):\n"
        "    assert by == 'cut'\n"
        "    return x > cut\n",
        encoding="utf-8",
    )
    found = tune(own, config=config, trials=40)
    er, mito = found.classes
    assert (er.before["process_parameters.cut"], mito.before["process_parameters.cut"]) == (0.5, 0.6)
    assert er.after["process_parameters.cut"] < 0.5
    assert er.gain.mean > 0.05
    file = tmp_path / "elsewhere" / "tuned.toml"
    file.parent.mkdir()
    file.write_text(as_toml(describe_settings(found)), encoding="utf-8")
    assert f"process_parameters.cut.er = {er.after['process_parameters.cut']}" in file.read_text(encoding="utf-8")
    for crop in find_predictions(config, ["7"]):
        cut = (er if crop.class_name == "er" else mito).after["process_parameters.cut"]
        process(file, ["7"], config=config, classes=[crop.class_name], existing="overwrite")
        place = config.path("processed", dataset="x", crop="crop7", class_name=crop.class_name)
        stored = open_volume(crop.path).levels[0].array[...]
        np.testing.assert_array_equal(open_volume(place).levels[0].array[...] > 0, stored / np.float32(255) > cut)


def test_an_own_function_without_ranges_stays_and_says_so(predicted, tmp_path):
    config = predicted(4, classes=("er",))
    own = tmp_path / "own.py"
    own.write_text("threshold = 0.5\ndef process_func(x):\n    return x / 2\n", encoding="utf-8")
    found = tune(own, "er", config=config, trials=20)
    assert "process_ranges" in found.remarks[0]
    assert found.classes[0].after["threshold"] < 0.5


def test_missing_crops_and_wrong_numbers_are_refused(predicted, world):
    config = predicted(1)
    for wrong in ({"seconds": -1.0}, {"seconds": 0}, {"trials": 0}):
        with pytest.raises(InvalidArgumentError, match="above 0"):
            tune(ProcessSettings(), config=config, **wrong)
    world.rows.clear()
    world.annotate(40, {"er": np.ones((8, 8, 8), np.uint8)}, usage="train")
    with pytest.raises(MissingDataError, match="names no validation crops"):
        tune(ProcessSettings(), config=config)


def test_without_optuna_the_extra_is_named(predicted, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r'pip install "csc-submit\[tune\]"'):
        tune(ProcessSettings(), config=predicted(1))
