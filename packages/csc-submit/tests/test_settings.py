from __future__ import annotations

import subprocess
import sys

import pytest

from csc_data.config.experiment import build_settings, read_experiment
from csc_data.config.reference import describe_settings
from csc_data.errors import ProblemsError
from csc_submit import ProcessSettings
from csc_submit.processing.calling import as_process_settings


def read(tmp_path, text, name="experiment.toml"):
    file = tmp_path / name
    file.write_text(text)
    return build_settings(read_experiment(file), ProcessSettings)


def test_a_toml_experiment_gives_settings_per_class(tmp_path):
    settings = read(
        tmp_path,
        """
        classes = ["mito", "er"]
        smoothing_nm = 8
        fill_holes = true
        [threshold]
        mito = 0.7
        [min_voxels]
        mito = 100
        """,
    )
    mito, er = settings.for_class("mito"), settings.for_class("er")
    assert (mito.threshold, er.threshold) == (0.7, 0.5)
    assert (mito.min_voxels, er.min_voxels) == (100, 0)
    assert (mito.instances, er.instances) == (True, False)
    assert mito.smoothing_nm == er.smoothing_nm == 8.0
    assert mito.fill_holes


def test_instance_classes_can_be_named(tmp_path):
    settings = read(tmp_path, 'instance_classes = ["er"]')
    assert (settings.for_class("er").instances, settings.for_class("mito").instances) == (True, False)


def test_everything_that_is_wrong_is_reported_at_once_with_the_right_names(tmp_path):
    with pytest.raises(ProblemsError) as caught:
        read(tmp_path, 'thresold = 0.5\nblock_shape = [0, 8, 8]\nconnectivity = 8\nclasses = "mito"')
    text = str(caught.value)
    assert {problem.where for problem in caught.value.problems} == {
        "thresold",
        "block_shape",
        "connectivity",
        "classes",
    }
    assert "did you mean threshold?" in text


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("threshold = 1", "threshold", "must be below 1"),
        ("[threshold]\nmitos = 0.5", "threshold.mitos", "did you mean mito?"),
        ("[min_size_nm3]\nmito = -1.0", "min_size_nm3.mito", "at least 0"),
        ("opening_nm = inf", "opening_nm", "must be finite"),
        ("[fill_holes]\nnuk = true", "fill_holes.nuk", "did you mean nuc?"),
        ('instance_classes = ["mitoo"]', "instance_classes", "did you mean mito?"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(tmp_path, text, where, words):
    with pytest.raises(ProblemsError) as caught:
        read(tmp_path, text)
    (problem,) = caught.value.problems
    assert problem.where == where
    assert words in str(problem)


def test_a_python_experiment_brings_its_own_step(tmp_path):
    settings = read(tmp_path, "def process_func(x):\n    return x > 0.5\n", "process_3D.py")
    assert settings.process_func(0.7)


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("process_parameters = {sise = 3}", "process_parameters.sise", "no such argument (did you mean"),
        ("process_ranges = {sise = [3]}", "process_ranges.sise", "no such argument (did you mean"),
        ("process_ranges = {size = 3}", "process_ranges.size", "must be a list of numbers"),
        ("process_parameters = {size = {mitos = 3}}", "process_parameters.size", "mitos"),
        ("process_parameters = {size = [3]}", "process_parameters.size", "must be a number"),
        ('steps = [{name = "process_func", context = [1, 1, 1]}, "threshold"]', "steps.0", "takes nothing in a list"),
    ],
)
def test_arguments_of_an_own_step_are_checked(tmp_path, text, where, words):
    (tmp_path / "own.py").write_text("def process_func(x, *, size=3):\n    return x\n", encoding="utf-8")
    file = tmp_path / "experiment.toml"
    file.write_text(f'process_func = "own.py"\n{text}\n', encoding="utf-8")
    with pytest.raises(ProblemsError) as caught:
        as_process_settings(file)
    assert any(problem.where.startswith(where) and words in str(problem) for problem in caught.value.problems)


def test_a_file_without_an_own_step_is_told(tmp_path):
    file = tmp_path / "experiment.toml"
    file.write_text('process_func = "nowhere.py"\n', encoding="utf-8")
    with pytest.raises(ProblemsError, match=r"nowhere.py is not a Python file with a function of that name"):
        as_process_settings(file)


def test_a_text_that_names_no_python_file_is_refused_as_it_is_read():
    with pytest.raises(ProblemsError, match=r"must be a function, or the name of a Python file, got 'f'"):
        ProcessSettings(process_func="f")


def test_every_setting_is_described():
    assert all(row.doc.endswith(".") for row in describe_settings(ProcessSettings))


def test_importing_the_package_and_its_settings_loads_neither_zarr_nor_scipy_nor_cc3d():
    code = "import sys, csc_submit; print({'zarr', 'scipy', 'cc3d', 'torch'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_packing_and_checking_read_no_settings_and_import_no_pydantic():
    code = (
        "import sys, csc_submit; csc_submit.pack_results, csc_submit.fix_submission; print('pydantic' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_all_public_names_are_there():
    import csc_submit

    assert all(getattr(csc_submit, name) is not None for name in csc_submit.__all__)
    with pytest.raises(AttributeError, match="No csc_submit attribute pack"):
        csc_submit.pack  # noqa: B018
