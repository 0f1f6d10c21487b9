"""The organisers' zips: by ranges, resumed, unpacked."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, replace

import pytest

from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, MissingDataError, UnreadableDataError
from csc_data.fetching import fetch_archive, plan_archive
from csc_data.fetching.archives import download

INSIDE = "jrc_x/jrc_x.zarr/recon-1"
KEY = "csc-zipped-data/matched_res_no_pad.zip"
PATIENCE = 600
RUN = """
import sys
from csc_data.fetching import FetchOptions, fetch_archive
from csc_data.fetching.archives import download
from csc_data.config.user_config import Config
download.PART_BYTES = int(sys.argv[3])
fetch_archive(Config(data=sys.argv[1], endpoint=sys.argv[2]), FetchOptions(workers=3))
"""


@dataclass(frozen=True)
class Reach:
    def __call__(self, extent):
        return extent


@pytest.fixture(scope="module")
def content():
    noise = random.Random(0)
    return {f"{INSIDE}/s0/0/0/{number}": noise.randbytes(40_000) for number in range(60)} | {f"{INSIDE}/.zattrs": b"{}"}


@pytest.fixture(scope="module")
def zip_root(tmp_path_factory, content):
    root = tmp_path_factory.mktemp("zips")
    file = root / "janelia-cosem-datasets" / KEY
    file.parent.mkdir(parents=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name, body in content.items():
            archive.writestr(f"data_matched_res_no_pad/{name}", body)
    return root


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(download, "PART_BYTES", 100_000)


@pytest.fixture
def config(tmp_path):
    return Config(data=str(tmp_path / "data"))


def test_an_archive_comes_by_ranges_is_unpacked_and_removed_on_request(
    config, options, zip_root, s3_server, content, files_in
):
    server = s3_server(zip_root, errors=0.1, cuts=0.1, seed=1)
    own = replace(config, endpoint=server.endpoint)
    seen = []
    result = fetch_archive(own, options(), remove=True, progress=seen.append)
    size = (zip_root / "janelia-cosem-datasets" / KEY).stat().st_size
    assert result.fetched_bytes == size == result.plan.n_bytes
    assert (result.unpacked.unpacked, result.removed) == (len(content), True)
    assert files_in(config.root) == content
    assert server.stats()["errors"] > 0
    assert {state.phase for state in seen} == {"fetching", "unpacking"}
    assert max(state.done_bytes for state in seen if state.phase == "fetching") == size


def test_an_archive_that_is_there_is_not_fetched_again(config, options, zip_root, s3_server, content):
    server = s3_server(zip_root)
    own = replace(config, endpoint=server.endpoint)
    fetch_archive(own, options())
    before = server.stats()["get"]
    plan = plan_archive(own, options())
    assert plan.there_bytes == plan.n_bytes
    again = fetch_archive(own, options())
    assert (again.fetched_bytes, again.unpacked.there) == (0, len(content))
    assert server.stats()["get"] == before


def test_after_a_kill_the_parts_that_are_there_are_not_fetched_again(
    config, options, zip_root, s3_server, content, files_in
):
    server = s3_server(zip_root, stall_after=9)
    command = [sys.executable, "-c", RUN, config.data, server.endpoint, "100000"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + PATIENCE
    while not server.stats()["stalled"]:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait(timeout=PATIENCE)
    assert not config.root.joinpath("matched_res_no_pad.zip").exists()
    healthy = s3_server(zip_root)
    own = replace(config, endpoint=healthy.endpoint)
    plan = plan_archive(own, options())
    result = fetch_archive(own, options(), plan=plan)
    assert result.fetched_bytes == plan.n_bytes - plan.there_bytes
    assert healthy.stats()["get"] == -(-result.fetched_bytes // 100_000)
    assert files_in(config.root).keys() - {"matched_res_no_pad.zip"} == content.keys()
    assert sorted(path.name for path in config.root.iterdir()) == ["jrc_x", "matched_res_no_pad.zip"]


def test_parts_of_another_archive_are_not_used(config, options, zip_root, s3_server, content, files_in):
    own = replace(config, endpoint=s3_server(zip_root).endpoint)
    plan = plan_archive(own, options())
    config.root.mkdir()
    config.root.joinpath("matched_res_no_pad.zip.part").write_bytes(bytes(plan.n_bytes))
    ledger = config.root / "matched_res_no_pad.zip.part.ledger"
    ledger.write_text('{"key": "another"}\n0\n1\n2\n')
    assert plan_archive(own, options()).there_bytes == 0
    assert fetch_archive(own, options(), remove=True).fetched_bytes == plan.n_bytes
    assert files_in(config.root) == content


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_two_runs_do_not_write_one_archive(config, options, zip_root, s3_server):
    import fcntl

    own = replace(config, endpoint=s3_server(zip_root).endpoint)
    config.root.mkdir()
    with (config.root / "matched_res_no_pad.zip.part.ledger").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(download.BusyArchiveError, match="another run"):
            fetch_archive(own, options())


def test_an_archive_that_changes_meanwhile_is_not_mixed(config, options, zip_root, s3_server):
    own = replace(config, endpoint=s3_server(zip_root).endpoint)
    plan = replace(plan_archive(own, options()), etag='"before"')
    with pytest.raises(UnreadableDataError, match="changed in the bucket"):
        fetch_archive(own, options(), plan=plan)
    assert not config.root.joinpath("matched_res_no_pad.zip").exists()


def test_what_no_archive_holds_is_told(config, options, zip_root, s3_server):
    own = replace(config, endpoint=s3_server(zip_root).endpoint)
    with pytest.raises(InvalidArgumentError, match="there are 0, 128"):
        plan_archive(own, options(raw_padding=5))
    with pytest.raises(InvalidArgumentError, match="fixed padding"):
        plan_archive(own, options(raw_reach=Reach()))
    with pytest.raises(InvalidArgumentError, match="holds everything"):
        plan_archive(own, options(crops=["1"]))
    with pytest.raises(InvalidArgumentError, match="templates"):
        plan_archive(replace(own, raw="{dataset}/em"), options())
    with pytest.raises(MissingDataError, match=r"all_res_128_pad\.zip"):
        plan_archive(own, options(raw_padding=128, all_resolutions=True))
