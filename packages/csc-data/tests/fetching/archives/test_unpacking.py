"""Archives are not trusted."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib

import pytest

from csc_data.errors import UnreadableDataError
from csc_data.fetching.archives.unpacking import UnsafeArchiveError, unpack
from csc_data.fetching.staging import FOLDER
from csc_data.storage.room import DiskFullError

INSIDE = "jrc_x/jrc_x.zarr/recon-1"
FILES = {f"{INSIDE}/.zattrs": b"{}", f"{INSIDE}/s0/0/0/0": bytes(range(256)) * 9, f"{INSIDE}/s0/.zarray": b"x"}


def write(path, entries, prefix="data_all_res_no_pad/", compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, body in entries.items():
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(prefix + name, (2024, 5, 1, 12, 0, 0))
            archive.writestr(info, body, compression)
    return path


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "some.zip"


@pytest.mark.parametrize("prefix", ["", "data_all_res_no_pad/", "a/b/"])
def test_data_sets_come_out_wherever_they_are_in_it(archive, root, prefix, files_in):
    write(archive, {**FILES, "README.txt": b"read me", "jrc_y/other.zarr/x": b"?"}, prefix)
    result = unpack(archive, root)
    assert files_in(root) == FILES
    assert (result.unpacked, result.skipped, result.there) == (3, 2, 0)
    assert result.unpacked_bytes == sum(map(len, FILES.values()))


def test_a_second_run_writes_nothing_and_replaces_what_is_older_and_differs(archive, root, files_in):
    write(archive, FILES)
    unpack(archive, root)
    assert unpack(archive, root).there == 3
    old, new = root / INSIDE / ".zattrs", root / INSIDE / "s0/.zarray"
    old.write_bytes(b"[]")
    os.utime(old, (10**9, 10**9))
    new.write_bytes(b"y")
    result = unpack(archive, root)
    assert (result.unpacked, result.there, result.kept) == (1, 1, 1)
    assert files_in(root) == {**FILES, f"{INSIDE}/s0/.zarray": b"y"}
    assert unpack(archive, root, overwrite=True).unpacked == 3
    assert files_in(root) == FILES


def symlink(name):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


BAD = {
    "up": ({f"{INSIDE}/../../../../evil": b"x"}, "out of the folder"),
    "up outside": ({"../evil": b"x"}, "out of the folder"),
    "absolute": ({zipfile.ZipInfo(f"/{INSIDE}/evil"): b"x"}, "out of the folder"),
    "drive": ({f"{INSIDE}/C:evil": b"x"}, "out of the folder"),
    "backslash": ({f"{INSIDE}/..\\..\\evil": b"x"}, "out of the folder"),
    "control": ({f"{INSIDE}/a\nb": b"x"}, "characters"),
    "link": ({symlink(f"{INSIDE}/link"): b"/etc/passwd"}, "link"),
    "link elsewhere": ({symlink("link"): b"/etc/passwd"}, "link"),
    "file and folder": ({f"{INSIDE}/s0/0": b"x"}, "a file and a folder"),
    "nothing": ({}, "holds no data set"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_dangerous_archive_is_refused_before_anything_is_written(archive, root, case):
    entries, words = BAD[case]
    write(archive, {**FILES, **entries} if entries else {"README.txt": b"x"})
    with pytest.raises(UnsafeArchiveError, match=words):
        unpack(archive, root)
    assert list(root.parent.rglob("*")) == [root, archive] or set(root.parent.iterdir()) == {root, archive}
    assert list(root.iterdir()) == []


def test_double_entries_are_refused_also_under_two_prefixes(archive, root):
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(f"a/{INSIDE}/.zattrs", b"1")
        opened.writestr(f"b/{INSIDE}/.zattrs", b"2")
    with pytest.raises(UnsafeArchiveError, match="twice"):
        unpack(archive, root)
    assert list(root.iterdir()) == []


def patched(path, entry, **changes):
    """Change what the central directory says of an entry."""
    with zipfile.ZipFile(path, "a") as opened:
        info = opened.getinfo(entry)
        for name, value in changes.items():
            setattr(info, name, value)
        opened._didModify = True


def test_declared_bombs_and_shared_bytes_are_refused(archive, root):
    write(archive, FILES, "")
    patched(archive, f"{INSIDE}/.zattrs", file_size=2**29)
    with pytest.raises(UnsafeArchiveError, match="zip bomb"):
        unpack(archive, root)
    write(archive, FILES, "", zipfile.ZIP_STORED)
    with zipfile.ZipFile(archive) as opened:
        offset = opened.getinfo(f"{INSIDE}/.zattrs").header_offset
    patched(archive, f"{INSIDE}/s0/.zarray", header_offset=offset)
    with pytest.raises(UnsafeArchiveError, match="share bytes"):
        unpack(archive, root)
    assert list(root.iterdir()) == []


def test_no_more_comes_out_than_was_declared(archive, root):
    name = f"{INSIDE}/s0/1"
    write(archive, {**FILES, name: bytes(10**6)}, "")
    patched(archive, name, file_size=1000)
    with pytest.raises(UnreadableDataError, match="damaged"):
        unpack(archive, root)
    assert not (root / name).exists()
    patched(archive, name, file_size=1000, CRC=zlib.crc32(bytes(1000)))
    unpack(archive, root)
    assert (root / name).read_bytes() == bytes(1000)


def test_damage_is_told_and_nothing_half_is_left(archive, root):
    write(archive, FILES, "", zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    content[content.index(bytes(range(256)))] ^= 1
    archive.write_bytes(content)
    with pytest.raises(UnreadableDataError, match=r"some\.zip is damaged: Bad CRC-32.*fetch it again"):
        unpack(archive, root)
    assert not (root / INSIDE / "s0/0/0/0").exists()
    assert not list(root.rglob(FOLDER))
    archive.write_bytes(content[:-40])
    with pytest.raises(UnreadableDataError, match="damaged"):
        unpack(archive, root)


def test_what_does_not_fit_is_not_begun(archive, root, monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 100, 100))
    write(archive, FILES)
    with pytest.raises(DiskFullError, match="to be unpacked takes"):
        unpack(archive, root)
    assert list(root.iterdir()) == []
