"""Splitting and counting, as commands."""

from __future__ import annotations

import csv

import pytest
from click.testing import CliRunner

from csc_cli.main import csc
from csc_data.splits.split_file import read_datasplit
from csc_data.synthetic import write_challenge


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("challenge") / "data"
    write_challenge(folder, quick=True)
    return folder


def run(*arguments):
    return CliRunner().invoke(csc, [str(argument) for argument in arguments])


def test_a_split_is_written_told_and_the_former_one_kept(data, tmp_path):
    file = tmp_path / "split.csv"
    done = run("make-datasplit", "--data", data, "-c", "mito,ves", "-vr", 0.3, "-cp", file)
    assert done.exit_code == 0, done.output
    assert {row.classes for row in read_datasplit(file)} == {("mito", "ves")}
    lines = [line.split() for line in done.output.splitlines()]
    assert ["mito", "2", "1"] in [line[:3] for line in lines]
    assert f"wrote {file}" in done.output
    again = run("make-datasplit", "--data", data, "-c", "mito", "-cp", file)
    assert "split.csv.bak" in again.output
    assert {row.classes for row in read_datasplit(file)} == {("mito",)}


def test_a_dry_run_writes_nothing_and_tells_what_is_left_out(data, tmp_path):
    file = tmp_path / "split.csv"
    done = run("make-datasplit", "--data", data, "-c", "mito,er", "-fa", "-s", "8", "-dr", "-cp", file)
    assert done.exit_code == 0, done.output
    assert not file.exists()
    assert "left out: jrc_synth-2/crop11: has not all classes: lacks er" in done.output
    assert "nothing was written" in done.output


def test_the_challenge_is_split_by_its_list_without_a_network(data, tmp_path, monkeypatch):
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", "http://127.0.0.1:9")  # nothing answers there
    file = tmp_path / "split.csv"
    done = run("make-datasplit", "--use-s3", "--by-list", "-s", "8", "-c", "mito,er", "-cp", file)
    assert done.exit_code == 0, done.output
    rows = read_datasplit(file)
    assert len(rows) == 242
    assert all(row.raw.startswith("s3://janelia-cosem-datasets/") for row in rows)
    assert "voxels are those annotated" in done.output
    assert "look there (--use-s3)" in run("make-datasplit", "--data", data, "--by-list").output


@pytest.mark.parametrize(
    ("flags", "crops"),
    [
        (["-ds", "jrc_synth-2"], {"crop11"}),
        (["-cr", "1,11"], {"crop1", "crop11"}),
        (["-s", "6,4,4"], {"crop11"}),
        (["-c", "er", "--group-by", "dataset"], {"crop1", "crop2"}),
        (["-ft", "-fv", "-c", "er,mito"], {"crop1", "crop2"}),
    ],
)
def test_options_choose_crops(data, tmp_path, flags, crops):
    file = tmp_path / "split.csv"
    done = run("make-datasplit", "--data", data, "-cp", file, *(flags if "-c" in flags else ["-c", "mito", *flags]))
    assert done.exit_code == 0, done.output
    assert {row.crop for row in read_datasplit(file)} == crops


def test_paths_of_the_official_tool_are_understood(data, tmp_path):
    file = tmp_path / "split.csv"
    search_path = f"{data}/{{dataset}}/{{dataset}}.zarr/recon-1/{{name}}"
    names = ("-rn", "em/fibsem-uint8", "-cn", "labels/groundtruth/{crop}/{label}")
    done = run("make-datasplit", "--search_path", search_path, *names, "-c", "mito", "--csv_path", file)
    assert done.exit_code == 0, done.output
    assert len(read_datasplit(file)) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-c", "mitto"], 1, "did you mean mito"),
        (["-s", "8,8"], 2, "give 8, or 4,8,8"),
        (["-s", "-8"], 2, "not a voxel size"),
        (["-vr", "1.5"], 1, "validation_share"),
        (["-fa"], 1, "classes"),
        (["-cr", "999"], 1, "no annotated crop 999"),
        (["-s3", "-sp", "x/{dataset}/{name}"], 2, "not both"),
        (["-sp", "x/{name}"], 1, "{dataset}"),
        (["-s", "1"], 1, "no raw as fine as 1 x 1 x 1 nm"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(data, arguments, code, words):
    done = run("make-datasplit", "--data", data, "-dr", *arguments)
    assert done.exit_code == code, done.output
    assert words in done.output
    assert "Traceback" not in done.output


def test_no_data_folder_says_how_to_get_one(tmp_path):
    for command in ("make-datasplit", "get-counts"):
        done = run(command, "--data", tmp_path / "none")
        assert done.exit_code == 1
        assert "csc fetch-data" in done.output


def test_counts_are_told_and_written(data, tmp_path):
    file = tmp_path / "counts.csv"
    done = run("get-counts", "--data", data, "-c", "mito,er", "-cp", file)
    assert done.exit_code == 0, done.output
    with file.open() as stream:
        rows = {(row["dataset"], row["class"], row["voxel_size"]): row for row in csv.DictReader(stream)}
    assert set(rows) == {
        *(("jrc_synth-1", name, size) for name in ("mito", "er") for size in ("8 8 8", "16 16 16")),
        *(("jrc_synth-2", "mito", size) for size in ("5.24 4 4", "10.48 8 8")),
    }
    assert rows["jrc_synth-1", "mito", "8 8 8"]["crops"] == "2"
    assert (
        0
        < int(rows["jrc_synth-1", "er", "8 8 8"]["voxels_present"])
        < int(rows["jrc_synth-1", "er", "8 8 8"]["voxels"])
    )
    finest = run("get-counts", "--data", data, "-c", "mito", "--finest")
    assert "16 16 16" not in finest.output
    assert "5.24 4 4" in finest.output
