from __future__ import annotations

import json
import socket
import zipfile

import fsspec
import pytest

from csc_data.errors import MissingBucketError, MissingDataError, UnreadableDataError
from csc_data.storage.remote import (
    Retries,
    attempt,
    list_names,
    open_filesystem,
    read_file,
    read_files,
    storage_options,
)

QUICK = Retries(attempts=3, first_wait=0.01)


@pytest.fixture
def bucket(tmp_path):
    """A bucket `b` with ten files and a folder."""
    folder = tmp_path / "root" / "b"
    (folder / "x.zarr").mkdir(parents=True)
    for number in range(10):
        (folder / "x.zarr" / str(number)).write_bytes(bytes([number]) * 100)
    return folder


@pytest.fixture
def configuration(monkeypatch):
    """fsspec's configuration, of this test alone."""
    conf: dict[str, dict[str, object]] = {}
    monkeypatch.setattr("fsspec.config.conf", conf)
    return conf


def test_s3_is_anonymous_unless_fsspec_is_configured(configuration):
    assert storage_options("s3://b/a")["anon"] is True
    assert "endpoint_url" not in storage_options("s3://b/a")
    for given in ({"key": "k", "secret": "s"}, {"profile": "p"}, {"anon": False}):
        configuration["s3"] = given
        assert "anon" not in storage_options("s3://b/a")
    configuration["s3"] = {"client_kwargs": {"aws_access_key_id": "k"}}
    assert "anon" not in storage_options("s3://b/a")


def test_an_endpoint_is_no_credential(configuration):
    configuration["s3"] = {"endpoint_url": "http://conf"}
    assert storage_options("s3://b/a")["anon"] is True


def test_the_endpoint_of_the_call_comes_before_that_of_fsspec(configuration):
    configuration["s3"] = {"client_kwargs": {"endpoint_url": "http://conf", "verify": False}}
    assert "endpoint_url" not in storage_options("s3://b/a")
    options = storage_options("s3://b/a", endpoint="http://call")
    assert options["endpoint_url"] == "http://call"
    assert options["client_kwargs"] == {"verify": False}


def test_settings_of_the_client_are_kept(configuration):
    configuration["s3"] = {"config_kwargs": {"read_timeout": 3}}
    assert storage_options("s3://b/a")["config_kwargs"]["read_timeout"] == 3
    assert storage_options("s3://b/a")["config_kwargs"]["max_pool_connections"] > 10


def test_chained_urls_have_the_options_of_where_the_data_lies(configuration):
    assert storage_options("zip://x.zarr::s3://b/x.zip")["s3"]["anon"] is True
    assert storage_options("zip://x.zarr::file:///x.zip") == {}
    assert storage_options("https://example.org/x.zarr") == {}


def test_files_are_read_from_s3(bucket, s3_server):
    server = s3_server(bucket.parent)
    urls = [f"s3://b/x.zarr/{n}" for n in (3, 1, 77, 2)]
    assert read_files(urls, endpoint=server.endpoint) == [b"\3" * 100, b"\1" * 100, None, b"\2" * 100]
    assert server.stats()["head"] == server.stats()["list"] == 0
    assert read_file("s3://b/x.zarr/3", endpoint=server.endpoint) == b"\3" * 100
    assert list_names("s3://b/x.zarr", endpoint=server.endpoint) == tuple("0123456789")
    assert list_names("s3://b/", endpoint=server.endpoint) == ("x.zarr",)
    assert read_files([]) == []


def test_what_is_not_there_is_missing(bucket, s3_server):
    server = s3_server(bucket.parent)
    with pytest.raises(MissingDataError, match=r"s3://b/x\.zarr/77 does not exist"):
        read_file("s3://b/x.zarr/77", endpoint=server.endpoint)
    with pytest.raises(MissingDataError, match="s3://b/nothing"):
        list_names("s3://b/nothing", endpoint=server.endpoint)


def test_a_bucket_that_is_not_there_is_told_from_a_file_that_is_not(bucket, s3_server):
    server = s3_server(bucket.parent)
    with pytest.raises(MissingBucketError, match=r"s3://other/x does not exist: there is no such bucket"):
        read_file("s3://other/x", endpoint=server.endpoint)
    with pytest.raises(MissingBucketError):
        read_files(["s3://other/x", "s3://other/y"], endpoint=server.endpoint)
    with pytest.raises(MissingDataError) as caught:
        read_file("s3://b/bucket", endpoint=server.endpoint)
    assert not isinstance(caught.value, MissingBucketError)


def test_a_server_that_fails_at_first_is_asked_again(bucket, s3_server):
    server = s3_server(bucket.parent, fail_first=2, latency=0.001)
    urls = [f"s3://b/x.zarr/{n}" for n in range(10)]
    assert [len(content) for content in read_files(urls, endpoint=server.endpoint, retries=QUICK)] == [100] * 10
    assert server.stats()["errors"] == 20
    assert list_names("s3://b/x.zarr", endpoint=server.endpoint, retries=QUICK) == tuple("0123456789")


def test_cut_connections_are_asked_again(bucket, s3_server):
    server = s3_server(bucket.parent, cuts=0.5)
    urls = [f"s3://b/x.zarr/{n}" for n in range(10)]
    contents = read_files(urls, endpoint=server.endpoint, retries=Retries(attempts=20, first_wait=1e-6))
    assert contents == [bytes([n]) * 100 for n in range(10)]
    assert server.stats()["cuts"] > 0


def test_a_server_that_goes_on_failing_is_an_error_not_a_missing_file(bucket, s3_server):
    server = s3_server(bucket.parent, errors=1)
    with pytest.raises(UnreadableDataError, match=r"s3://b/x\.zarr/0 cannot be read after 3 attempts"):
        read_files(["s3://b/x.zarr/0"], endpoint=server.endpoint, retries=QUICK)
    assert server.stats()["errors"] == 3


def test_denied_is_an_error_that_says_where_credentials_come_from(bucket, s3_server):
    server = s3_server(bucket.parent, denied="x.zarr/4")
    with pytest.raises(UnreadableDataError, match=r"x\.zarr/4: access denied .*FSSPEC_S3"):
        read_files([f"s3://b/x.zarr/{n}" for n in range(10)], endpoint=server.endpoint, retries=QUICK)
    assert server.stats()["denied"] == 1


@pytest.fixture
def free_port():
    """A port that nobody listens on, and that nobody else gets while the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_no_connection_says_so(free_port):
    with pytest.raises(UnreadableDataError, match="no connection after 3 attempts"):
        read_file("s3://b/a", endpoint=f"http://127.0.0.1:{free_port}", retries=QUICK)
    with pytest.raises(UnreadableDataError, match="no connection after 3 attempts"):
        read_file(f"http://127.0.0.1:{free_port}/a", retries=QUICK)


def test_files_are_read_over_http(bucket, s3_server):
    server = s3_server(bucket.parent, fail_first=1, denied="x.zarr/4")
    urls = [f"{server.endpoint}/b/x.zarr/{n}" for n in (3, 77)]
    assert read_files(urls, retries=QUICK) == [b"\3" * 100, None]
    with pytest.raises(UnreadableDataError, match="access denied"):
        read_file(f"{server.endpoint}/b/x.zarr/4", retries=QUICK)


def test_an_http_server_that_goes_on_failing_is_an_error(bucket, s3_server):
    server = s3_server(bucket.parent, errors=1)
    with pytest.raises(UnreadableDataError, match="cannot be read after 3 attempts"):
        read_file(f"{server.endpoint}/b/x.zarr/3", retries=QUICK)


def test_memory_local_and_archived_files_are_read(bucket, tmp_path):
    fsspec.filesystem("memory").pipe("/test_remote/a", b"abc")
    assert read_files(["memory://test_remote/a", "memory://test_remote/b"]) == [b"abc", None]
    assert list_names("memory://test_remote") == ("a",)
    assert read_files([(bucket / "x.zarr" / "7").as_uri()]) == [b"\7" * 100]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x.zarr/0/0", b"inside")
    outer = (tmp_path / "x.zip").as_uri()
    assert read_files([f"zip://x.zarr/0/{n}::{outer}" for n in (0, 1)]) == [b"inside", None]
    assert list_names(f"zip://x.zarr::{outer}") == ("0",)


def test_protocols_that_do_not_exist_or_are_not_installed_say_so():
    with pytest.raises(UnreadableDataError, match="nosuch"):
        read_file("nosuch://a/b")


def test_what_cannot_pass_is_not_tried_again():
    calls = []

    def call():
        calls.append(1)
        raise IsADirectoryError(21, "is a folder")

    with pytest.raises(UnreadableDataError, match="is a folder"):
        attempt("s3://b/a", call, retries=QUICK)
    assert len(calls) == 1


def test_errors_that_are_not_of_files_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        attempt("s3://b/a", lambda: 1 // 0, retries=QUICK)


def test_configuration_by_environment_is_used(bucket, s3_server, run_python):
    server = s3_server(bucket.parent)
    code = "from csc_data.storage.remote import read_file; print(len(read_file('s3://b/x.zarr/1')))"
    for given in (
        {"FSSPEC_S3": json.dumps({"endpoint_url": server.endpoint})},
        {"FSSPEC_S3_ENDPOINT_URL": server.endpoint},
    ):
        run = run_python(code, **given)
        assert (run.stdout.strip(), run.stderr) == ("100", "")


def test_one_file_system_serves_all_calls(configuration):
    assert open_filesystem("s3://b/a")[0] is open_filesystem("s3://b/c")[0]
    assert open_filesystem("s3://b/a", endpoint="http://e")[0] is not open_filesystem("s3://b/a")[0]
