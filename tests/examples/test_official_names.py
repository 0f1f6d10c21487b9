"""train_2D, predict_2D, process_2D and those for volumes: as scripts and by the command."""

import runpy
import shutil

import pytest
from click.testing import CliRunner

from csc_cli.main import csc
from csc_data import open_volume

SMALL = """
{network}
epochs, iterations_per_epoch, batch_size, validation_batch_limit, device = 1, 2, 1, 1, "cpu"
input_array_info = {{"shape": {shape}, "scale": (4, 4, 4)}}
target_array_info, filter_by_scale = input_array_info, False
"""
NETWORKS = {
    "2D": 'model_kwargs = {"width": 2}',
    "3D": 'architecture, model_kwargs = "3d_unet_s", {"width": 2, "depth": 2}',
}
SHAPES = {"2D": (1, 32, 32), "3D": (16, 16, 16)}


@pytest.fixture(params=["2D", "3D"])
def axes(request, examples, submittable, tmp_path, monkeypatch):
    """Which of the two; copies of its three files lie in the working folder, and learn little."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CSC_DATA", str(submittable.root))
    for stage in ("train", "predict", "process"):
        shutil.copy(examples / f"{stage}_{request.param}.py", tmp_path)
    file = tmp_path / f"train_{request.param}.py"
    small = SMALL.format(network=NETWORKS[request.param], shape=SHAPES[request.param])
    file.write_text(file.read_text("utf-8").replace("\nif __name__", f"{small}\nif __name__"), "utf-8")
    return request.param


def objects(config, template):
    return (
        open_volume(config.path(template, dataset="jrc_cos7-1a", crop="crop9", class_name="nuc")).levels[0].array[...]
    )


def test_each_file_is_a_script_and_a_command(axes, submittable):
    runpy.run_path(f"train_{axes}.py", run_name="__main__")
    runpy.run_path(f"predict_{axes}.py", run_name="__main__")
    runpy.run_path(f"process_{axes}.py", run_name="__main__")
    scripted = objects(submittable, "predictions"), objects(submittable, "processed")
    assert ((scripted[0] > 127.5) == (scripted[1] > 0)).all()  # probabilities, and what lies above a half
    for stage in ("predict", "process"):
        done = CliRunner().invoke(csc, [stage, f"{stage}_{axes}.py", "--overwrite"])
        assert done.exit_code == 0, done.output
    commanded = objects(submittable, "predictions"), objects(submittable, "processed")
    assert all((one == other).all() for one, other in zip(scripted, commanded, strict=True))


@pytest.mark.parametrize("name", ["predict_2D", "predict_3D", "process_2D", "process_3D"])
def test_importing_one_runs_nothing(name, examples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(examples / f"{name}.py"), run_name=name)
    trained = runpy.run_path(str(examples / f"train_{name[-2:]}.py"), run_name="train")
    assert all(
        names[each] == trained[each] for each in ("classes", "batch_size", "input_array_info", "target_array_info")
    )
    assert list(tmp_path.iterdir()) == []
