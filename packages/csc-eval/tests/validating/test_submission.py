"""Sixty submissions that are broken in one way each: the fault is named, nothing else, and the portal's verdict."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import write_test_crops
from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError
from csc_data.formats.writing import create_array
from csc_eval import validate_submission
from csc_eval.causes import CAUSES

SHAPE = (6, 5, 4)
PLACE = {"voxel_size": [8.0, 8.0, 8.0], "translation": [104.0, 204.0, 304.0], "shape": list(SHAPE)}
ER = np.zeros(SHAPE, "u1")
ER[::2] = 1
IDS = np.zeros(SHAPE, "u2")
IDS[:3], IDS[4:] = 1, 300
LARGE = 2**60


def write(root: Path, name: str = "er", values=ER, crop: str = "crop7", **attributes) -> Path:
    folder = root / crop / name
    place = {
        key: value for key, value in {**PLACE, "shape": list(values.shape), **attributes}.items() if value is not None
    }
    array = create_array(
        folder, shape=values.shape, dtype=values.dtype, chunks=(4,) * values.ndim, attributes=place, overwrite=True
    )
    array[...] = values
    return folder


def metadata(folder: Path, **changes) -> None:
    file = folder / ".zarray"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def zipped(root: Path, name: str = "a.zip", above: str = "", more: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(root.with_name(name), "w") as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, above + file.relative_to(root).as_posix())
        for key, content in (more or {}).items():
            archive.writestr(key, content)
    return root.with_name(name)


def inside(file: Path, name: str, more: dict[str, bytes] | None = None) -> Path:
    """Put a zip into a zip."""
    with zipfile.ZipFile(file.with_name(name), "w") as archive:
        archive.write(file, file.name)
        for key, content in (more or {}).items():
            archive.writestr(key, content)
    return file.with_name(name)


def renamed(root: Path, old: str, new: str) -> Path:
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    (root / old).rename(root / new)
    return root


def removed(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return root


def text(root: Path, name: str, content: bytes | str = b"x") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def changed(root: Path, *args, **kwargs) -> Path:
    write(root, *args, **kwargs)
    return root


def cut_chunk(root: Path) -> Path:
    chunk = root / "crop7" / "er" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:18])
    return root


def described(root: Path, name: str = "er", **changes) -> Path:
    metadata(root / "crop7" / name, **changes)
    return root


def only_bare(root: Path) -> Path:
    return renamed(renamed(root, "crop7", "7"), "crop8", "8")


def grouped(root: Path) -> Path:
    renamed(renamed(root, "crop7/er", "crop7/x"), "crop7/x", "crop7/er/s0")
    return text(root, "crop7/er/.zgroup", '{"zarr_format": 2}')


def format3(root: Path) -> Path:
    removed(root, "crop7/er")
    return text(root, "crop7/er/zarr.json", '{"zarr_format": 3, "node_type": "array", "shape": [6, 5, 4]}')


def link(root: Path) -> Path:
    path = zipped(root)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("crop7/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return path


def huge(root: Path) -> Path:
    """A zip whose directory declares 4 GB for each of its files."""
    path = zipped(root)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
        at = content.find(b"PK\x01\x02", at + 1)
    path.write_bytes(content)
    return path


def two_zips(root: Path) -> Path:
    folder = root.with_name("f")
    for name in ("a.zip", "b.zip"):
        text(folder, name, zipped(root, "x.zip").read_bytes())
    return folder


def grey(dtype: str, one: float) -> np.ndarray:
    return (np.linspace(0.01, 1, 120).reshape(SHAPE) * one).astype(dtype)


def mask_beyond(share: float, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    values = np.ones(shape, "u1")
    values.ravel()[: round(values.size * (1 - share))] = 0
    return values


def speckle(count: int) -> np.ndarray:
    return np.arange(count, dtype="u4").reshape(-1, 10, 10)


MAC = {"__MACOSX/crop7/._er": b"x"}
BROKEN: dict[str, tuple[Callable[[Path], Path], dict[str, str], str]] = {
    # what is handed in, what is found where, and what the portal does with it all
    "no zip": (lambda r: text(r.parent, "a.zip") / "a.zip", {".": "not_a_zip"}, "refused"),
    "a cut zip": (
        lambda r: text(r.parent, "b.zip", zipped(r).read_bytes()[:-30]) / "b.zip",
        {".": "not_a_zip"},
        "refused",
    ),
    "a path outside": (lambda r: zipped(r, more={"../evil": b"x"}), {"../evil": "unsafe_zip"}, "refused"),
    "an absolute path": (lambda r: zipped(r, more={"/evil": b"x"}), {"/evil": "unsafe_zip"}, "refused"),
    "a link": (link, {"crop7/link": "unsafe_zip"}, "refused"),
    "too large": (huge, {".": "too_large"}, "refused"),
    "zip in zip": (lambda r: inside(zipped(r), "b.zip"), {"a.zip": "nested_zip"}, "refused"),
    "zip in zip in zip": (lambda r: inside(inside(zipped(r), "b.zip"), "c.zip"), {"b.zip": "nested_zip"}, "refused"),
    "zip in a folder in a zip": (
        lambda r: zipped(removed(text(r, "z/a.zip", zipped(r, "b.zip").read_bytes()), "crop7", "crop8")),
        {"z/a.zip": "nested_zip"},
        "refused",
    ),
    "two zips": (two_zips, {".": "several_zips"}, "refused"),
    "two zarr folders": (
        lambda r: zipped(r, above="a.zarr/", more={"b.zarr/.zgroup": b"{}"}),
        {".": "several_zarrs"},
        "refused",
    ),
    "a zarr and crops as zarrs": (
        lambda r: zipped(renamed(renamed(r, "crop7", "crop7.zarr"), "crop8", "crop8.zarr")),
        {".": "several_zarrs"},
        "refused",
    ),
    "__MACOSX with a zarr": (
        lambda r: zipped(r, above="a.zarr/", more={"__MACOSX/a.zarr/._x": b"x"}),
        {".": "macosx_zarr"},
        "refused",
    ),
    "__MACOSX with a zarr's twin": (
        lambda r: zipped(r, above="a.zarr/", more={"__MACOSX/._a.zarr": b"x"}),
        {".": "macosx_zarr"},
        "refused",
    ),
    "__MACOSX": (lambda r: zipped(r, more=MAC), {"__MACOSX": "macosx"}, "accepted"),
    "a folder further down": (lambda r: zipped(r, above="results/"), {"results": "deeper"}, "refused"),
    "two folders further down": (lambda r: zipped(r, above="my/results/"), {"my/results": "deeper"}, "refused"),
    "nothing": (lambda r: removed(r, "crop7", "crop8"), {".": "no_crops"}, "refused"),
    "an empty zip": (lambda r: zipped(removed(r, "crop7", "crop8", ".zgroup")), {".": "no_crops"}, "refused"),
    "other crops only": (lambda r: removed(renamed(r, "crop7", "crop9"), "crop8"), {".": "no_crops"}, "refused"),
    "labels at the root": (
        lambda r: removed(renamed(renamed(r, "crop7/er", "er"), "crop7/mito", "mito"), "crop7", "crop8"),
        {".": "no_crops"},
        "refused",
    ),
    "a stray file": (lambda r: text(r, "readme.txt"), {"readme.txt": "stray_file"}, "accepted"),
    "a stray zip": (lambda r: zipped(text(r, "old.zip")), {"old.zip": "stray_file"}, "accepted"),
    ".DS_Store": (lambda r: zipped(r, more={".DS_Store": b"x"}), {".DS_Store": "stray_file"}, "accepted"),
    "a crop too many": (lambda r: changed(r, crop="crop9"), {"crop9": "surplus"}, "accepted"),
    "a class too many": (lambda r: changed(r, "zzz"), {"crop7/zzz": "surplus"}, "accepted"),
    "a mask": (lambda r: changed(r, "er_mask"), {"crop7/er_mask": "submitted_mask"}, "ends"),
    "names without crop": (only_bare, {".": "bare_ids"}, "accepted"),
    "one name without crop": (lambda r: renamed(r, "crop8", "8"), {"8": "crop_name"}, "accepted"),
    "a crop missing": (lambda r: removed(r, "crop8"), {"crop8": "missing_crop"}, "accepted"),
    "a crop that is an array": (
        lambda r: renamed(removed(r, "crop8"), "crop7/er", "crop8") and changed(r),
        {"crop8": "crop_is_array"},
        "ends",
    ),
    "a class missing": (lambda r: removed(r, "crop7/er"), {"crop7/er": "missing_label"}, "accepted"),
    "a class in capitals": (lambda r: renamed(r, "crop7/mito", "crop7/Mito"), {"crop7/Mito": "label_name"}, "accepted"),
    "a misspelt class": (lambda r: renamed(r, "crop7/mito", "crop7/mitos"), {"crop7/mitos": "label_name"}, "accepted"),
    "a class as zarr": (
        lambda r: renamed(r, "crop7/mito", "crop7/mito.zarr"),
        {"crop7/mito.zarr": "label_name"},
        "accepted",
    ),
    "a group": (grouped, {"crop7/er": "group"}, "accepted"),
    "format 3": (format3, {"crop7/er": "format3"}, "accepted"),
    "N5": (lambda r: text(removed(r, "crop7/er"), "crop7/er/attributes.json", "{}"), {"crop7/er": "n5"}, "accepted"),
    "no .zarray": (lambda r: removed(r, "crop7/er/.zarray"), {"crop7/er": "no_metadata"}, "accepted"),
    "damaged .zarray": (lambda r: text(r, "crop7/er/.zarray", "{"), {"crop7/er": "damaged_metadata"}, "ends"),
    "damaged .zattrs": (lambda r: text(r, "crop7/er/.zattrs", "{"), {"crop7/er": "damaged_metadata"}, "ends"),
    "a damaged chunk": (cut_chunk, {"crop7/er": "damaged_chunk"}, "ends"),
    "an unknown compressor": (lambda r: described(r, compressor={"id": "none"}), {"crop7/er": "unreadable"}, "ends"),
    "four axes": (lambda r: changed(r, values=ER[None]), {"crop7/er": "axes"}, "ends"),
    "text": (lambda r: described(r, dtype="<U4"), {"crop7/er": "dtype"}, "ends"),
    "complex numbers": (lambda r: described(r, dtype="<c16"), {"crop7/er": "dtype"}, "ends"),
    "big-endian ids": (lambda r: described(r, "mito", dtype=">u2"), {"crop7/mito": "big_endian_ids"}, "ends"),
    "a big-endian mask": (
        lambda r: changed(r, values=ER.astype("u2") * 257) and described(r, dtype=">u2"),
        {"crop7/er": "big_endian"},
        "accepted",
    ),
    "a voxel size of two numbers": (lambda r: changed(r, voxel_size=[8, 8]), {"crop7/er": "wrong_place"}, "ends"),
    "a voxel size in words": (lambda r: changed(r, voxel_size="8 nm"), {"crop7/er": "wrong_place"}, "ends"),
    "far too many voxels": (
        lambda r: described(changed(r, shape=None), shape=[100, 100, 100], chunks=[100, 100, 100]),
        {"crop7/er": "too_many_voxels"},
        "ends",
    ),
    "no voxel size": (lambda r: changed(r, voxel_size=None), {"crop7/er": "no_voxel_size"}, "accepted"),
    "no translation": (lambda r: changed(r, translation=None), {"crop7/er": "no_translation"}, "accepted"),
    "no voxel size, another shape": (
        lambda r: changed(r, values=ER[:5], voxel_size=None),
        {"crop7/er": "centred"},
        "accepted",
    ),
    "another voxel size": (
        lambda r: changed(r, values=ER[:3], voxel_size=[16, 8, 8]),
        {"crop7/er": "voxel_size"},
        "accepted",
    ),
    "another shape": (lambda r: changed(r, values=ER[:5]), {"crop7/er": "shape"}, "accepted"),
    "another translation": (lambda r: changed(r, translation=[120, 204, 304]), {"crop7/er": "translation"}, "accepted"),
    "elsewhere": (lambda r: changed(r, translation=[0, 0, 0]), {"crop7/er": "elsewhere"}, "accepted"),
    "another shape in words": (lambda r: changed(r, shape=[5, 5, 5]), {"crop7/er": "shape_attribute"}, "accepted"),
    "probabilities": (lambda r: changed(r, values=grey("f4", 1)), {"crop7/er": "probabilities"}, "accepted"),
    "probabilities as bytes": (lambda r: changed(r, values=grey("u1", 255)), {"crop7/er": "probabilities"}, "accepted"),
    "probabilities of objects": (
        lambda r: changed(r, "mito", grey("f4", 1)),
        {"crop7/mito": "probabilities"},
        "accepted",
    ),
    "ids as floats": (lambda r: changed(r, "mito", IDS.astype("f8")), {"crop7/mito": "float_labels"}, "accepted"),
    "ids below 0": (lambda r: changed(r, "mito", -IDS.astype("i4")), {"crop7/mito": "negative"}, "accepted"),
    "NaN": (lambda r: changed(r, values=np.where(ER, np.nan, 1)), {"crop7/er": "not_a_number"}, "accepted"),
    "ids that are merged": (
        lambda r: changed(r, "mito", IDS[[0, 3, 4]].astype("u8") * (LARGE // 300), voxel_size=[16, 8, 8]),
        {"crop7/mito": "voxel_size large_ids"},
        "accepted",
    ),
    "empty": (lambda r: changed(r, values=ER * 0), {"crop7/er": "empty"}, "accepted"),
    "full": (lambda r: changed(r, "pm", np.ones(SHAPE, "u1")), {"crop7/pm": "full"}, "accepted"),
    "one object that fills all": (
        lambda r: changed(r, "mito", np.ones(SHAPE, "u1")),
        {"crop7/mito": "full"},
        "accepted",
    ),
    "inverted": (lambda r: changed(r, "pm", mask_beyond(0.95)), {"crop7/pm": "inverted"}, "accepted"),
    "one id for all objects": (lambda r: changed(r, "mito", IDS > 0), {"crop7/mito": "one_id"}, "accepted"),
    "ids in a mask": (lambda r: changed(r, values=IDS), {"crop7/er": "ids_in_mask"}, "accepted"),
    "far too many objects": (
        lambda r: changed(r, "mito", speckle(21_000), voxel_size=None, shape=None),
        {"crop7/mito": "centred many_ids"},
        "accepted",
    ),
    "a chunk missing": (lambda r: removed(r, "crop7/er/1/0/0"), {"crop7/er": "missing_chunks"}, "accepted"),
    "a packed chunk missing": (
        lambda r: removed(changed(r, csc_stored_chunks=4), "crop7/er/1/0/0"),
        {"crop7/er": "missing_chunks"},
        "accepted",
    ),
}


@pytest.fixture
def config(tmp_path) -> Config:
    config = Config(data=str(tmp_path))
    place = {key: tuple(value) for key, value in PLACE.items()}
    crops = [
        TestCrop(id=7, dataset="x", classes=("er", "mito", "pm"), **place),
        TestCrop(id=8, dataset="x", classes=("er",), **place),
    ]
    write_test_crops(tmp_path / "test_crop_manifest.csv", crops)
    return config


@pytest.fixture
def submission(tmp_path) -> Iterator[Path]:
    root = tmp_path / "submission"
    text(root, ".zgroup", '{"zarr_format": 2}')
    write(root)
    write(root, "mito", IDS)
    write(root, "pm")
    write(root, crop="crop8")
    return root


@pytest.mark.parametrize("zip_it", [False, True])
def test_what_is_right_has_no_findings(config, submission, zip_it):
    report = validate_submission(zipped(submission, above="s.zarr/") if zip_it else submission, config=config)
    assert report.findings == ()
    assert report.ok
    said = {(label.crop, label.class_name): (label.dtype, label.voxels, label.instances) for label in report.labels}
    assert said["crop7", "mito"] == ("uint16", 100, 2)
    assert said["crop7", "er"] == said["crop8", "er"] == ("uint8", 60, None)


def test_there_are_sixty():
    assert len(BROKEN) >= 60


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_is_named_and_nothing_else(config, submission, name):
    breaking, expected, verdict = BROKEN[name]
    report = validate_submission(breaking(submission), config=config)
    said: dict[str, set[str]] = {}
    for finding in report.findings:
        said.setdefault(finding.where, set()).add(finding.cause.name)
    assert said == {where: set(names.split()) for where, names in expected.items()}
    assert report.verdict == verdict
    harmful = any(CAUSES[cause].harmful for names in expected.values() for cause in names.split())
    assert report.ok is (not harmful)
    assert all(finding.problem.remedy for finding in report.findings)


def test_labels_are_counted_as_the_portal_does(config, submission):
    write(submission, "mito", IDS.astype(">u2"))
    described(submission, "mito", dtype=">u2")
    removed(submission, "crop8", "crop7/pm")
    verdicts = {(v.crop, v.class_name): v.verdict for v in validate_submission(submission, config=config).labels}
    assert verdicts == {
        ("crop7", "er"): "accepted",
        ("crop7", "mito"): "ends",
        ("crop7", "pm"): "missing",
        ("crop8", "er"): "missing",
    }


def test_nothing_is_never_ok(config, submission, tmp_path):
    removed(submission, "crop7/er", "crop7/mito", "crop7/pm", "crop8")
    report = validate_submission(submission, config=config)
    assert not report.ok
    assert report.verdict == "missing"
    with pytest.raises(MissingDataError, match="no submission"):
        validate_submission(tmp_path / "other.zip", config=config)
