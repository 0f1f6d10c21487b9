from __future__ import annotations

import os

import pytest

from csc_data.fetching.planning.survey import is_present
from csc_data.storage.bucket import RemoteFile


@pytest.mark.parametrize(
    ("size", "age", "there"),
    [(4, 0, True), (4, 0.9, True), (4, -1000, True), (4, 2, False), (3, -1000, False), (5, 0, False), (0, 0, False)],
)
def test_a_file_is_there_if_it_has_the_size_and_is_not_older_than_the_bucket_s(tmp_path, size, age, there):
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    changed = 1_700_000_000.0
    os.utime(path, (changed - age, changed - age))
    assert is_present(str(path), RemoteFile("file", size, changed, "")) is there


def test_what_is_not_there_is_not_present(tmp_path):
    (tmp_path / "file").write_bytes(b"1234")
    for name in ("other", "file/below"):
        assert not is_present(str(tmp_path / name), RemoteFile("file", 4, 0.0, ""))
