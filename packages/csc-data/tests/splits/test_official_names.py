"""The functions that participants know, on disk and on a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest
from fsspec.config import conf

from csc_data.challenge import UnknownClassError
from csc_data.errors import InvalidArgumentError, MissingDataError, UnreadableDataError
from csc_data.splits.official_names import get_dataset_counts, make_datasplit_csv, make_s3_datasplit_csv, parse_scale
from csc_data.splits.split_file import read_datasplit
from csc_data.synthetic import write_challenge


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A server's root; its one bucket holds a synthetic challenge."""
    folder = tmp_path_factory.mktemp("root")
    write_challenge(folder / "bucket", quick=True)
    return folder


@pytest.fixture
def settings_file(tmp_path, monkeypatch):
    """The user's configuration, which name the bucket."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_, **__: tmp_path / "config")
    monkeypatch.setitem(conf, "s3", {})
    monkeypatch.delenv("CSC_DATA", raising=False)
    file = tmp_path / "config" / "config.toml"
    file.parent.mkdir()
    return file


def test_a_split_is_written_and_comes_back(root, tmp_path, monkeypatch):
    monkeypatch.setenv("CSC_DATA", str(root / "bucket"))
    file = tmp_path / "split.csv"
    split = make_datasplit_csv(["mito", "er"], csv_path=file, validation_prob=0.3)
    assert read_datasplit(file) == split.rows
    assert {row.crop for row in split.rows} == {"crop1", "crop2", "crop11"}
    assert all(Path(row.raw).is_dir() for row in split.rows)


def test_a_dry_run_writes_nothing(root, tmp_path, monkeypatch):
    monkeypatch.setenv("CSC_DATA", str(root / "bucket"))
    make_datasplit_csv(["mito"], csv_path=tmp_path / "split.csv", dry_run=True)
    assert not (tmp_path / "split.csv").exists()


def test_paths_and_names_say_where_to_look(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    file = tmp_path / "split.csv"
    split = make_datasplit_csv(
        classes=["mito"],
        scale=8,
        datasets=["jrc_synth-1"],
        crops=["2"],
        search_path="bucket/{dataset}/{dataset}.zarr/recon-1/{name}",
        raw_name="em/fibsem-uint8",
        crop_name="labels/groundtruth/{crop}/{label}",
        csv_path=file,
    )
    assert [(row.dataset, row.crop, row.classes) for row in split.rows] == [("jrc_synth-1", "crop2", ("mito",))]
    with pytest.raises(MissingDataError, match="holds no annotated crop"):
        make_datasplit_csv(
            crop_name="labels/other/{crop}/{label}", search_path="bucket/{dataset}/{dataset}.zarr/{name}"
        )


def test_a_bucket_is_split_as_a_folder_is(root, tmp_path, settings_file, s3_server):
    server = s3_server(root, latency=0.002, errors=0.02)
    settings_file.write_text(f'bucket = "bucket"\nendpoint = "{server.endpoint}"\n')
    streamed = make_s3_datasplit_csv(["mito", "er"], csv_path=tmp_path / "s3.csv", validation_prob=0.3)
    search_path = f"{root}/bucket/{{dataset}}/{{dataset}}.zarr/recon-1/{{name}}"
    local = make_datasplit_csv(
        ["mito", "er"], search_path=search_path, csv_path=tmp_path / "local.csv", validation_prob=0.3
    )
    assert streamed.voxels == local.voxels
    assert streamed.crops == local.crops
    assert [(row.usage, row.dataset, row.crop) for row in streamed.rows] == [
        (row.usage, row.dataset, row.crop) for row in local.rows
    ]
    rows = read_datasplit(tmp_path / "s3.csv")
    assert rows == streamed.rows
    assert rows[0].raw == "s3://bucket/jrc_synth-1/jrc_synth-1.zarr/recon-1/em/fibsem-uint8"
    assert rows[0].labels.startswith("s3://bucket/jrc_synth-1/jrc_synth-1.zarr/recon-1/labels/groundtruth/crop")


def test_what_a_bucket_does_not_have_is_said(root, settings_file, s3_server):
    server = s3_server(root)
    settings_file.write_text(f'bucket = "bucket"\nendpoint = "{server.endpoint}"\n')
    with pytest.raises(MissingDataError, match=r"s3://bucket holds no annotated crop \* of data set jrc_none"):
        make_s3_datasplit_csv(datasets=["jrc_none"], dry_run=True)
    with pytest.raises(UnknownClassError, match="did you mean mito"):
        make_s3_datasplit_csv(["mitto"], dry_run=True)
    settings_file.write_text(f'bucket = "other"\nendpoint = "{server.endpoint}"\n')
    with pytest.raises(MissingDataError, match="no bucket 'other'"):
        make_s3_datasplit_csv(dry_run=True)


def test_a_server_that_fails_is_no_empty_bucket(root, settings_file, s3_server, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)  # no waiting between attempts
    settings_file.write_text(f'bucket = "bucket"\nendpoint = "{s3_server(root, errors=1.0).endpoint}"\n')
    with pytest.raises(UnreadableDataError):
        make_s3_datasplit_csv(dry_run=True)


@pytest.mark.parametrize("wrong", [[8], [8, 8, 8, 8], "8", [1, 2, float("nan")]])
def test_a_scale_is_one_number_or_three(wrong):
    with pytest.raises(InvalidArgumentError, match="scale"):
        parse_scale(wrong)


def test_every_parameter_of_the_official_functions_is_taken(root, tmp_path, settings_file, s3_server, caplog):
    server = s3_server(root)
    settings_file.write_text(f'bucket = "bucket"\nendpoint = "{server.endpoint}"\n')
    official = {
        "classes": ["mito"],
        "scale": [8, 8, 8],
        "force_all_classes": False,
        "validation_prob": 0.1,
        "datasets": ["jrc_synth-1"],
        "crops": ["*"],
        "raw_name": "em/fibsem-uint8",
        "crop_name": "labels/groundtruth/{crop}/{label}",
        "csv_path": tmp_path / "split.csv",
        "dry_run": True,
    }
    expected = make_s3_datasplit_csv(["mito"], 8, datasets=["jrc_synth-1"], dry_run=True).rows
    for search_path in (
        "{dataset}/{dataset}.zarr/recon-1/{name}",
        "s3://bucket/{dataset}/{dataset}.zarr/recon-1/{name}",
    ):
        assert make_s3_datasplit_csv(**official, search_path=search_path).rows == expected
    assert not caplog.records
    on_disk = f"{root}/bucket/{{dataset}}/{{dataset}}.zarr/recon-1/{{name}}"
    assert make_s3_datasplit_csv(**official, search_path=on_disk).rows == expected
    assert make_s3_datasplit_csv(**official, search_path="~/data/{dataset}/{name}").rows == expected
    assert caplog.text.count("is a path on a disk; the bucket is searched") == 2
    local = make_datasplit_csv(**official, search_path=on_disk).rows
    assert [(row.usage, row.crop) for row in local] == [(row.usage, row.crop) for row in expected]
    with pytest.raises(MissingDataError, match=r"has no raw data at s3://bucket/.*/em/other"):
        make_s3_datasplit_csv(**{**official, "raw_name": "em/other"})


def test_crops_are_counted_as_the_official_function_counts_them(root, monkeypatch):
    search_path = f"{root}/bucket/{{dataset}}/{{dataset}}.zarr/recon-1/{{name}}"
    assert get_dataset_counts(["mito", "none"], search_path) == {"jrc_synth-1": {"mito": 2}, "jrc_synth-2": {"mito": 1}}
    monkeypatch.setenv("CSC_DATA", str(root / "bucket"))
    everything = get_dataset_counts()
    assert everything["jrc_synth-1"]["mito"] == 2
    assert "all" not in everything["jrc_synth-1"]
    assert get_dataset_counts(raw_name="em/none") == {}
