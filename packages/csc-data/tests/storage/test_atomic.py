"""Small files are whole or not there, and what keeps one from being written is said."""

import os

import pytest

from csc_data.errors import CscError
from csc_data.storage.atomic import UnwritableFileError, replace_text


def test_a_file_and_the_folders_above_it_are_made_and_nothing_else(tmp_path):
    file = tmp_path / "a/b.txt"
    for text in ("one", "two\n"):
        replace_text(file, text)
        assert file.read_text() == text
    assert [path.name for path in file.parent.iterdir()] == ["b.txt"]


def test_what_cannot_be_written_is_an_error_of_ours_that_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for place in (tmp_path / "folder", tmp_path / "file/below"):
        with pytest.raises(UnwritableFileError, match="cannot be written") as raised:
            replace_text(place, "text")
        assert isinstance(raised.value, CscError)
        assert isinstance(raised.value.__cause__, OSError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_or_device_is_never_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnwritableFileError, match="a pipe or a device"):
        replace_text(tmp_path / "pipe", "x")
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
