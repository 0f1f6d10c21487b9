"""``csc process``: what its options do, and what it says when something fails."""

from __future__ import annotations

import os

import numpy as np
import pytest

from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.volumes import open_volume, write_multiscale
from csc_data.volumes.stored_values import StoredValues


@pytest.fixture
def prediction(tmp_path):
    """Write probabilities of er in a folder of the user's choice, in the official layout."""
    values = np.zeros((8, 8, 8), "u1")
    values[:4] = 200
    folder = tmp_path / "mine" / "x.zarr" / "crop7" / "er"
    grid = Grid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=values.shape)
    attributes = StoredValues(kind="probability", one=255.0).to_attributes()
    write_multiscale(folder, [values], [grid], chunks=(8, 8, 8), attributes=attributes)
    return values


PLACES = ("-i", "mine/{dataset}.zarr/{crop}", "-o", "out/{dataset}.zarr/{crop}")


def test_official_options_are_taken(run, tmp_path, prediction):
    (tmp_path / "settings.toml").write_text('classes = ["er"]')
    result = run("process", "settings.toml", "-c", "7", *PLACES, "-w", "1")
    assert result.exit_code == 0, result.output
    assert "processed 1 volume: in out" in result.output.replace(f"{tmp_path}/", "")
    folder = Config(data=str(tmp_path / "out")).root / "x.zarr" / "crop7" / "er"
    np.testing.assert_array_equal(open_volume(folder).levels[0].array[...], prediction > 127)
    assert "were there already" in run("process", "settings.toml", *PLACES).output
    assert "were there already" not in run("process", "settings.toml", *PLACES, "-O").output


@pytest.mark.parametrize(("crop", "says"), [(557, "pack-results"), (7, "evaluate --datasplit {}")])
def test_test_crops_are_packed_next_and_others_evaluated(run, tmp_path, prediction, crop, says):
    config = Config(data=str(tmp_path / "data"))
    place = config.path("predictions", dataset="x", crop=f"crop{crop}", class_name="er")
    place.parent.mkdir(parents=True)
    (tmp_path / "mine" / "x.zarr" / "crop7" / "er").rename(place)
    config.path("datasplit").touch()
    (tmp_path / "settings.toml").write_text('classes = ["er"]')
    output = run("process", "settings.toml", "--data", str(config.root)).output
    assert f"next: csc {says.format(config.path('datasplit'))} --data {config.root}\n" in output


def test_an_error_in_a_process_func_shows_its_line_and_block_and_no_advice_to_run_again(run, tmp_path, prediction):
    file = tmp_path / "own.py"
    file.write_text("def process_func(x):\n    return x.wrong_name\n")
    result = run("process", str(file), *PLACES)
    assert result.exit_code == 1
    assert f'File "{file}", line 2, in process_func' in result.output
    assert "return x.wrong_name" in result.output
    assert "voxels 0:8,0:8,0:8" in result.output
    assert "run again" not in result.output


def test_a_scheduler_that_does_not_answer_and_workers_besides_are_refused(run, tmp_path, prediction):
    (tmp_path / "settings.toml").write_text('classes = ["er"]')
    result = run("process", "settings.toml", *PLACES, "-w", "2", "--scheduler", "tcp://127.0.0.1:1")
    assert result.exit_code == 1
    assert "exclude each other" in result.output


def test_where_there_is_worked_is_handed_on(run, tmp_path, monkeypatch):
    asked = []

    def stop(*_, **options):
        asked.append({name: options.get(name) for name in ("max_workers", "scheduler", "cluster", "jobs")})
        raise InvalidArgumentError("no more")

    monkeypatch.setattr("csc_submit.process", stop)
    monkeypatch.setattr("csc_submit.pack_results", stop)
    for command in (("process", "x.toml"), ("pack-results",)):
        for options in ((), ("-w", "2"), ("--scheduler", "tcp://x:1"), ("--cluster", "slurm", "--jobs", "3")):
            assert run(*command, *options).exit_code == 1
    nothing = dict.fromkeys(asked[0])
    others = [{**nothing, "max_workers": 2}, {**nothing, "scheduler": "tcp://x:1"}]
    others += [{**nothing, "cluster": "slurm", "jobs": 3}]
    assert asked == [nothing, *others, {**nothing, "max_workers": os.cpu_count()}, *others]
