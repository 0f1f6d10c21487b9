from __future__ import annotations

from pathlib import Path

import pytest

from csc_data.storage.paths import is_remote, join


@pytest.mark.parametrize(
    "text",
    [
        r"C:\data\x.zarr",
        "C:/data/x.zarr",
        "c://data/x.zarr",
        r"\\server\share\x.zarr",
        r"data\x.zarr",
        "data/x.zarr",
        "/data/x.zarr",
        "x.zarr",
        "",
        "a:b",
        "-s3://b/x.zarr",
    ],
)
def test_paths_of_any_system_are_no_urls(text):
    assert not is_remote(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/x.zarr",
        "https://example.org/x.zarr",
        "file:///data/x.zarr",
        "file:///C:/data/x.zarr",
        "memory://x.zarr",
        "zip://x.zarr::s3://bucket/x.zip",
        "zip::s3://bucket/x.zip",
        "github+x://a",
    ],
)
def test_urls_are_urls(text):
    assert is_remote(text)


@pytest.mark.parametrize(
    ("base", "parts", "joined"),
    [
        (r"C:\data\x.zarr", ("s0",), r"C:\data\x.zarr\s0"),
        (r"C:\data\x.zarr", ("recon-1/em", "s0"), r"C:\data\x.zarr\recon-1\em\s0"),
        ("C:/data/x.zarr", ("s0",), r"C:\data\x.zarr\s0"),
        ("C:/data/x.zarr", ("",), r"C:\data\x.zarr"),
        (r"\\server\share\x.zarr", ("s0",), r"\\server\share\x.zarr\s0"),
        ("s3://bucket", ("x.zarr",), "s3://bucket/x.zarr"),
        ("s3://bucket/x.zarr/", ("a", "/b/"), "s3://bucket/x.zarr/a/b"),
        ("s3://bucket/x.zarr", ("",), "s3://bucket/x.zarr"),
        ("memory://", ("x.zarr", "s0"), "memory://x.zarr/s0"),
        ("zip://x.zarr::s3://b/x.zip", ("s0", ".zarray"), "zip://x.zarr/s0/.zarray::s3://b/x.zip"),
        ("zip://::file:///C:/x.zip", ("s0",), "zip://s0::file:///C:/x.zip"),
        ("zip::s3://b/x.zip", ("s0",), "zip://s0::s3://b/x.zip"),
    ],
)
def test_parts_are_joined_as_the_place_wants_it(base, parts, joined):
    assert join(base, *parts) == joined


def test_local_paths_are_joined_as_pathlib_does():
    assert join("x.zarr", "a", "b") == str(Path("x.zarr", "a", "b"))
    assert join(Path("x.zarr"), "") == "x.zarr"
