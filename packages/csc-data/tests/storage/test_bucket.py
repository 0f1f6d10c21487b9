from __future__ import annotations

import functools
import http.server
import threading

import pytest

from csc_data.errors import InvalidArgumentError, MissingDataError, UnreadableDataError
from csc_data.storage.bucket import Bucket, FetchStopped, check_endpoint
from csc_data.storage.remote import Retries

FAST = Retries(attempts=4, first_wait=0.001)


@pytest.fixture
def small(tmp_path):
    for key in ("a/s0/.zarray", "a/s0/.zattrs", *(f"a/s0/{n}.0" for n in range(30)), "a/s0b/x", "a/s0/deep/er", "z"):
        file = tmp_path / "s3" / "things" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"content of {key}".encode())
    return tmp_path / "s3"


def connect(server, **options):
    return Bucket("things", endpoint=server.endpoint, **{"retries": FAST, **options})


def test_folders_and_files_are_listed(small, s3_server):
    bucket = connect(s3_server(small))
    names, files = bucket.children("a/s0")
    assert names == ["deep"]
    assert sorted(file.name for file in files) == sorted([".zarray", ".zattrs", *(f"{n}.0" for n in range(30))])
    assert {file.name for file in bucket.files_below("a/s0")} == {"deep/er", *(file.name for file in files)}
    assert [file.name for file in bucket.files_below("a/s0", begin=".z")] == [".zarray", ".zattrs"]
    assert [file.name for file in bucket.files_below("a/s0", begin="2")] == ["2.0", *(f"2{n}.0" for n in range(10))]
    assert bucket.files_below("nothing") == []
    assert bucket.children("nothing") == ([], [])


def test_objects_and_ranges_are_read(small, s3_server):
    bucket = connect(s3_server(small))
    assert bytes(bucket.read("z")) == b"content of z"
    found = bucket.head("z")
    assert (found.size, bytes(bucket.read_range("z", 3, 7, etag=found.etag))) == (12, b"tent")
    with pytest.raises(UnreadableDataError, match="changed in the bucket"):
        bucket.read_range("z", 0, 4, etag='"another"')
    with pytest.raises(MissingDataError, match="s3://things/nowhere"):
        bucket.read("nowhere")
    with pytest.raises(MissingDataError, match="s3://things/nowhere"):
        bucket.head("nowhere")


@pytest.mark.parametrize("fault", [{"fail_first": 3}, {"errors": 0.5, "seed": 1}, {"cuts": 0.5, "seed": 1}])
def test_failures_that_may_pass_are_tried_again(small, s3_server, fault):
    server = s3_server(small, **fault)
    bucket = connect(server, retries=Retries(attempts=12, first_wait=0.001))
    for n in range(10):
        assert bytes(bucket.read(f"a/s0/{n}.0")) == f"content of a/s0/{n}.0".encode()
    assert len(bucket.files_below("a/s0")) == 33
    assert sum(server.stats()[name] for name in ("errors", "cuts")) > 0


def test_in_the_end_the_failure_is_told(small, s3_server):
    bucket = connect(s3_server(small, errors=1))
    with pytest.raises(UnreadableDataError, match=r"s3://things/z cannot be read after 4 attempts.*50[03]"):
        bucket.read("z")
    with pytest.raises(UnreadableDataError, match="after 4 attempts"):
        bucket.files_below("a")


def test_what_is_denied_is_not_asked_for_again(small, s3_server):
    server = s3_server(small, denied="z")
    with pytest.raises(UnreadableDataError, match="s3://things/z: access denied"):
        connect(server).read("z")
    assert server.stats()["denied"] == 1


@pytest.mark.parametrize(("listed", "asked"), [(False, 1), (True, 3)])
def test_what_a_listing_named_is_asked_for_again_where_it_is_not_there(small, s3_server, listed, asked):
    server = s3_server(small, missing="z")
    with pytest.raises(MissingDataError, match="though the bucket lists it" if listed else "does not exist$"):
        connect(server).read("z", listed=listed)
    assert server.stats()["missing"] == asked


def test_a_body_that_the_check_refuses_counts_as_a_failure(small, s3_server):
    server = s3_server(small)
    seen = []

    def refuse_twice(body):
        seen.append(bytes(body))
        if len(seen) < 3:
            raise ConnectionError("not this one")

    assert bytes(connect(server).read("z", check=refuse_twice)) == b"content of z"
    assert seen == [b"content of z"] * 3


def test_nobody_waits_once_it_is_stopped(small, s3_server):
    stop = threading.Event()
    bucket = connect(s3_server(small, errors=1), retries=Retries(attempts=50, first_wait=1000), stop=stop)
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(FetchStopped):  # the first wait alone is longer than a test may take
        bucket.read("z")
    with pytest.raises(FetchStopped):
        bucket.read("z")


@pytest.fixture
def web_server(tmp_path):
    """The address of a server of web pages."""
    (tmp_path / "web" / "things").mkdir(parents=True)
    handler = functools.partial(_Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(timeout=60)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_server_that_is_no_s3_is_told_as_such(web_server):
    bucket = Bucket("things", endpoint=web_server, retries=FAST)
    with pytest.raises(UnreadableDataError, match="does not answer as S3 does"):
        bucket.children("a")


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "ftp://x", "http://", "http://x:port", "http://x:99999", "https://a b", "x"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InvalidArgumentError, match="endpoint must be an address"):
        check_endpoint(address)


def test_fsspecs_configuration_names_endpoint_and_credentials(small, s3_server, monkeypatch):
    from fsspec.config import conf

    server = s3_server(small)
    monkeypatch.setitem(conf, "s3", {"endpoint_url": server.endpoint, "key": "me", "secret": "hidden"})
    bucket = Bucket("things", retries=FAST)
    assert bucket.address == server.endpoint
    assert bytes(bucket.read("z")) == b"content of z"
