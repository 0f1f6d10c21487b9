from __future__ import annotations

import os
import sys

import fsspec
import pytest

from csc_data.errors import MissingBucketError, UnreadableDataError
from csc_data.storage.trees import BucketTree, open_tree

KEYS = ("a/.zgroup", "a/x/.zattrs", "a/y/0/0/0", "a/.hidden/file", "a/file")


@pytest.fixture(params=["local", "s3", "memory"])
def place(request, tmp_path):
    """A tree, and the path of a folder in it that holds the keys."""
    if request.param == "memory":
        files = fsspec.filesystem("memory")
        for key in KEYS:
            files.pipe(f"/trees/{key}", key.encode())
        yield open_tree("memory://trees"), "memory://trees"
        files.rm("/trees", recursive=True)
        return
    for key in KEYS:
        (tmp_path / "bucket" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bucket" / key).write_bytes(key.encode())
    if request.param == "local":
        yield open_tree(str(tmp_path)), f"{tmp_path}/bucket"
    else:
        server = request.getfixturevalue("s3_server")(tmp_path, latency=0.002)
        yield open_tree("s3://bucket/a", server.endpoint), "s3://bucket"


def test_folders_are_listed_without_hidden_ones(place):
    tree, path = place
    listed = tree.children([f"{path}/a", f"{path}/none", f"{path}/a/y"])
    assert [{name for name in names if name != "file"} for names in listed] == [{"x", "y"}, set(), {"0"}]


def test_files_are_read_and_missing_ones_are_known(place):
    tree, path = place
    assert tree.read([f"{path}/a/.zgroup", f"{path}/a/none", f"{path}/a/x/.zattrs"]) == [
        b"a/.zgroup",
        None,
        b"a/x/.zattrs",
    ]


def test_the_root_of_a_bucket_is_a_folder(tmp_path, s3_server):
    (tmp_path / "bucket" / "jrc_a" / "x").mkdir(parents=True)
    (tmp_path / "bucket" / "jrc_a" / "x" / "file").touch()
    tree = BucketTree(s3_server(tmp_path).endpoint)
    assert tree.children(["s3://bucket/"]) == [["jrc_a"]]
    with pytest.raises(MissingBucketError, match="no bucket 'other'"):
        tree.children(["s3://other/"])
    with pytest.raises(MissingBucketError, match="no bucket 'other'"):
        tree.read(["s3://other/x"])


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root and Windows read everything")
def test_what_may_not_be_read_is_an_error(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(UnreadableDataError, match="cannot be listed"):
        open_tree(str(tmp_path)).children([str(tmp_path / "closed")])


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UnreadableDataError, match="cannot be read"):
        open_tree(str(tmp_path)).read([str(tmp_path)])
