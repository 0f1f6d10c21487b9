"""Runs that are killed, stopped, or side by side; what comes while the bucket is listed; what is not taken."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace

import pytest

from csc_data.config.user_config import Config
from csc_data.fetching import DiskFullError, fetch, fetch_data, plan_fetch, verify_data
from csc_data.fetching.planning import planner
from csc_data.fetching.staging import FOLDER

GROUNDTRUTH = "jrc_tiny-1/jrc_tiny-1.zarr/recon-1/labels/groundtruth"
RAW = "jrc_tiny-1/jrc_tiny-1.zarr/recon-1/em/fibsem-uint8"
RUN = """
import json, signal, sys
from csc_data.fetching import FetchInterrupted, FetchOptions, fetch_data
from csc_data.config.user_config import Config
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the parent made of it
try:
    result = fetch_data(Config(data=sys.argv[1], endpoint=sys.argv[2]), FetchOptions(workers=6))
    print(json.dumps({"complete": result.complete, "fetched": result.fetched_files}))
except FetchInterrupted as interrupted:
    result = interrupted.result
    print(json.dumps({"stopped": result.stopped, "fetched": result.fetched_files}))
"""
PATIENCE = 600


def start(config):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, config.data, config.endpoint], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def end(process):
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def staging_folders(config):
    return list(config.root.rglob(f"{FOLDER}/run-*"))


def check_what_stands(config, files_in, expected):
    """Every file that has its name is whole, and no label array reads as empty; return how many files there are."""
    there = {name: body for name, body in files_in(config.root).items() if FOLDER not in name}
    assert all(expected.get(name) == body for name, body in there.items())
    for name in there:
        if "/labels/" in name and name.endswith("/.zarray"):
            array = name.removesuffix(".zarray")
            assert {one for one in expected if one.startswith(array) and "/.z" not in one} <= there.keys()
    return len(there)


@pytest.mark.parametrize("after", [90, 250, 400])
def test_after_a_kill_the_next_run_fetches_what_is_missing_and_only_that(
    config, options, bucket_root, s3_server, files_in, expected, after
):
    server = s3_server(bucket_root, stall_after=after)
    process = start(replace(config, endpoint=server.endpoint))
    wait_for(lambda: server.stats()["stalled"] or process.poll() is not None)
    process.kill()
    process.communicate(timeout=PATIENCE)
    there = check_what_stands(config, files_in, expected)
    assert there <= after
    healthy = s3_server(bucket_root)
    result = fetch_data(replace(config, endpoint=healthy.endpoint), options())
    assert result.complete
    assert healthy.stats()["get"] == len(expected) - there
    assert files_in(config.root) == expected
    assert not list(config.root.rglob(FOLDER))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT reaches a process alone on POSIX only")
def test_ctrl_c_ends_at_once_says_what_stands_and_leaves_no_rubbish(
    config, options, bucket_root, s3_server, files_in, expected
):
    server = s3_server(bucket_root, stall_after=200)
    process = start(replace(config, endpoint=server.endpoint))
    wait_for(lambda: server.stats()["stalled"] or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    said = end(process)  # requests stand still for longer than anybody would wait
    assert said["stopped"] == "interrupted"
    assert 0 < said["fetched"] < len(expected)
    assert not staging_folders(config)
    assert check_what_stands(config, files_in, expected) >= said["fetched"]
    assert fetch_data(config, options()).complete
    assert files_in(config.root) == expected


def test_two_runs_side_by_side_leave_the_same_as_one(config, bucket_root, s3_server, files_in, expected):
    server = s3_server(bucket_root, latency=0.02)
    own = replace(config, endpoint=server.endpoint)
    processes = [start(own), start(own)]
    assert [end(process)["complete"] for process in processes] == [True, True]
    assert files_in(config.root) == expected
    assert not list(config.root.rglob(FOLDER))


def wait_for_chunks(config):
    """Wait until a chunk of labels is there; tell whether one came."""
    deadline = time.monotonic() + PATIENCE / 6
    while time.monotonic() < deadline:
        if any(path.name.isdigit() for path in config.root.rglob("labels/*/*/*/s0/*/*/*")):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("estimate", [None, 10**6], ids=["listing", "estimate"])
def test_files_come_while_the_bucket_is_listed_once_it_is_sure_that_all_fits(config, options, monkeypatch, estimate):
    # Metadata of levels is asked for with the label arrays, chunks of raw when those are listed.
    name = "read_level" if estimate else "list_chunks"
    ask, came = getattr(planner, name), []

    def ask_late(*arguments):
        came.append(wait_for_chunks(config))
        return ask(*arguments)

    monkeypatch.setattr(planner, name, ask_late)
    monkeypatch.setattr(fetch, "estimate_fetch", lambda sources, **_: estimate)
    result = fetch_data(config, options(crops=["1"], workers=32))
    assert result.complete
    assert all(came)


def test_nothing_comes_before_it_is_sure_that_all_fits(config, options, monkeypatch, server, files_in):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**5, 10**5))
    monkeypatch.setattr(fetch, "estimate_fetch", lambda sources, **_: 10**6)
    with pytest.raises(DiskFullError, match=r"takes \d\.\d MB and 100\.0 kB are free"):
        fetch_data(config, options())
    assert files_in(config.root) == {}


def test_an_object_that_is_not_as_it_was_listed_is_not_taken(bucket, tmp_path, s3_server, options, write_manifest):
    own = tmp_path / "s3" / bucket.name
    shutil.copytree(bucket, own)
    write_manifest(tmp_path / "data")
    server = s3_server(tmp_path / "s3")
    config = Config(data=str(tmp_path / "data"), endpoint=server.endpoint)
    plan = plan_fetch(config, options(crops=["1"]))
    group = next(group for group in plan.groups() if group.whole)
    file = next(file for file in group.files if file.name.startswith("s0/0"))
    (own / group.key(file)).write_bytes(b"another size")
    plan = replace(plan, md5_etags=False)
    result = fetch_data(config, options(crops=["1"]), plan=plan)
    assert [problem.where for problem in result.failed] == [group.key(file)]
    assert f"12 bytes came where {file.size} were listed" in result.failed[0].what
    assert result.withheld == ("crop1",)
    assert fetch_data(config, options(crops=["1"])).complete
    assert (config.root / group.key(file)).read_bytes() == b"another size"


def test_after_a_kill_every_file_has_its_digest(config, bucket_root, s3_server, options):
    server = s3_server(bucket_root, stall_after=250)
    process = start(replace(config, endpoint=server.endpoint))
    wait_for(lambda: server.stats()["stalled"] or process.poll() is not None)
    process.kill()
    process.communicate(timeout=PATIENCE)
    result = verify_data(config)
    assert not result.damaged
    assert not result.unknown


FAULTS = {
    "errors": {"errors": 0.15, "seed": 3},
    "cuts": {"cuts": 0.15, "seed": 3},
    "flips": {"flips": 0.15, "seed": 3},
    "first": {"fail_first": 2},
    "slow": {"slow": 0.05, "slow_seconds": 0.3, "seed": 3},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_failures_are_retried_and_nothing_is_lost(config, options, bucket_root, s3_server, files_in, expected, fault):
    server = s3_server(bucket_root, **FAULTS[fault])
    result = fetch_data(replace(config, endpoint=server.endpoint), options())
    assert result.complete, result.failed
    assert files_in(config.root) == expected
    stats = server.stats()
    assert sum(stats.get(name, 0) for name in ("errors", "cuts", "flips", "slow")) > 20


def array_metadata(names, crop):
    """Those of the names that are metadata of a crop's label arrays, which makes them readable."""
    return {name for name in names if f"/{crop}/" in name and "/.z" in name.partition(f"/{crop}/")[2]}


@pytest.mark.parametrize("gone", ["crop1/mito/s0/0/0/0", "crop1/mito/s0/.zarray"])
def test_a_listed_file_that_is_gone_is_asked_for_again_reported_and_its_crop_withheld(
    config, options, bucket_root, s3_server, files_in, expected, gone
):
    name = f"{GROUNDTRUTH}/{gone}"
    server = s3_server(bucket_root, missing=[name])
    own = replace(config, endpoint=server.endpoint)
    result = fetch_data(own, options(crops=["1", "2"]))
    assert not result.complete
    assert [problem.where for problem in result.failed] == [name]
    assert "though the bucket lists it" in result.failed[0].what
    assert server.stats()["missing"] >= 3
    if not gone.endswith(".zarray"):
        assert result.withheld == ("crop1",)
        assert not array_metadata(files_in(config.root), "crop1")
    assert array_metadata(files_in(config.root), "crop2")
    server.stop()
    again = s3_server(bucket_root)
    result = fetch_data(replace(config, endpoint=again.endpoint), options())
    assert result.complete
    assert files_in(config.root) == expected


def test_crops_that_share_a_chunk_of_raw_are_withheld_together(config, options, bucket_root, s3_server, expected):
    chunk = next(name for name in expected if name.startswith(f"{RAW}/s0/0"))
    server = s3_server(bucket_root, missing=[chunk])
    result = fetch_data(replace(config, endpoint=server.endpoint), options())
    assert set(result.withheld) == {"crop1", "crop2", "crop501"}


def test_what_cannot_be_had_is_listed_and_the_rest_comes(config, options, bucket_root, s3_server, files_in, expected):
    server = s3_server(bucket_root, denied=["*/crop1/mito/s0/0/0/0", "*/crop2/er/s1/.zarray"])
    result = fetch_data(replace(config, endpoint=server.endpoint), options())
    assert not result.complete
    assert not result.stopped
    failed = {problem.where for problem in result.failed}
    assert failed == {f"{GROUNDTRUTH}/crop1/mito/s0/0/0/0", f"{GROUNDTRUTH}/crop2/er/s1/.zarray"}
    assert all("access denied" in problem.what for problem in result.failed)
    missing = expected.keys() - files_in(config.root).keys()
    # Labels of a crop that is not whole cannot be read, so that nobody takes what is missing for background.
    withheld = array_metadata(expected, "crop1")
    assert missing == failed | withheld
    assert result.withheld == ("crop1",)
    assert fetch_data(config, options()).complete
    assert files_in(config.root) == expected


def test_a_run_ends_soon_when_the_bucket_goes_away(config, options, bucket_root, s3_server):
    server = s3_server(bucket_root)
    own = replace(config, endpoint=server.endpoint)
    plan = plan_fetch(own, options(workers=4))
    server.stop()
    result = fetch_data(own, options(workers=4), plan=plan)
    assert "in a row" in result.stopped
    assert "no connection" in result.stopped
    assert not result.complete
    assert len(result.failed) < 20 < plan.todo_files
