"""What a `process_func` gets and may return, in the official toolbox's form and in ours."""

from __future__ import annotations

import runpy
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from csc_data.errors import InvalidArgumentError
from csc_data.volumes import open_volume
from csc_submit import ProcessSettings, process

TRAIN = """
batch_size = 4
input_array_info = {{"shape": {shape}, "scale": (8, 8, 8)}}
classes = ["er"]
model_name = "small"
"""

PROCESS = """
from csc_submit import load_safe_config

config_path = __file__.replace("process", "train")
config = load_safe_config(config_path)
batch_size = getattr(config, "batch_size", 8)
input_array_info = getattr(config, "input_array_info", {"shape": (1, 128, 128), "scale": (8, 8, 8)})
target_array_info = getattr(config, "target_array_info", input_array_info)
classes = config.classes
crops = "7"
device = "cpu"
seen = []

def process_func(x):
    seen.append((type(x), x.shape, float(x.max())))
    return FOUND

if __name__ == "__main__":
    from csc_submit import process

    result = process(__file__, overwrite=True)
"""


def write_configs(folder, found="x > 0.5", shape=(1, 128, 128), head=""):
    (folder / "train_2D.py").write_text(TRAIN.format(shape=shape))
    file = folder / "process_2D.py"
    file.write_text(head + PROCESS.replace("FOUND", found))
    return file


@pytest.fixture
def probabilities(make_blobs):
    return np.rint(make_blobs((20, 18, 16)) * 255).astype("u1")


@pytest.fixture
def stored(config):
    def read(class_name="er"):
        folder = config.path("processed", dataset="x", crop="crop7", class_name=class_name)
        return np.asarray(open_volume(folder).levels[0].array[...])

    return read


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((1, 128, 128), (20, 1, 18, 16)), ((128, 128), (20, 1, 18, 16)), ((64,) * 3, (1, 1, 20, 18, 16))],
)
def test_an_official_config_gets_logits_in_the_axes_of_a_batch(
    tmp_path, config, write_prediction, probabilities, stored, shape, axes
):
    write_prediction(probabilities, "er", kind="probability", one=255)
    file = write_configs(tmp_path, shape=shape)
    assert not process(file, config=config).failed
    kind, seen, largest = sys.modules["csc_experiment"].seen[0]
    assert (kind, seen) == (np.ndarray, axes)
    assert largest > 1
    # A logit of 0.5 is a probability of 0.622; halfway between two stored steps, so that no rounding decides.
    np.testing.assert_array_equal(stored(), probabilities / 255 > 1 / (1 + np.exp(-0.5)))


def test_an_official_script_runs_by_itself(tmp_path, monkeypatch, config, write_prediction, probabilities, stored):
    monkeypatch.setenv("CSC_DATA", str(config.root))
    write_prediction(probabilities, "er", kind="probability", one=255)
    names = runpy.run_path(str(write_configs(tmp_path)), run_name="__main__")
    assert [(row.class_name, row.status) for row in names["result"].rows] == [("er", "done")]
    assert stored().any()


def test_probabilities_or_our_own_form_can_be_asked_for(tmp_path, config, write_prediction, probabilities, stored):
    write_prediction(probabilities, "er", kind="probability", one=255)
    file = write_configs(tmp_path)
    process(file, config=config, process_values="probability", overwrite=True)
    np.testing.assert_array_equal(stored(), probabilities > 127.5)
    process(file, config=config, process_form="block", overwrite=True)
    assert sys.modules["csc_experiment"].seen[0][1] == (20, 18, 16)
    np.testing.assert_array_equal(stored(), probabilities > 127.5)


def test_an_experiment_that_trains_and_processes_keeps_the_form_it_had(
    tmp_path, config, write_prediction, probabilities, stored
):
    write_prediction(probabilities, "er", kind="probability", one=255)
    file = tmp_path / "organelles.py"
    file.write_text(
        TRAIN.format(shape=(64,) * 3) + "def process_func(x):\n    assert x.ndim == 3\n    return x > 0.7\n"
    )
    assert not process(file, config=config).failed
    np.testing.assert_array_equal(stored(), probabilities > 0.7 * 255)


@pytest.mark.parametrize("found", ["(x[:, 0] > 0)", "x * 2 + 0.5", "(x > 0)[0, 0]"])
def test_channels_may_go_and_logits_meet_the_threshold(
    tmp_path, config, write_prediction, probabilities, stored, found
):
    write_prediction(probabilities, "er", kind="probability", one=255)
    assert not process(write_configs(tmp_path, found, (64,) * 3), config=config).failed
    limit = 127.5 if "0.5" not in found else 255 / (1 + np.exp(0.25))
    np.testing.assert_array_equal(stored(), probabilities > limit)


def test_stored_logits_arrive_as_they_are(tmp_path, config, write_prediction, stored):
    logits = np.linspace(-40, 40, 64, dtype="f4").reshape(4, 4, 4)
    write_prediction(logits, "er", kind="logit")
    assert not process(write_configs(tmp_path, "x > 30", (64,) * 3), config=config).failed
    np.testing.assert_array_equal(stored(), logits > 30)


def test_torch_hands_tensors_in_where_the_config_imports_it(tmp_path, config, write_prediction, probabilities, stored):
    torch = pytest.importorskip("torch")
    write_prediction(probabilities, "er", kind="probability", one=255)
    file = write_configs(tmp_path, "torch.sigmoid(x) > 0.7", head="import torch\n")
    assert not process(file, config=config).failed
    assert sys.modules["csc_experiment"].seen[0][0] is torch.Tensor
    np.testing.assert_array_equal(stored(), probabilities > 0.7 * 255)


def test_an_error_within_shows_the_persons_own_lines_and_the_block(tmp_path, config, write_prediction, probabilities):
    write_prediction(probabilities, "er", kind="probability", one=255)
    file = write_configs(tmp_path, "x[:, 0:1, 7] + missing")
    (row,) = process(file, config=config, block_shape=(16, 16, 16), process_halo=(0, 0, 2)).failed
    assert row.reason.startswith("process_func failed on er, voxels 0:16,0:16,0:16")
    assert f'File "{file}"' in row.reason
    assert "x[:, 0:1, 7] + missing" in row.reason
    assert row.reason.endswith("NameError: name 'missing' is not defined")
    assert "run again" not in row.reason
    assert "own_step.py" not in row.reason
    # Mended, it runs, whatever the broken one has left.
    assert not process(write_configs(tmp_path), config=config, block_shape=(16, 16, 16)).failed


def test_what_cannot_be_used_is_said_without_advice_to_run_again(tmp_path, config, write_prediction, probabilities):
    write_prediction(probabilities, "er", kind="probability", one=255)
    (row,) = process(write_configs(tmp_path, "x[:, :, ::2] > 0"), config=config).failed
    assert "keep the shape" in row.reason
    assert "run again" not in row.reason


SCRIPT = """
from pathlib import Path
from csc_submit import process

if __name__ == "__main__":
    result = process("process_2D.py", max_workers=2, block_shape=(16, 16, 16))
    print([row.status for row in result.rows])
"""


def test_workers_read_the_function_from_its_file(tmp_path, config, write_prediction, probabilities, stored):
    write_prediction(probabilities, "er", kind="probability", one=255)
    write_configs(tmp_path)
    (tmp_path / "run.py").write_text(textwrap.dedent(SCRIPT))
    run = subprocess.run([sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "['done']", run.stderr
    np.testing.assert_array_equal(stored(), probabilities / 255 > 1 / (1 + np.exp(-0.5)))


def test_official_paths_and_crops_are_understood(tmp_path, config, write_prediction, probabilities):
    for crop in ("crop7", "crop8"):
        write_prediction(probabilities, "er", crop=crop, kind="probability", one=255)
    settings = ProcessSettings()
    place = f"{config.root}/predictions/{{dataset}}.zarr/{{crop}}"
    result = process(settings, "7,8", input_path=place, output_path=f"{tmp_path}/out/{{dataset}}/{{crop}}/{{label}}")
    assert [row.path for row in result.rows] == [f"{tmp_path}/out/x/crop{n}/er" for n in (7, 8)]
    with pytest.raises(InvalidArgumentError, match="input_path may hold"):
        process(settings, input_path="{data}/{crop}")
    with pytest.raises(InvalidArgumentError, match="said twice"):
        process(settings, config=config, existing="resume", overwrite=True)


def test_test_stands_for_the_test_crops_that_were_predicted(config, write_prediction, write_test_crop, probabilities):
    write_test_crop(probabilities.shape)
    for crop in ("crop7", "crop8"):
        write_prediction(probabilities, "er", crop=crop, kind="probability", one=255)
    assert [row.crop for row in process(ProcessSettings(), "test", config=config).rows] == ["crop7"]
    assert len(process(ProcessSettings(), "*", config=config).rows) == 2
