"""Files by keys, with a limit: folders, several folders, zips, and URLs."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile

import pytest

from csc_data.errors import InvalidArgumentError, MissingDataError, UnreadableDataError
from csc_data.storage.stores.places import FolderStore, GatheredStore, UrlStore, open_place
from csc_data.storage.stores.submissions import open_store
from csc_data.storage.stores.zips import DamagedArchiveError, UnsafeArchiveError, ZipStore

FILES = {"a/.zarray": b"{}", "a/0/0": b"0123456789", "a/0/1": b"", "b/c/x": b"x"}


@pytest.fixture
def stores(tmp_path):
    """Return the same files behind every kind of store."""
    import fsspec

    root = tmp_path / "root"
    for key, content in FILES.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(content)
        fsspec.filesystem("memory").pipe(f"/stores/{key}", content)
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in FILES.items():
            archive.writestr(key, content)
            archive.writestr(f"in/{key}", content)
    gathered = GatheredStore({"a": root / "a", "b": root / "b"})
    zips = [ZipStore(tmp_path / "s.zip"), ZipStore(tmp_path / "s.zip", prefix="in")]
    yield [FolderStore(root), gathered, *zips, UrlStore("memory://stores")]
    fsspec.filesystem("memory").rm("/stores", recursive=True)


def test_every_store_gives_the_same_bytes(stores):
    for store in stores:
        for key, content in FILES.items():
            assert store.read(key, 10) == content
            assert store.has(key)
        assert dict(store.read_many(list(FILES), 10)) == dict(enumerate(FILES.values()))
        assert store.read("a/0/2", 10) is None
        assert store.read("a/0/0/0", 10) is None
        assert not store.has("a/nothing")
        assert [store.read("a/0/0", 4, part) for part in ((2, 5), (-3, None), (8, 20), (20, 30))] == [
            b"234",
            b"789",
            b"89",
            b"",
        ]
        with pytest.raises(UnreadableDataError, match="9"):
            store.read("a/0/0", 9)
        with pytest.raises(UnreadableDataError, match="2"):
            store.read("a/0/0", 2, (2, 5))
        assert store.place("a/0/0").endswith("a/0/0")


def test_folders_are_listed_by_name(stores):
    for store in stores[:4]:
        assert set(store.folders("")) >= {"a", "b"}
        assert (store.folders("a"), store.folders("b"), store.folders("b/c"), store.folders("z")) == (
            ("0",),
            ("c",),
            (),
            (),
        )
    assert stores[4].folders("") == ("a", "b")


def test_they_are_told_apart_and_sent_to_other_processes(stores):
    assert len({repr(store.identity) for store in stores}) == len(stores)
    for store in stores:
        copy = pickle.loads(pickle.dumps(store))
        assert (copy.identity, copy.read("b/c/x", 1)) == (store.identity, b"x")


def test_a_zip_that_is_sent_with_every_task_is_opened_once(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("a/0", b"x")
        archive.writestr("a-b/0", b"x")
    packed = pickle.dumps(ZipStore(tmp_path / "s.zip"))
    first = pickle.loads(packed)
    assert pickle.loads(packed) is first
    assert [name for name, _, _ in first.signature("a")] == ["a/0"]
    first.close()
    assert pickle.loads(packed).read("a/0", 1) == b"x"
    with zipfile.ZipFile(tmp_path / "s.zip", "a") as archive:
        archive.writestr("a/1", b"y")
    changed = pickle.loads(pickle.dumps(ZipStore(tmp_path / "s.zip")))
    assert changed.read("a/1", 1) == b"y"


def test_signatures_and_stamps_change_with_the_files(stores, tmp_path):
    for store in stores[:4]:
        before = list(store.signature("a"))
        assert [name.rpartition("/")[2] for name, _, _ in before] == [".zarray", "0", "1"]
        assert store.stamps(["a/0/0", "a/0/2"])[1] is None
    folder = stores[0]
    stamp = folder.stamps(["a/0/0"])
    (tmp_path / "root" / "a" / "0" / "0").write_bytes(b"other")
    assert folder.stamps(["a/0/0"]) != stamp
    assert list(folder.signature("a")) != list(stores[2].signature("a"))
    with pytest.raises(UnreadableDataError, match="not known"):
        list(stores[4].signature("a"))


def test_names_that_no_system_takes_are_not_there_or_an_error_of_ours(tmp_path):
    store = FolderStore(tmp_path)
    for key in ("a\0b", "x" * 5000):
        assert not store.has(key)
        with pytest.raises(UnreadableDataError, match="cannot be read"):
            store.read(key, 1)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnreadableDataError, match="cannot be read"):
        store.read("folder", 1)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no such device")  # noqa: PTH110
def test_devices_are_not_read(tmp_path):
    (tmp_path / "0").symlink_to("/dev/zero")
    with pytest.raises(UnreadableDataError, match="not a regular file"):
        FolderStore(tmp_path).read("0", 100)


def zipped(path, names, **attributes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                info = zipfile.ZipInfo(name)
                for attribute, value in attributes.items():
                    setattr(info, attribute, value)
                archive.writestr(info, b"x")
    return path


def test_a_member_that_another_method_packed_is_damaged(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", b"some text " * 50)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[45:60] = b"\xff" * 15
    (tmp_path / "a.zip").write_bytes(data)
    store = ZipStore(tmp_path / "a.zip")
    with pytest.raises(DamagedArchiveError, match="cannot be read"):
        store.read("a", 10**6)
    assert store.find_damage() is not None
    assert store.find_damage(["a"]) is not None  # a folder of that name, which it is not


@pytest.mark.parametrize(
    ("names", "attributes", "words"),
    [
        (["../x"], {}, "leaves the zip"),
        (["a/../../x"], {}, "leaves the zip"),
        (["/x"], {}, "leaves the zip"),
        (["a/../x"], {}, "with '..' in it"),
        (["a"], {"external_attr": 0o120777 << 16}, "symbolic link"),
    ],
)
def test_zips_that_cannot_be_trusted_are_refused_with_all_that_is_wrong(tmp_path, names, attributes, words):
    with pytest.raises(UnsafeArchiveError, match=words) as caught:
        ZipStore(zipped(tmp_path / "a.zip", [*names, "../also"], **attributes))
    assert "../also" in {problem.where for problem in caught.value.problems}
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.problems) == (str(caught.value), caught.value.problems)


def test_a_member_under_another_name_is_found(tmp_path):
    """A flipped bit in the zip's directory would make a chunk absent, and its voxels 0."""
    path = zipped(tmp_path / "a.zip", ["a/0.0.0", "a/0.0.1"])
    content = path.read_bytes()
    at = content.rindex(b"a/0.0.1")
    path.write_bytes(content[:at] + b"a/0.8.1" + content[at + 7 :])
    with pytest.raises(UnsafeArchiveError, match=r"a/0\.8\.1.* another name"):
        ZipStore(path)


def test_damaged_members_are_named(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"0123456789" * 10)
    content = bytearray(buffer.getvalue())
    content[60] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UnreadableDataError, match=r"a\.zip:a cannot be read: Bad CRC"):
        ZipStore(tmp_path / "a.zip").read("a", 1000)
    (tmp_path / "a.zip").write_bytes(content[:-5])
    with pytest.raises(UnreadableDataError, match="not a zip"):
        ZipStore(tmp_path / "a.zip")


def test_the_place_of_a_path_or_url():
    assert isinstance(open_place("x/y"), FolderStore)
    store = open_place("s3://bucket/x", endpoint="http://e")
    assert isinstance(store, UrlStore)
    assert (store.place("a/b"), store.endpoint) == ("s3://bucket/x/a/b", "http://e")


def test_one_zarr_folder_or_one_zip_further_down_is_a_submission(tmp_path):
    for name in ("one/x.zarr/crop1/mito", "two/deep/x.zarr/557", "two/__MACOSX/x.zarr", "three/a.zarr", "three/b.zarr"):
        (tmp_path / name).mkdir(parents=True)
    assert open_store(tmp_path / "one").name == str(tmp_path / "one" / "x.zarr")
    assert open_store(tmp_path / "two").name == str(tmp_path / "two" / "deep" / "x.zarr")
    assert open_store(tmp_path / "one" / "x.zarr").folders("") == ("crop1",)
    with pytest.raises(InvalidArgumentError, match="several zarr folders"):
        open_store(tmp_path / "three")
    with pytest.raises(MissingDataError, match="does not exist"):
        open_store(tmp_path / "four")
    (tmp_path / "five").mkdir()
    zipped(tmp_path / "five" / "a.zip", ["s.zarr/crop1/mito/.zarray"])
    store = open_store(tmp_path / "five")
    assert (store.folders(""), store.has("crop1/mito/.zarray")) == (("crop1",), True)
    assert open_store(store) is store
    zipped(tmp_path / "five" / "b.zip", ["crop1/mito/.zarray"])
    with pytest.raises(InvalidArgumentError, match="2 zips"):
        open_store(tmp_path / "five")
