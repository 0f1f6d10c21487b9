"""What is said of a disk that is full, whatever a library made of that."""

import errno
import pickle

import pytest

from csc_data.errors import UnreadableDataError
from csc_data.storage.room import DiskFullError, full_disk_told


def full(number=errno.ENOSPC, name=None):
    raise OSError(number, "what the system says", name)


def as_zarr_does():
    try:
        full()
    except OSError:
        raise KeyError("0.0.0")  # noqa: B904  # as zarr 2.18 does where it makes a folder


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_it_is_one_line_that_says_where_and_what_to_do(tmp_path, number):
    words = f" of {tmp_path}; free some space and run the same again"
    with pytest.raises(DiskFullError, match=words) as caught, full_disk_told(tmp_path):
        full(number)
    assert "\n" not in str(caught.value)
    with pytest.raises(DiskFullError, match=r"of a/b;"), full_disk_told(tmp_path):
        full(number, "a/b")


def test_it_is_seen_behind_other_errors_and_said_once():
    with pytest.raises(DiskFullError, match="no space is left") as caught, full_disk_told():
        as_zarr_does()
    first = caught.value
    later = RuntimeError("the block failed")
    later.__cause__ = first
    with pytest.raises(DiskFullError) as caught, full_disk_told():
        raise later
    assert str(caught.value) == str(first)
    assert str(pickle.loads(pickle.dumps(first))) == str(first)


def test_other_errors_are_left_as_they_are():
    for error in (KeyError("x"), OSError(errno.EIO, "broken"), UnreadableDataError("cut off")):
        with pytest.raises(type(error)) as caught, full_disk_told():
            raise error
        assert caught.value is error


def test_it_decorates_functions():
    @full_disk_told()
    def write(number):
        return full() if number else "written"

    assert write(0) == "written"
    with pytest.raises(DiskFullError):
        write(1)
