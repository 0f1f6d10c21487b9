"""``csc doctor``: what it finds, what it says is missing, and its exit code."""

import json
import sys
import time

import numpy as np
import pytest

from csc_cli.commands.doctor import installed
from csc_cli.stages.waiting import within
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.volumes import write_multiscale

NOWHERE = "http://127.0.0.1:9"  # nothing listens there


@pytest.fixture
def ask(run):
    """Return the findings by their names, and the result."""
    run("config", "set", "endpoint", NOWHERE)

    def ask(*arguments):
        result = run("doctor", "--json", "--timeout", "5", *arguments)
        document = json.loads(result.stdout)
        assert document["ok"] == (result.exit_code == 0)
        return {finding["name"]: finding for finding in document["findings"]}, result

    return ask


@pytest.fixture
def crop(tmp_path):
    """An annotated crop in its raw."""
    config = Config(data=str(tmp_path / "data"))
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(8, 8, 8))
    labels = config.path("labels", dataset="a", crop="crop1", class_name="er")
    for place in (config.path("raw", dataset="a"), labels):
        write_multiscale(place, [np.ones(grid.shape, np.uint8)], [grid])
    return SplitRow(usage="train", raw=str(config.path("raw", dataset="a")), labels=str(labels.parent), classes=("er",))


def test_without_data_it_names_what_brings_it(ask):
    found, result = ask()
    assert result.exit_code == 1
    assert [name for name, finding in found.items() if finding["state"] == "missing"] == ["data"]
    assert "csc fetch-data" in found["data"]["remedy"]
    assert "csc demo" in result.stderr
    assert found["Python"]["details"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert len(found["toolbox"]["details"]) == 6
    assert found["libraries"]["details"]["torch"]
    assert found["device"]["details"]["devices"][-1]["device"] == "cpu"
    assert found["config"]["details"]["choices"]["endpoint"] == {"value": NOWHERE, "from": "config file"}


def test_a_bucket_that_is_not_reached_is_told_and_not_needed(ask):
    found, result = ask()
    assert found["bucket"]["state"] == "note"
    assert NOWHERE in found["bucket"]["said"]
    assert "Traceback" not in result.output


def test_a_bucket_that_answers(ask, run, served, monkeypatch):
    run("config", "set", "endpoint", served[0])
    found, _ = ask()
    assert found["bucket"]["state"] == "ok"
    assert found["bucket"]["details"]["reached"]


def test_the_datasplit_has_to_be_there_and_to_name_what_is_there(ask, crop, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    found, result = ask()
    assert (found["data"]["state"], found["datasplit"]["state"]) == ("ok", "missing")
    assert found["datasplit"]["remedy"] == "csc make-datasplit"
    assert max(map(len, result.stderr.split("bucket: ")[0].splitlines())) <= 80
    write_datasplit(tmp_path / "data" / "datasplit.csv", [crop])
    found, result = ask()
    assert result.exit_code == 0, result.stderr
    assert found["data"]["details"]["volumes"] == ["a"]
    assert "nothing is missing" in result.stderr
    (tmp_path / "data" / "a").rename(tmp_path / "data" / "b")
    found, result = ask()
    assert found["datasplit"]["state"] == "missing"
    assert found["datasplit"]["details"]["absent"] == ["crop1"]


def test_a_library_that_lacks_is_named_with_what_installs_it(monkeypatch):
    def version(name):
        return None if name == "torch" else "0.1" if name == "numpy" else original(name)

    original = installed.version_of
    monkeypatch.setattr(installed, "version_of", version)
    found = {finding.name: finding for finding in installed.look_at_packages()}
    assert found["libraries"].state == "missing"
    assert found["libraries"].remedy.startswith('pip install "numpy>=')
    assert '"torch' in found["libraries"].remedy


def test_what_hangs_keeps_nobody_waiting():
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        within(0.05, lambda: time.sleep(1))
    assert time.monotonic() - began < 0.9
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)
