"""The server that other tests rely on answers as S3 does."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from xml.etree import ElementTree

import fsspec
import pytest

KEYS = [f"a.zarr/s0/{z}.{y}.{x}" for z in range(3) for y in range(3) for x in range(3)]
KEYS += ["a.zarr/.zattrs", "a.zarr/s0-other/b c+d", "a.zarr/s0/.zarray", "z"]
NAMESPACE = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}


@pytest.fixture
def root(tmp_path):
    for key in KEYS:
        file = tmp_path / "bucket" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"contents of {key}".encode())
    return tmp_path


def ask(server, target, **headers):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"{server.endpoint}/bucket{target}", headers=headers)
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def list_all(server, query):
    keys, prefixes, token = [], [], ""
    while True:
        _, _, body = ask(server, f"?list-type=2&{query}{token}")
        tree = ElementTree.fromstring(body)
        keys += [entry.text for entry in tree.findall("s3:Contents/s3:Key", NAMESPACE)]
        prefixes += [entry.text for entry in tree.findall("s3:CommonPrefixes/s3:Prefix", NAMESPACE)]
        more = tree.findtext("s3:NextContinuationToken", namespaces=NAMESPACE)
        if not more:
            return keys, prefixes
        token = f"&continuation-token={more}"


def test_listings_are_in_the_order_of_s3_whatever_the_page_size(root, s3_server):
    server = s3_server(root)
    for size in (1, 2, 1000):
        assert list_all(server, f"max-keys={size}") == (sorted(KEYS), [])
        assert list_all(server, f"delimiter=/&max-keys={size}") == (["z"], ["a.zarr/"])
        expected = (["a.zarr/.zattrs"], ["a.zarr/s0-other/", "a.zarr/s0/"])
        assert list_all(server, f"prefix=a.zarr/&delimiter=/&max-keys={size}") == expected
    keys = [key for key in sorted(KEYS) if key.startswith("a.zarr/s0/1.")]
    assert list_all(server, "prefix=a.zarr/s0/1.&max-keys=4")[0] == keys
    assert list_all(server, "prefix=a.zarr/s0/1.&start-after=a.zarr/s0/1.1.2")[0] == keys[6:]


def test_ranges_conditions_and_etags_are_those_of_s3(root, s3_server):
    server = s3_server(root)
    body = b"contents of z"
    etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
    status, headers, got = ask(server, "/z")
    assert (status, headers["ETag"], got) == (200, etag, body)
    for header, part in (("bytes=0-3", body[:4]), ("bytes=9-", body[9:]), ("bytes=-2", body[-2:])):
        status, headers, got = ask(server, "/z", Range=header)
        assert (status, got) == (206, part)
        assert headers["Content-Range"].endswith(f"/{len(body)}")
    assert ask(server, "/z", Range="bytes=13-")[0] == 416
    assert ask(server, "/z", **{"If-None-Match": etag})[0] == 304
    assert ask(server, "/z", **{"If-Match": '"other"'})[0] == 412
    assert ask(server, "/absent")[0] == 404
    assert ask(server, "/../bucket/z")[0] in (400, 404)


def test_s3fs_reads_from_it(root, s3_server):
    server = s3_server(root)
    files = fsspec.filesystem("s3", anon=True, endpoint_url=server.endpoint, skip_instance_cache=True)
    assert files.cat_file("bucket/a.zarr/s0-other/b c+d") == b"contents of a.zarr/s0-other/b c+d"
    assert len(files.find("bucket")) == len(KEYS)
    assert files.cat_file("bucket/z", start=-2) == b" z"
    assert server.stats()["get"] == 2


def test_faults_are_injected_and_counted(root, s3_server):
    server = s3_server(root, fail_first=2, missing=["*/1.*"], denied="z")
    assert [ask(server, "/a.zarr/.zattrs")[0] for _ in range(3)] == [503, 500, 200]
    assert [ask(server, "/a.zarr/s0/1.1.1")[0] for _ in range(3)] == [503, 500, 404]
    assert [ask(server, "/z")[0] for _ in range(3)] == [503, 500, 403]
    stats = server.stats()
    assert (stats["get"], stats["errors"], stats["missing"], stats["denied"]) == (1, 6, 1, 1)


def test_bodies_are_cut_and_flipped(root, s3_server):
    with pytest.raises((http.client.IncompleteRead, OSError)) as caught:
        ask(s3_server(root, cuts=1.0), "/z")
    assert not isinstance(caught.value, urllib.error.HTTPError)
    _, headers, body = ask(s3_server(root, flips=1.0), "/z")
    differing = int.from_bytes(body, "big") ^ int.from_bytes(b"contents of z", "big")
    assert (len(body), differing.bit_count()) == (13, 1)
    assert headers["ETag"] == f'"{hashlib.md5(b"contents of z", usedforsecurity=False).hexdigest()}"'
