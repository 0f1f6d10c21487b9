from __future__ import annotations

import shutil
from collections import namedtuple

import pytest

from csc_data.fetching.disk_space import DiskSpace
from csc_data.storage.room import DiskFullError


@pytest.fixture
def space(tmp_path, monkeypatch):
    """A disk with 1 MB free, seen from a folder that is still to be made."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    return DiskSpace(tmp_path / "new" / "deep")


def test_files_take_whole_blocks_and_give_back_what_they_replace(space, tmp_path):
    (tmp_path / "old").write_bytes(bytes(1000))
    space.add(str(tmp_path / "new"), 4097)
    space.add(str(tmp_path / "old"), 10)
    assert space.needed == 2 * 4096 + 4096 - 1000


def test_it_is_enough_once_a_bound_fits_with_a_reserve(space):
    space.bound(600_000)
    assert not space.enough
    space.bound(400_000)
    assert space.enough
    space.bound(10**12)  # a worse bound takes nothing back
    assert space.enough


def test_what_does_not_fit_is_told_with_both_sizes(space, tmp_path):
    space.add(str(tmp_path / "small"), 400_000)
    space.check()
    space.add(str(tmp_path / "large"), 600_000)
    with pytest.raises(DiskFullError, match=r"1\.0 MB and 1\.0 MB are free"):
        space.check()
