from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from csc_data.errors import UnreadableDataError
from csc_data.fetching.staging import (
    FOLDER,
    Staging,
    UnwritableFolderError,
    check_writable,
    explain_os_error,
)
from csc_data.storage.bucket import FetchStopped
from csc_data.storage.room import DiskFullError

HOLD = """
import sys
from pathlib import Path
from csc_data.fetching.staging import Staging
staging = Staging(Path(sys.argv[1]))
print(staging.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_run(tmp_path):
    """Another process that stages in the same folder: itself and its staging folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate(timeout=600)


def test_files_are_placed_whole_in_folders_that_are_made(tmp_path):
    with Staging(tmp_path) as staging:
        staging.place(tmp_path / "a" / "b" / "c", b"one")
        staging.place(tmp_path / "a" / "b" / "c", b"another")
        staging.place(tmp_path / "a" / "empty", b"")
    assert (tmp_path / "a/b/c").read_bytes() == b"another"
    assert (tmp_path / "a/empty").read_bytes() == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == [".csc-digests", "a"]


def test_what_fails_leaves_what_was_there_and_nothing_else(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "inside").write_bytes(b"kept")
    with Staging(tmp_path) as staging:
        with pytest.raises(UnreadableDataError, match="cannot be written"):
            staging.place(tmp_path / "x", b"a folder has this name")
        assert [path.name for path in staging.folder.iterdir()] == ["lock"]
    assert (tmp_path / "x" / "inside").read_bytes() == b"kept"


def test_a_folder_that_is_removed_meanwhile_is_made_again(tmp_path):
    with Staging(tmp_path) as staging:
        staging.place(tmp_path / "a" / "one", b"1")
        (tmp_path / "a" / "one").unlink()
        (tmp_path / "a").rmdir()
        staging.place(tmp_path / "a" / "two", b"2")
    assert (tmp_path / "a" / "two").read_bytes() == b"2"


def test_nothing_is_placed_after_the_end(tmp_path):
    staging = Staging(tmp_path)
    staging.place(tmp_path / "a", b"1")
    staging.close()
    with pytest.raises(FetchStopped):
        staging.place(tmp_path / "b", b"2")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".csc-digests", "a"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_the_folder_of_a_run_is_left_alone_while_it_lives_and_removed_when_it_was_killed(tmp_path, other_run):
    process, folder = other_run
    assert folder.is_dir()
    with Staging(tmp_path):
        assert folder.is_dir()
    (folder / "half").write_bytes(b"unfinished")
    process.kill()
    process.wait(timeout=600)
    with Staging(tmp_path) as staging:
        assert not folder.exists()
        assert staging.folder.is_dir()
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EACCES, UnwritableFolderError),
        (errno.EROFS, UnwritableFolderError),
        (errno.EIO, UnreadableDataError),
    ],
)
def test_errors_of_the_system_are_told_in_our_words(tmp_path, number, kind):
    error = OSError(number, os.strerror(number))
    explained = explain_os_error(error, tmp_path / "file")
    assert type(explained) is kind
    assert str(tmp_path / "file") in str(explained)
    assert os.strerror(number) in str(explained)


def test_a_folder_that_can_be_made_is_writable_and_one_below_a_file_is_not(tmp_path):
    check_writable(tmp_path / "new" / "deep")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnwritableFolderError, match="is a file"):
        check_writable(tmp_path / "file" / "below")
