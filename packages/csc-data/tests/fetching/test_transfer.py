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
from csc_data.fetching import DiskFullError, fetch_data, plan_fetch, verify_data
from csc_data.fetching.planning import planner
from csc_data.storage.staging import FOLDER

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
    result = fetch_data(config, options(crops=["1"], workers=32), estimate=lambda config, options: estimate)
    assert result.complete
    assert all(came)


def test_nothing_comes_before_it_is_sure_that_all_fits(config, options, monkeypatch, server, files_in):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**5, 10**5))
    with pytest.raises(DiskFullError, match=r"takes \d\.\d MB and 0\.1 MB are free"):
        fetch_data(config, options(), estimate=lambda config, options: 10**6)
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
