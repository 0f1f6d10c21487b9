"""``csc speedtest``: that each part measures something, within its limits, and leaves nothing."""

import json
from pathlib import Path

import pytest

from csc_cli.commands.speedtest import device, disk
from csc_cli.commands.speedtest.limits import Limits


@pytest.fixture
def measure(run):
    def measure(part, *arguments):
        result = run("speedtest", "--only", part, "--seconds", "0.3", "--megabytes", "16", "--json", *arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)[part]

    return measure


def test_the_device_trains(measure, monkeypatch):
    monkeypatch.setattr(device, "PATCH", (16, 16, 16))
    found = measure("device", "--device", "cpu")
    assert found["patches_per_second"] > 0


def test_a_device_that_is_not_there_is_told(measure):
    found = measure("device", "--device", "tpu")
    assert not found["measured"]
    assert "use cuda, cuda:1, mps or cpu" in found["said"]


def test_the_disk_is_that_of_the_data_folder_and_keeps_nothing(measure, tmp_path):
    found = measure("disk")
    assert found["folder"] == str(tmp_path)  # there is no data folder, and none is made
    assert 0 < found["bytes"] <= 16 * 10**6
    assert found["write_bytes_per_second"] > 0
    assert found["read_bytes_per_second"] > 0
    (tmp_path / "data").mkdir()
    assert measure("disk")["folder"] == str(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_the_disk_has_its_time_only(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "_PIECE", 1000)
    found = disk.measure_disk(Limits(seconds=1e-9, bytes=10**9), tmp_path)
    assert found.details["bytes"] == 1000


def test_the_loader_reads_what_the_datasplit_names_or_a_volume_that_is_made_up(measure, world, run):
    found = measure("loader")
    assert found["patches_per_second"] > 0
    assert found["data"] == "a volume that is made up"
    Path("data/datasplit.csv").write_text('"train","a","b"\n', "utf-8")
    assert "not measured" in measure("loader")["said"]


def test_the_network_is_that_of_the_bucket(measure, run, served):
    run("config", "set", "endpoint", "http://127.0.0.1:9")
    found = measure("network")
    assert not found["measured"]
    assert "not reachable" in found["said"]
    Path("data").mkdir()
    place = "s3://janelia-cosem-datasets/jrc_x/jrc_x.zarr/recon-1"
    Path("data/manifest.csv").write_text(
        "crop_number,collection,alignment,crop_url,em_url\n"
        f"1,jrc_x,recon-1,{place}/labels/groundtruth/crop1,{place}/em/fibsem-uint8\n"
    )
    run("config", "set", "endpoint", served[0])
    found = measure("network")
    assert found["measured"]
    assert found["bytes"] > 0
    assert found["bytes_per_second"] > 0


def test_wrong_use_is_told(run):
    result = run("speedtest", "--only", "dsk")
    assert result.exit_code == 2
    assert "device, disk, loader, network" in result.stderr
