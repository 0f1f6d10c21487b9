"""Fetching from an S3 server, as a user would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import zarr

from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, ProblemsError, UnreadableDataError
from csc_data.fetching import DiskFullError, UnwritableFolderError, fetch_data, plan_fetch
from csc_data.volumes import open_volume

GROUNDTRUTH = "jrc_tiny-1/jrc_tiny-1.zarr/recon-1/labels/groundtruth"
RAW = "jrc_tiny-1/jrc_tiny-1.zarr/recon-1/em/fibsem-uint8"


def gets(server):
    return server.stats()["get"]


def test_everything_comes_and_is_what_the_bucket_has(config, options, server, files_in, expected):
    before = gets(server)
    result = fetch_data(config, options())
    assert result.complete
    assert files_in(config.root) == expected
    assert result.fetched_files == gets(server) - before == len(expected)
    assert result.fetched_bytes == sum(map(len, expected.values())) == result.plan.n_bytes


def test_what_came_opens_with_the_reader_and_with_zarr(config, options, bucket):
    fetch_data(config, options(crops=["1"]))
    for place in (RAW, f"{GROUNDTRUTH}/crop1/mito"):
        ours, theirs = open_volume(config.root / place), open_volume(bucket / place)
        assert [level.name for level in ours.levels] == [level.name for level in theirs.levels]
        for one, other in zip(ours.levels, theirs.levels, strict=True):
            assert one.grid == other.grid
    group = zarr.open_group(str(config.root / "jrc_tiny-1/jrc_tiny-1.zarr"), mode="r")
    assert "mito" in group["recon-1/labels/groundtruth/crop1"]
    labels = group["recon-1/labels/groundtruth/crop1/mito/s0"][...]
    assert np.array_equal(labels, zarr.open_array(str(bucket / GROUNDTRUTH / "crop1/mito/s0"), mode="r")[...])


def test_a_plan_writes_nothing_and_says_what_the_fetch_will_do(config, options, files_in):
    before = files_in(config.root)
    plan = plan_fetch(config, options())
    assert files_in(config.root) == before
    assert sorted(config.root.iterdir()) == [config.root / "manifest.csv", config.root / "test_crop_manifest.csv"]
    result = fetch_data(config, options(), plan=plan)
    assert (result.fetched_files, result.fetched_bytes) == (plan.todo_files, plan.todo_bytes)
    assert plan.n_files == plan.todo_files > 0


def test_a_second_run_fetches_nothing_and_a_third_what_went_missing(config, options, server, files_in, expected):
    fetch_data(config, options())
    before = gets(server)
    assert fetch_data(config, options()).fetched_files == 0
    assert gets(server) == before
    lost = [f"{GROUNDTRUTH}/crop2/.zattrs", f"{GROUNDTRUTH}/crop1/mito/.zattrs", f"{RAW}/s0/.zarray"]
    for name in lost:
        (config.root / name).unlink()
    cut = next(name for name in expected if name.startswith(f"{RAW}/s0/0"))
    (config.root / cut).write_bytes(b"short")
    assert fetch_data(config, options()).fetched_files == len(lost) + 1 == gets(server) - before
    assert files_in(config.root) == expected


def test_what_changed_in_the_bucket_is_fetched_again_though_its_size_is_the_same(
    bucket, tmp_path, s3_server, options, write_manifest
):
    own = tmp_path / "s3" / bucket.name
    shutil.copytree(bucket, own)
    write_manifest(tmp_path / "data")
    config = Config(data=str(tmp_path / "data"), endpoint=s3_server(tmp_path / "s3").endpoint)
    fetch_data(config, options(crops=["2"]))
    changed = own / GROUNDTRUTH / "crop2/.zattrs"
    text = changed.read_text("utf-8")
    changed.write_text(text.swapcase(), "utf-8")
    later = time.time() + 100
    os.utime(changed, (later, later))
    assert fetch_data(config, options(crops=["2"], relist=True)).fetched_files == 1
    assert (config.root / GROUNDTRUTH / "crop2/.zattrs").read_text("utf-8") == text.swapcase()


def test_only_with_checksums_is_damage_of_the_same_size_seen(config, options, files_in, expected):
    fetch_data(config, options())
    name = next(name for name in expected if name.startswith(f"{RAW}/s0/0"))
    (config.root / name).write_bytes(bytes(len(expected[name])))
    assert fetch_data(config, options()).fetched_files == 0
    assert fetch_data(config, options(checksums=True)).fetched_files == 1
    assert files_in(config.root) == expected


def test_overwrite_fetches_all_anew_and_removes_labels_that_the_bucket_does_not_have(config, options):
    first = fetch_data(config, options(crops=["1"]))
    stale = config.root / GROUNDTRUTH / "crop1/mito/s0/9/9/9"
    other = config.root / GROUNDTRUTH / "crop1/my_class/s0/0"
    for path in (stale, other):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"old")
    again = fetch_data(config, options(crops=["1"], access_mode="overwrite"))
    assert again.fetched_files == first.fetched_files
    assert (again.removed, stale.exists(), other.exists()) == (1, False, True)


def test_chosen_classes_and_test_crops(config, options):
    result = fetch_data(config, options(crops=["1", "test"], classes=["mito", "er"]))
    assert result.complete
    crops = {crop.source.name: crop for crop in result.plan.crops}
    assert sorted(crops) == ["crop1", "crop501"]
    assert crops["crop1"].classes == ("er", "mito")
    found = {path.name for path in (config.root / GROUNDTRUTH / "crop1").iterdir() if path.is_dir()}
    assert found == {"er", "mito"}
    assert not (config.root / GROUNDTRUTH / "crop501").exists()
    assert crops["crop501"].n_files > 0 or crops["crop501"].levels


def test_crops_without_the_classes_are_left_out_and_absent_crops_are_missing(config, options, bucket):
    plan = plan_fetch(config, options(crops=["1", "2"], classes=["pm"]))
    assert [crop.source.name for crop in plan.crops] == ["crop2"]
    assert [problem.where for problem in plan.left_out] == ["jrc_tiny-1/crop1"]
    with (config.root / "manifest.csv").open("a", encoding="utf-8") as file:
        file.write(f"77,jrc_tiny-1,recon-1,s3://{bucket.name}/{GROUNDTRUTH}/crop77,s3://{bucket.name}/{RAW}\n")
    result = fetch_data(config, options(crops=["2", "77"]))
    assert not result.complete
    assert [problem.where for problem in result.plan.missing] == ["jrc_tiny-1/crop77"]
    assert not result.failed
    with pytest.raises(MissingDataError, match="crop77"):
        plan_fetch(config, options(crops=["77"]))


def test_path_templates_of_ones_own_are_followed(config, options, bucket):
    own = replace(config, raw="em/{dataset}.zarr/raw", labels="gt/{dataset}.zarr/{crop}/{class_name}")
    assert fetch_data(own, options(crops=["1"], classes=["mito"])).complete
    for ours, theirs in (
        (own.path("raw", dataset="jrc_tiny-1"), bucket / RAW),
        (
            own.path("labels", dataset="jrc_tiny-1", crop="crop1", class_name="mito"),
            bucket / GROUNDTRUTH / "crop1/mito",
        ),
    ):
        assert open_volume(ours).levels[0].grid == open_volume(theirs).levels[0].grid
        assert zarr.open_group(str(ours.parent), mode="r") is not None


@pytest.mark.parametrize("separator", ["/", "."])
def test_the_raw_box_covers_the_crop_with_its_padding_at_every_level(
    bucket, tmp_path, s3_server, options, write_manifest, rechunk, separator
):
    own = tmp_path / "s3" / bucket.name
    shutil.copytree(bucket, own)
    raw = own / RAW
    rechunk(raw, separator)
    write_manifest(tmp_path / "data")
    config = Config(data=str(tmp_path / "data"), endpoint=s3_server(tmp_path / "s3").endpoint)
    padding = 3
    plan = plan_fetch(config, options(crops=["2"], raw_padding=padding))
    assert plan.crops[0].levels == ("s0", "s1", "s2")
    assert fetch_data(config, options(crops=["2"], raw_padding=padding), plan=plan).complete
    theirs, ours = open_volume(raw), open_volume(config.root / RAW)
    # Labels know their bounds only from their own metadata.
    bounds = open_volume(own / GROUNDTRUTH / "crop2/mito").levels[0].grid.bounds
    wanted = set()
    for one, other in zip(ours.levels, theirs.levels, strict=True):
        begin, window = other.grid.window_covering(bounds)
        low = [max(b - padding, 0) for b in begin]
        high = [min(b + n + padding, s) for b, n, s in zip(begin, window.shape, other.grid.shape, strict=True)]
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        assert np.array_equal(one.array[box], other.array[box])
        chunks = np.stack(np.meshgrid(*[range(a // 8, -(-b // 8)) for a, b in zip(low, high, strict=True)]), -1)
        wanted |= {f"{other.name}/{separator.join(map(str, index))}" for index in chunks.reshape(-1, 3)}
    fetched = {
        path.relative_to(config.root / RAW).as_posix()
        for path in (config.root / RAW).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    assert fetched == {name for name in wanted if (raw / name).is_file()}


def test_a_chunk_that_was_never_listed_stays_a_fill_value(bucket, tmp_path, s3_server, options, write_manifest):
    own = tmp_path / "s3" / bucket.name
    shutil.copytree(bucket, own)
    for chunk in (own / GROUNDTRUTH / "crop1/mito/s0").glob("[0-9]*"):
        shutil.rmtree(chunk)
    write_manifest(tmp_path / "data")
    config = Config(data=str(tmp_path / "data"), endpoint=s3_server(tmp_path / "s3").endpoint)
    result = fetch_data(config, options(crops=["1"]))
    assert result.complete
    assert not zarr.open_array(str(config.root / GROUNDTRUTH / "crop1/mito/s0"), mode="r")[...].any()


def test_unreachable_and_wrong_places_are_told(config, options):
    with pytest.raises(UnreadableDataError, match=r"no connection to http://127\.0\.0\.1:9 after 3 attempts"):
        fetch_data(replace(config, endpoint="http://127.0.0.1:9"), options())
    with pytest.raises(MissingDataError, match="has no bucket 'not-here'"):
        fetch_data(replace(config, bucket="not-here"), options())
    with pytest.raises(ProblemsError, match="did you mean mito"):
        options(classes=["mitto"])
    with pytest.raises(ProblemsError, match="did you mean 501"):
        fetch_data(config, options(crops=["500"]))


def test_a_folder_that_cannot_be_written_to_is_told_before_the_bucket_is_asked(config, options, tmp_path, server):
    (tmp_path / "file").write_text("x")
    before = server.stats()["requests"]
    with pytest.raises(UnwritableFolderError, match="is a file"):
        fetch_data(replace(config, data=str(tmp_path / "file" / "data")), options())
    assert server.stats()["requests"] == before


def test_what_does_not_fit_is_not_begun(config, options, server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**5, 10**5))
    plan = plan_fetch(config, options())
    before = gets(server)
    with pytest.raises(DiskFullError, match=r"takes \d\.\d MB and 100\.0 kB are free"):
        fetch_data(config, options(), plan=plan)
    assert gets(server) == before
    assert not (config.root / "jrc_tiny-1").exists()


LIMITED = """
import resource, sys
from csc_data.fetching import FetchOptions, fetch_data
from csc_data.config.user_config import Config
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
result = fetch_data(Config(data=sys.argv[1], endpoint=sys.argv[2]), FetchOptions(workers=8))
print(result.stopped)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX's")
def test_a_disk_that_fills_up_ends_the_run_with_whole_files_only(config, options, server, files_in, expected):
    command = [sys.executable, "-c", LIMITED, config.data, server.endpoint]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    assert "cannot be written: File too large" in run.stdout
    came = files_in(config.root)
    assert all(expected.get(name) == body for name, body in came.items())
    assert not list(config.root.rglob(".csc-fetch"))
    assert fetch_data(config, options()).complete
    assert files_in(config.root) == expected


def test_progress_counts_up_to_all(config, options):
    seen = []
    result = fetch_data(config, options(), progress=seen.append)
    listing = [state for state in seen if state.phase == "listing"]
    fetching = [state for state in seen if state.phase == "fetching"]
    assert [state.done for state in listing] == sorted(state.done for state in listing)
    assert (listing[-1].done, fetching[-1].done) == (listing[-1].total, result.plan.n_files)
    assert fetching[-1].done_bytes == fetching[-1].total_bytes == result.plan.n_bytes


def test_a_listing_that_proves_wrong_is_not_used_again(bucket, tmp_path, s3_server, options, write_manifest):
    own = tmp_path / "s3" / bucket.name
    shutil.copytree(bucket, own)
    write_manifest(tmp_path / "data")
    config = Config(data=str(tmp_path / "data"), endpoint=s3_server(tmp_path / "s3").endpoint)
    fetch_data(config, options(crops=["1"]))
    name = f"{GROUNDTRUTH}/crop1/mito/s0/.zarray"
    (config.root / name).unlink()
    (own / name).unlink()
    result = fetch_data(config, options(crops=["1"]))
    assert [problem.where for problem in result.failed] == [name]
    assert fetch_data(config, options(crops=["1"])).complete  # it is not listed any more
