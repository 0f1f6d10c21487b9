"""Input that lies, is broken, or attacks: a score for the rest, a named problem for this one, and nothing else."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest

import csc_eval
from csc_data.errors import CscError
from csc_data.storage.stores.zips import UnsafeArchiveError, ZipStore

PLACE = {"voxel_size": [8.0, 8.0, 8.0], "translation": [0.0, 0.0, 0.0]}
SHAPE = (12, 14, 16)
FUZZ_RUNS = int(os.environ.get("CSC_EVAL_FUZZ", "250"))


@pytest.fixture
def truth(tmp_path, write_array):
    volume = np.zeros(SHAPE, np.uint8)
    volume[2:6, 2:8, 2:9] = 1
    volume[8:11, 6:12, 8:14] = 2
    write_array(tmp_path / "t.zarr/crop1/mito", volume, attributes=PLACE)
    write_array(tmp_path / "t.zarr/crop1/er", (volume > 0).astype(np.uint8), attributes=PLACE)
    return tmp_path / "t.zarr", volume


@pytest.fixture
def submit(tmp_path, write_array, truth):
    """Write a good `er`, and a `mito` that a function then spoils; returns the folder."""

    def write(spoil, name="s.zarr", values=None, **how):
        folder = tmp_path / name
        write_array(folder / "crop1/er", (truth[1] > 0).astype(np.uint8), attributes=PLACE)
        options = {"attributes": PLACE, "chunks": (8, 8, 8), "skip_empty": False, **how}
        write_array(folder / "crop1/mito", truth[1] if values is None else values, **options)
        spoil(folder / "crop1/mito")
        return folder

    return write


def edit(**changes):
    def spoil(folder):
        metadata = json.loads((folder / ".zarray").read_text())
        (folder / ".zarray").write_text(json.dumps(metadata | changes))

    return spoil


def attributes(**changes):
    return lambda folder: (folder / ".zattrs").write_text(json.dumps(PLACE | changes))


def chunk(data, name="0.0.0"):
    return lambda folder: (folder / name).write_bytes(data)


class Exploit:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


BLOSC_BOMB = struct.pack("<BBBBIII", 2, 1, 1, 1, 2**31 - 1, 2**20, 16)
SPOILS = {
    "two axes": edit(shape=[12, 14]),
    "no axes": edit(shape=[]),
    "four axes": edit(shape=[1, 12, 14, 16], chunks=[1, 8, 8, 8]),
    "negative shape": edit(shape=[-12, 14, 16]),
    "fractional shape": edit(shape=[12.5, 14, 16]),
    "shape of texts": edit(shape=["12", "14", "16"]),
    "absurd shape": edit(shape=[2**30, 2**30, 2**30]),
    "unlike any integer": edit(shape=[10**40, 1, 1]),
    "absurd chunks": edit(chunks=[2**20, 2**20, 2**20]),
    "empty chunks": edit(chunks=[0, 8, 8]),
    "object dtype": edit(dtype="|O", filters=[{"id": "pickle"}]),
    "text dtype": edit(dtype="<U8"),
    "complex dtype": edit(dtype="<c16"),
    "date dtype": edit(dtype="<M8[ns]"),
    "structured dtype": edit(dtype=[["a", "<u2"], ["b", "<u2"]]),
    "nonsense dtype": edit(dtype="elephant"),
    "long double": edit(dtype="<f16"),
    "pickle codec": edit(compressor={"id": "pickle"}),
    "unknown codec": edit(compressor={"id": "elephant"}),
    "codec of the wrong type": edit(compressor=7),
    "filter of a longer type": edit(filters=[{"id": "delta", "dtype": "<u4", "astype": "<u1"}]),
    "unknown filter": edit(filters=[{"id": "elephant"}]),
    "fill value of text": edit(fill_value="x"),
    "fill value too large": edit(fill_value=10**30),
    "order": edit(order="Z"),
    "separator": edit(dimension_separator="/../"),
    "metadata is a list": lambda folder: (folder / ".zarray").write_text("[1, 2]"),
    "metadata is cut off": lambda folder: (folder / ".zarray").write_text('{"shape": [12,'),
    "metadata is deep": lambda folder: (folder / ".zarray").write_text("[" * 100_000),
    "metadata is binary": lambda folder: (folder / ".zarray").write_bytes(bytes(range(256))),
    "attributes are cut off": lambda folder: (folder / ".zattrs").write_text('{"voxel_size"'),
    "voxel size zero": attributes(voxel_size=[0, 8, 8]),
    "voxel size negative": attributes(voxel_size=[-8, 8, 8]),
    "voxel size NaN": attributes(voxel_size=[float("nan"), 8, 8]),
    "voxel size infinite": attributes(voxel_size=[float("inf"), 8, 8]),
    "voxel size of two": attributes(voxel_size=[8, 8]),
    "voxel size of text": attributes(voxel_size="huge"),
    "voxel size null in list": attributes(voxel_size=[None, 8, 8]),
    "translation NaN": attributes(translation=[float("nan"), 0, 0]),
    "chunk is cut off": lambda folder: (folder / "0.0.0").write_bytes((folder / "0.0.0").read_bytes()[:-3]),
    "chunk is empty": chunk(b""),
    "chunk is noise": chunk(bytes(range(256)) * 3),
    "chunk is too small": chunk(zlib.compress(bytes(10))),
    "chunk is too large": chunk(zlib.compress(bytes(8**3 + 1))),
    "zlib bomb": chunk(zlib.compress(bytes(2**26))),
    "group without arrays": lambda folder: (
        shutil.rmtree(folder),
        folder.mkdir(),
        (folder / ".zgroup").write_text("{}"),
    ),
    "level outside": lambda folder: (
        (folder / ".zarray").unlink(),
        (folder / ".zattrs").write_text(
            json.dumps({"multiscales": [{"datasets": [{"path": "../../../t.zarr/crop1/mito"}]}]})
        ),
    ),
    "multiscales of nonsense": lambda folder: (
        (folder / ".zarray").unlink(),
        (folder / ".zattrs").write_text(json.dumps({"multiscales": {"datasets": 3}})),
    ),
}


@pytest.mark.parametrize("kind", SPOILS)
def test_a_broken_label_is_named_and_the_rest_scored(kind, submit, truth):
    result = csc_eval.score_submission(submit(SPOILS[kind]), truth[0], memory=2**30)
    assert result.crops["crop1"]["er"].score == 1
    assert list(result.failures) == [("crop1", "mito")]
    problem = result.failures["crop1", "mito"]
    assert "mito" in problem or "prediction" in problem
    score = result.crops["crop1"]["mito"]
    assert (score.tp, score.fp, score.fn, score.is_missing) == (0, 0, 2, True)
    json.loads(result.to_json(extended=True))


def become_pipe(path):
    path.unlink()
    os.mkfifo(path)


def become_device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def become_loop(path):
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
@pytest.mark.parametrize("become", [become_pipe, become_device, become_loop])
@pytest.mark.parametrize("name", ["0.0.0", ".zarray", ".zattrs"])
def test_what_is_no_file_is_named_and_not_waited_for(become, name, submit, truth):
    result = csc_eval.score_submission(submit(lambda folder: become(folder / name)), truth[0], memory=2**30)
    assert name in result.failures["crop1", "mito"]
    assert result.crops["crop1"]["er"].score == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
@pytest.mark.parametrize("become", [become_pipe, become_device])
def test_a_submission_that_is_no_file_is_refused(become, truth, tmp_path):
    path = tmp_path / "s.zip"
    path.touch()
    become(path)
    with pytest.raises(CscError, match="pipe or a device"):
        csc_eval.score_submission(path, truth[0])


def test_folders_that_hold_themselves_are_not_followed_forever(submit, truth):
    folder = submit(lambda folder: (folder / "deeper").symlink_to(folder))
    (folder / "self").symlink_to(folder)
    assert csc_eval.score_submission(folder, truth[0]).overall_score == 1


@pytest.mark.parametrize("compressor", ["blosc", "zstd", "lz4", "zlib", "bz2"])
def test_a_chunk_that_declares_a_gigantic_size_takes_no_memory(compressor, submit, truth):
    heads = {
        "blosc": BLOSC_BOMB,
        "zstd": b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little") + bytes(8),
        "lz4": (2**31 - 1).to_bytes(4, "little") + bytes(64),
        "zlib": zlib.compress(bytes(2**24)),
        "bz2": b"BZh9" + bytes(40),
    }
    folder = submit(chunk(heads[compressor]), compressor=compressor)
    result = csc_eval.score_submission(folder, truth[0], memory=2**30)
    assert list(result.failures) == [("crop1", "mito")]


HARMLESS = {
    "big-endian": {"values": ">u4"},
    "signed": {"values": "<i2"},
    "uint64 beyond 2**53": {"values": "<u8", "add": 2**60},
    "float ids": {"values": "<f8"},
    "half floats": {"values": "<f2"},
    "missing chunks": {"values": "<u1", "skip_empty": True},
    "no compressor": {"values": "<u2", "compressor": None},
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_only_unusual_is_scored_exactly(kind, submit, truth):
    how = dict(HARMLESS[kind])
    volume = truth[1].astype(how.pop("values"))
    volume[volume > 0] += np.array(how.pop("add", 0)).astype(volume.dtype)
    result = csc_eval.score_submission(submit(lambda _: None, values=volume, **how), truth[0])
    score = result.crops["crop1"]["mito"]
    assert (score.tp, score.fp, score.fn, score.score) == (2, 0, 0, 1.0)


def test_negative_ids_are_instances_too(submit, truth):
    volume = -truth[1].astype(np.int16)
    score = csc_eval.score_submission(submit(lambda _: None, values=volume), truth[0]).crops["crop1"]["mito"]
    assert (score.tp, score.fp, score.fn) == (2, 0, 0)


def test_nothing_in_a_submission_is_executed(submit, truth, tmp_path):
    marker = tmp_path / "exploited"
    payload = pickle.dumps(Exploit(marker))
    for number, spoil in enumerate(
        (
            lambda f: (edit(dtype="|O", filters=[{"id": "pickle"}], compressor=None)(f), chunk(payload)(f)),
            lambda f: (edit(compressor={"id": "pickle"})(f), chunk(payload)(f)),
        )
    ):
        result = csc_eval.score_submission(submit(spoil, name=f"s{number}.zarr"), truth[0])
        assert result.failures
    assert not marker.exists()


def make_zip(folder, path, extra=()):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
        for name, data in extra:
            archive.writestr(name, data)
    return path


def test_a_zip_is_scored_in_place(submit, truth, tmp_path):
    archive = make_zip(submit(lambda _: None), tmp_path / "sub.zip")
    before = sorted(path for path in tmp_path.rglob("*"))
    assert csc_eval.score_submission(archive, truth[0]).overall_score == 1
    assert sorted(path for path in tmp_path.rglob("*")) == before


def link():
    info = zipfile.ZipInfo("crop1/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "extra",
    [
        [("../evil", b"x")],
        [("crop1/../../evil", b"x")],
        [("/etc/evil", b"x")],
        [(link(), b"/etc/passwd")],
    ],
    ids=["parent", "parent within", "absolute", "link"],
)
def test_an_unsafe_zip_is_refused(extra, submit, truth, tmp_path):
    archive = make_zip(submit(lambda _: None), tmp_path / "sub.zip", extra)
    with pytest.raises(UnsafeArchiveError):
        csc_eval.score_submission(archive, truth[0])
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_of_a_name_that_is_twice_in_a_zip_the_last_counts_as_where_it_is_unpacked(submit, truth, tmp_path):
    archive = make_zip(submit(lambda _: None), tmp_path / "sub.zip", [("crop1/er/.zarray", b"{}")])
    assert list(csc_eval.score_submission(archive, truth[0]).failures) == [("crop1", "er")]


@pytest.mark.parametrize("name", ["C:/evil", "crop1\\evil", "crop1/é"])
def test_odd_names_in_a_zip_are_names(name, submit, truth, tmp_path):
    archive = make_zip(submit(lambda _: None), tmp_path / "sub.zip", [(name, b"x")])
    assert csc_eval.score_submission(archive, truth[0]).overall_score == 1


def test_a_zip_bomb_is_refused_by_what_it_declares(submit, truth, tmp_path):
    archive = tmp_path / "sub.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("crop1/mito/.zarray", bytes(2**22))
    with pytest.raises(UnsafeArchiveError, match="declares"):
        csc_eval.score_submission(archive, truth[0], max_uncompressed_size=2**20)


def test_a_member_that_unpacks_to_more_than_it_declares_is_named(submit, truth, tmp_path):
    folder = submit(lambda _: None, compressor=None)
    archive = tmp_path / "sub.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != "1.1.1":
                file.write(path, path.relative_to(folder))
        file.writestr("crop1/mito/1.1.1", bytes(2**24))
    data = bytearray(archive.read_bytes())
    size = (2**24).to_bytes(4, "little")
    while size in data:  # in the local header and in the directory
        at = data.index(size)
        data[at : at + 4] = (512).to_bytes(4, "little")
    archive.write_bytes(data)
    result = csc_eval.score_submission(archive, truth[0])
    assert "1.1.1" in result.failures["crop1", "mito"]


def test_a_nested_zip_is_no_crop(submit, truth, tmp_path):
    inner = make_zip(submit(lambda _: None), tmp_path / "inner.zip")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(inner, "inner.zip")
    with pytest.raises(CscError, match="none of the submission's crops"):
        csc_eval.score_submission(tmp_path / "outer.zip", truth[0])


NASTY = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "\0", "../..",
    "a" * 5000, [], [1], [8, 8, 8], [0, 0, 0], [-1, 8, 8], [2**40, 1, 1], [[1], [2], [3]], {}, {"id": "blosc"},
    {"id": "zstd", "level": "x"}, "|O", "<u8", ">i4", "<f2", "|b1", "<i8", "F", "/", "NaN",
)  # fmt: skip


def mutate(rng, folder):
    """Spoil an array somewhere: its metadata, its attributes, or a chunk."""
    target = rng.choice(["metadata", "attributes", "chunk", "bytes", "removed", "group"])
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = files[rng.integers(len(files))]
    nasty = NASTY[rng.integers(len(NASTY))]
    if target == "metadata":
        try:
            document = json.loads((folder / ".zarray").read_text())
        except ValueError:  # spoiled before
            return
        document[rng.choice([*document, "surplus"])] = nasty
        (folder / ".zarray").write_text(json.dumps(document))
    elif target == "attributes":
        names = ["voxel_size", "resolution", "scale", "translation", "offset", "multiscales"]
        document = dict(PLACE) if rng.random() < 0.5 else {}
        document[rng.choice(names)] = nasty if rng.random() < 0.5 else [nasty, 8, rng.choice([1e-9, 4.0, 1e9])]
        (folder / ".zattrs").write_text(json.dumps(document))
    elif target == "chunk":
        file.write_bytes(rng.bytes(int(rng.integers(0, 3000))))
    elif target == "bytes":
        data = bytearray(file.read_bytes())
        for _ in range(int(rng.integers(1, 6))):
            if data:
                data[rng.integers(len(data))] = rng.integers(256)
        file.write_bytes(data[: int(rng.integers(0, len(data) + 1))] if rng.random() < 0.3 else data)
    elif target == "removed":
        file.unlink()
    else:
        moved = folder.with_name("moved")
        folder.rename(moved)
        folder.mkdir()
        moved.rename(folder / str(rng.choice(["s0", "0", "x.zarr"])))
        document = {"multiscales": nasty if rng.random() < 0.5 else [{"datasets": [{"path": nasty}]}]}
        (folder / ".zattrs").write_text(json.dumps(document))


def spoil_archive(rng, archive):
    data = bytearray(archive.read_bytes())
    if rng.random() < 0.3:
        data = data[: int(rng.integers(0, len(data)))]
    for _ in range(int(rng.integers(1, 20))):
        if data:
            data[rng.integers(len(data))] = rng.integers(256)
    archive.write_bytes(data)


def test_fuzz(tmp_path, write_array, truth):
    """Ends in a score for the rest and a named problem, or in one clear error; CSC_EVAL_FUZZ=10000 is the full run."""
    dtypes = ["|b1", "|u1", "<u2", ">u4", "<i8", "<u8", "<f4", "<f8", "<f2"]
    codecs = ["blosc", "zstd", "lz4", "zlib", "gzip", "bz2", None]
    failed = 0
    for seed in range(FUZZ_RUNS):
        rng = np.random.default_rng(seed)
        folder = tmp_path / "fuzz" / "s.zarr"
        write_array(folder / "crop1/er", (truth[1] > 0).astype(np.uint8), attributes=PLACE)
        label = str(rng.choice(["mito", "pm"]))
        values = truth[1].astype(rng.choice(dtypes))
        write_array(
            folder / "crop1/mito", values, attributes=PLACE, chunks=(8, 8, 8), compressor=codecs[rng.integers(7)],
            order=str(rng.choice(["C", "F"])), separator=str(rng.choice([".", "/"])),
        )  # fmt: skip
        for _ in range(int(rng.integers(1, 3))):
            if (folder / "crop1/mito/.zarray").exists() and (folder / "crop1/mito/.zattrs").exists():
                mutate(rng, folder / "crop1/mito")
        source = folder
        archived = rng.random() < 0.4
        if archived:
            source = make_zip(folder, tmp_path / "fuzz" / "s.zip")
            if rng.random() < 0.5:
                spoil_archive(rng, source)
        rules = list(csc_eval.RULE_SETS) if label == "mito" else ["definition-2026-06"]
        start, refusal = time.process_time(), ""
        try:
            classes = ["mito"] if label == "mito" else ["ves"]
            result = csc_eval.score_submission(
                source, truth[0], rules=rules, instance_classes=classes, memory=2**29, metrics=("ap", "dice")
            )
        except CscError as error:
            refusal, result = str(error), None
        if result is None:
            assert archived, f"seed {seed}: {refusal}"
            assert "\n" not in refusal, f"seed {seed}: {refusal}"
        else:
            failed += len(result.failures)
            for (_, name), problem in result.failures.items():
                assert problem, f"seed {seed}"
                assert archived or name == "mito", f"seed {seed}"
            if not archived:
                assert result.crops["crop1"]["er"].score == 1
            json.loads(result.to_json(extended=True))
        assert time.process_time() - start < 20, f"seed {seed}"
        shutil.rmtree(tmp_path / "fuzz")
    assert failed > FUZZ_RUNS / 10


def test_a_zip_store_survives_pickling(submit, tmp_path):
    archive = make_zip(submit(lambda _: None), tmp_path / "sub.zip")
    copy = pickle.loads(pickle.dumps(ZipStore(archive)))
    assert copy.folders("crop1") == ("er", "mito")
