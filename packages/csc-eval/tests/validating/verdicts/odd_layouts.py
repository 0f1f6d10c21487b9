"""What can be odd about a submission's labels, crops, folders and zip."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .drafts import PLACE, Draft, Stored, as_folder, as_zip, blobs, write_files

Files = dict[str, bytes]
Odd = Callable[[Draft], None]
GROUP = b'{"zarr_format": 2}'
MITO = "crop557/mito"


def _edit(change: Callable[[Files], None]) -> Odd:
    return lambda draft: draft.edits.append(change)


def _add(**files: bytes) -> Odd:
    return _edit(lambda held: held.update({name.replace("__", "/"): content for name, content in files.items()}))


def _put(name: str, content: bytes = b"x") -> Odd:
    return _edit(lambda held: held.update({name: content}))


def _drop(*starts: str) -> Odd:
    def change(files: Files) -> None:
        for name in [name for name in files if name.startswith(starts)]:
            del files[name]

    return _edit(change)


def _rename(old: str, new: str) -> Odd:
    def change(files: Files) -> None:
        held = dict(files)
        files.clear()
        files.update({new + name.removeprefix(old) if name.startswith(old) else name: held[name] for name in held})

    return _edit(change)


def _all(*steps: Odd) -> Odd:
    def spoil(draft: Draft) -> None:
        for step in steps:
            step(draft)

    return spoil


def _wrap(function: Callable[[Files, Path], Path]) -> Odd:
    def spoil(draft: Draft) -> None:
        draft.wrap = function

    return spoil


def _zip(**how: Any) -> Odd:
    return _wrap(partial(as_zip, **how))


def _ome(*, factor: int = 2, unit: str = "nanometer", group_scale: float = 1.0, axes: str = "zyx") -> Odd:
    """Store the label as a multiscale group of two levels."""

    def spoil(draft: Draft) -> None:
        stored = draft.arrays.pop(("crop557", "mito"))
        levels = []
        for level, values in enumerate(
            (stored.values.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2), stored.values)
        ):
            draft.arrays["crop557", f"mito/s{level}"] = Stored(values=values, attributes={})
            size = 8.0 if level else 8.0 / factor
            steps = [
                {"type": "scale", "scale": [size] * 3},
                {"type": "translation", "translation": PLACE["translation"]},
            ]
            levels.append({"path": f"s{level}", "coordinateTransformations": steps})
        scales = [
            {
                "version": "0.4",
                "name": "mito",
                "axes": [{"name": name, "type": "space", "unit": unit} for name in axes],
                "coordinateTransformations": [{"type": "scale", "scale": [group_scale] * 3}],
                "datasets": levels,
            }
        ]
        _add(crop557__mito__=b"")(draft)
        draft.edits[-1] = lambda files: files.update(
            {f"{MITO}/.zgroup": GROUP, f"{MITO}/.zattrs": json.dumps({"multiscales": scales}).encode()}
        )

    return spoil


def _plain_group(draft: Draft) -> None:
    draft.arrays["crop557", "mito/s0"] = draft.arrays.pop(("crop557", "mito"))
    _put(f"{MITO}/.zgroup", GROUP)(draft)


def _format3(draft: Draft) -> None:
    stored = draft.arrays.pop(("crop557", "mito"))
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(stored.values.shape),
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(stored.values.shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": stored.attributes,
    }
    _put(f"{MITO}/zarr.json", json.dumps(metadata).encode())(draft)
    _put(f"{MITO}/c/0/0/0", stored.values.tobytes())(draft)


def _n5(draft: Draft) -> None:
    stored = draft.arrays.pop(("crop557", "mito"))
    shape = stored.values.shape[::-1]
    metadata = {"dimensions": shape, "blockSize": shape, "dataType": "uint8", "compression": {"type": "raw"}}
    _put(f"{MITO}/attributes.json", json.dumps(metadata).encode())(draft)
    _put(f"{MITO}/0/0/0", struct.pack(">HH3I", 0, 3, *shape) + stored.values.tobytes())(draft)


def _mask(name: str, values: Callable[[Draft], np.ndarray]) -> Odd:
    def spoil(draft: Draft) -> None:
        draft.truth["crop557", f"{name}_mask"] = Stored(values=values(draft))

    return spoil


def _truth(change: Callable[[np.ndarray], np.ndarray], name: str = "mito") -> Odd:
    def spoil(draft: Draft) -> None:
        stored = draft.truth["crop557", name]
        draft.truth["crop557", name] = replace(stored, values=change(stored.values))

    return spoil


def _extra(crop: str, name: str) -> Odd:
    def spoil(draft: Draft) -> None:
        draft.arrays[crop, name] = Stored(values=blobs(draft.rng))

    return spoil


def _info(name: str, mode: int = 0o100644, **attributes: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
    info.external_attr = mode << 16
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def _bytes(change: Callable[[bytes], bytes], **how: Any) -> Odd:
    """Write a zip and then change its bytes."""

    def wrap(files: Files, folder: Path) -> Path:
        path = as_zip(files, folder, **how)
        path.write_bytes(change(path.read_bytes()))
        return path

    return _wrap(wrap)


def _flag_encrypted(data: bytes) -> bytes:
    out = bytearray(data)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = out.find(mark)
        while place >= 0:
            out[place + at] |= 1
            place = out.find(mark, place + 4)
    return bytes(out)


def _twice(name: str, content: bytes | None = None) -> Odd:
    def wrap(files: Files, folder: Path) -> Path:
        again = files[name] if content is None else content
        return as_zip(files, folder, more=((_info(name), again),))

    return _wrap(wrap)


def _zip_in_folder(*names: str, beside: Files | None = None) -> Odd:
    def wrap(files: Files, folder: Path) -> Path:
        for name in names:
            as_zip(files, folder / "handed in", name=name)
        write_files(beside or {}, folder / "handed in")
        return folder / "handed in"

    return _wrap(wrap)


def _in_folder(above: str, beside: Files | None = None) -> Odd:
    def wrap(files: Files, folder: Path) -> Path:
        root = write_files({above + name: content for name, content in files.items()}, folder / "handed in")
        return write_files(beside or {}, root)

    return _wrap(wrap)


def _link(name: str, target: str) -> Odd:
    """Put a symbolic link into the folder, in place of what is there."""

    def wrap(files: Files, folder: Path) -> Path:
        kept = {key: content for key, content in files.items() if key != name and not key.startswith(f"{name}/")}
        moved = {f"elsewhere/{key}": content for key, content in files.items() if key not in kept}
        write_files(moved, folder)
        root = as_folder(kept, folder)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target.format(folder=folder))
        return root

    return _wrap(wrap)


def _nested(files: Files, folder: Path) -> Path:
    inner = as_zip(files, folder, name="inner.zip")
    return as_zip({"inner.zip": inner.read_bytes()}, folder)


def _alone(name: str, content: bytes) -> Odd:
    def wrap(files: Files, folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return _wrap(wrap)


def _empty_zip() -> bytes:
    memory = io.BytesIO()
    zipfile.ZipFile(memory, "w").close()
    return memory.getvalue()


def _crop_is_array(draft: Draft) -> None:
    array = Stored(values=blobs(draft.rng)).files()
    draft.edits.append(lambda files: files.update({f"crop557/{name}": content for name, content in array.items()}))


ODD_LAYOUTS: dict[str, Odd] = {
    "label missing": _drop(f"{MITO}/"),
    "semantic label missing": _drop("crop557/er/"),
    "crop missing": _drop("crop558/"),
    "all crops missing": _drop("crop"),
    "one label only": _drop("crop558/", "crop557/er/"),
    "extra label": _extra("crop557", "cell"),
    "extra crop": _extra("crop900", "mito"),
    "label of another case": _rename(MITO, "crop557/Mito"),
    "label in both cases": _all(_extra("crop557", "Mito")),
    "label.zarr": _rename(MITO, "crop557/mito.zarr"),
    "label and label.zarr": _extra("crop557", "mito.zarr"),
    "label with a blank": _rename(MITO, "crop557/mito "),
    "label misspelt": _rename(MITO, "crop557/mitos"),
    "label in another label": _rename(MITO, "crop557/er/mito"),
    "label is a file": _all(_drop(f"{MITO}/"), _put(MITO)),
    "label is an empty folder": _all(_drop(f"{MITO}/"), _put(f"{MITO}/", b"")),
    "label is an empty group": _all(_drop(f"{MITO}/"), _put(f"{MITO}/.zgroup", GROUP)),
    "chunks alone": _drop(f"{MITO}/.z"),
    "OME group": _ome(),
    "OME group in micrometres": _ome(unit="micrometer"),
    "OME group with a scale": _ome(group_scale=2.0),
    "OME group of x, y, z": _ome(axes="xyz"),
    "OME group without levels": _all(_ome(), _drop(f"{MITO}/s0", f"{MITO}/s1")),
    "plain group": _plain_group,
    "format 3": _format3,
    "N5": _n5,
    "submitted mask": _extra("crop557", "mito_mask"),
    "submitted mask of a mask": _all(
        _mask("mito", lambda d: np.ones((10, 12, 14), np.uint8)), _extra("crop557", "mito_mask")
    ),
    "crop is an array": _crop_is_array,
    "crop is an array alone": _all(_crop_is_array, _drop(f"{MITO}/", "crop557/er/", "crop557/.zgroup")),
    "crop is a file": _all(_drop("crop557/"), _put("crop557")),
    "crop is an empty folder": _all(_drop("crop557/"), _put("crop557/", b"")),
    "crop without .zgroup": _drop("crop557/.zgroup"),
    "crop with a damaged .zgroup": _put("crop557/.zgroup", b"{"),
    "crop with a list as .zgroup": _put("crop557/.zgroup", b"[]"),
    "crop with .zgroup of format 3": _put("crop557/.zgroup", b'{"zarr_format": 3}'),
    "crop with an empty .zgroup": _put("crop557/.zgroup", b"{}"),
    "crop with zarr.json": _all(_drop("crop557/.zgroup"), _put("crop557/zarr.json", b'{"node_type": "group"}')),
    "crop with damaged .zattrs": _put("crop557/.zattrs", b"{"),
    "crop with a file": _put("crop557/notes.txt"),
    "crop with .DS_Store": _put("crop557/.DS_Store"),
    "bare numbers": _all(_rename("crop557", "557"), _rename("crop558", "558")),
    "bare numbers and a folder": _all(_rename("crop557", "557"), _rename("crop558", "558"), _put("notes/a.txt")),
    "bare numbers, one of them": _all(_rename("crop557", "557"), _drop("crop558/")),
    "one bare number": _rename("crop557", "557"),
    "bare numbers and __MACOSX": _all(_rename("crop557", "557"), _rename("crop558", "558"), _put("__MACOSX/._557")),
    "bare number and crop as a file": _all(_rename("crop557", "557"), _drop("crop558/"), _put("crop557")),
    "Crop557": _rename("crop557", "Crop557"),
    "crop0557": _rename("crop557", "crop0557"),
    "crop_557": _rename("crop557", "crop_557"),
    "crop557.zarr": _rename("crop557", "crop557.zarr"),
    "root without .zgroup": _edit(lambda files: files.pop(".zgroup")),
    "root with a damaged .zgroup": _put(".zgroup", b"{"),
    "root with an empty .zgroup": _put(".zgroup", b""),
    "root with .zgroup of format 3": _put(".zgroup", b'{"zarr_format": 3}'),
    "root with zarr.json": _all(_edit(lambda files: files.pop(".zgroup")), _put("zarr.json", b"{}")),
    "root is an array": _edit(lambda files: files.update(Stored(values=np.ones((2, 2, 2), "u1")).files())),
    "root is a damaged array": _put(".zarray", b"{"),
    "root with .zmetadata": _put(".zmetadata", b'{"metadata": {}}'),
    "root with a file": _put("README.txt"),
    "truth mask": _mask("mito", lambda d: (np.indices((10, 12, 14))[2] < 9).astype(np.uint8)),
    "truth mask of a mask class": _mask("er", lambda d: (np.indices((10, 12, 14))[0] < 6).astype(np.uint8)),
    "truth mask 255": _mask("mito", lambda d: ((np.indices((10, 12, 14))[2] < 9) * 255).astype(np.uint8)),
    "truth mask, big-endian ids": _all(
        _mask("mito", lambda d: np.ones((10, 12, 14), np.uint8)),
        lambda d: d.arrays.update(
            {
                ("crop557", "mito"): replace(
                    d.arrays["crop557", "mito"], values=d.arrays["crop557", "mito"].values.astype(">u2")
                )
            }
        ),
    ),
    "truth empty": _truth(lambda a: a * 0),
    "truth full": _truth(lambda a: a * 0 + 1),
    "truth with gaps": _truth(lambda a: (a * 7).astype(np.uint16)),
    "truth big-endian": _truth(lambda a: a.astype(">u4")),
    "truth of int64": _truth(lambda a: a.astype("<i8")),
    "truth of bool": _truth(lambda a: a > 0, "er"),
    "zip": _zip(),
    "zip, stored": _zip(method=zipfile.ZIP_STORED),
    "zip, bzip2": _zip(method=zipfile.ZIP_BZIP2),
    "zip, lzma": _zip(method=zipfile.ZIP_LZMA),
    "zip, one folder down": _zip(above="submission.zarr/"),
    "zip, three folders down": _zip(above="my work/results/submission.zarr/"),
    "zip, in a plain folder": _zip(above="submission/"),
    "zip, in a crop's name": _zip(above="crop557/sub.zarr/"),
    "zip, named ./": _zip(above="./"),
    "zip, double slashes": _zip(above="submission.zarr//"),
    "zip of another ending": _zip(name="submission.dat"),
    "zip without ending": _zip(name="submission"),
    "zip named .zarr": _zip(name="submission.zarr"),
    "zip in capitals": _zip(name="submission.ZIP"),
    "zip with a blank and an umlaut": _zip(name="Abgabe für Ärzte.zip"),
    "zip with folders": _all(_edit(lambda f: f.update({"crop557/": b"", f"{MITO}/": b""})), _zip()),
    "zip with an empty crop folder": _all(_drop("crop557/"), _put("crop557/", b""), _zip()),
    "zip with .DS_Store": _zip(more=((".DS_Store", b"x"), ("crop557/.DS_Store", b"x"))),
    "zip with __MACOSX": _zip(more=(("__MACOSX/._crop557", b"x"), ("__MACOSX/crop557/._mito", b"x"))),
    "zip with a zarr in __MACOSX": _zip(above="submission.zarr/", more=(("__MACOSX/submission.zarr/._crop557", b"x"),)),
    "zip with ._x.zarr": _zip(above="submission.zarr/", more=(("__MACOSX/._submission.zarr", b"x"),)),
    "zip at the root, ._x.zarr": _zip(more=(("__MACOSX/._submission.zarr", b"x"),)),
    "zip with two zarrs": _zip(above="a.zarr/", more=(("b.zarr/.zgroup", GROUP),)),
    "zip with a zarr beside crops": _zip(more=(("old.zarr/.zgroup", GROUP),)),
    "zip with a zarr in a crop": _zip(more=(("crop557/old.zarr/.zgroup", GROUP),)),
    "zip with zarr in zarr": _zip(above="a.zarr/b.zarr/"),
    "zip with a file named .zarr": _zip(more=(("notes.zarr", b"x"),)),
    "zip one down with a file named .zarr": _zip(above="a.zarr/", more=(("notes.zarr", b"x"),)),
    "zip one down with rest": _zip(above="a.zarr/", more=(("README.md", b"x"),)),
    "zip one down, crop above too": _zip(above="a.zarr/", more=((f"{MITO}/.zarray", b"{"),)),
    "zip with a zip": _zip(more=(("old.zip", _empty_zip()),)),
    "zip in a zip": _wrap(_nested),
    "zip with a name twice, the same": _twice(f"{MITO}/.zarray"),
    "zip with a name twice, broken last": _twice(f"{MITO}/.zarray", b"{"),
    "zip with a chunk twice": _twice("crop557/er/.zattrs", b"{}"),
    "zip with a link": _zip(more=((_info("crop557/link", stat.S_IFLNK | 0o777), b"/etc/passwd"),)),
    "zip with a pipe": _zip(more=((_info("crop557/pipe", stat.S_IFIFO | 0o644), b""),)),
    "zip that leads out": _zip(more=(("../evil", b"x"),)),
    "zip that leads out and back": _zip(more=(("crop557/../../submission.zarr/note", b"x"),)),
    "zip with .. within": _zip(more=(("crop557/../note", b"x"),)),
    "zip with an absolute name": _zip(more=(("/etc/evil", b"x"),)),
    "zip with a drive": _zip(more=(("C:/evil", b"x"),)),
    "zip with a backslash": _zip(more=(("crop557\\evil", b"x"),)),
    "zip with all backslashes": _wrap(
        lambda files, folder: as_zip({name.replace("/", "\\"): files[name] for name in files}, folder)
    ),
    "zip with a colon": _zip(more=(("a:b/c", b"x"),)),
    "zip with names in unicode": _zip(more=(("crop557/Zellkerne für alle ✓/.zgroup", GROUP),)),
    "zip with a name of a dot": _zip(more=((".", b""),)),
    "zip with a long name": _zip(more=(("a" * 300, b"x"),)),
    "zip with file and folder of a name": _zip(more=(("crop557", b"x"),)),
    "zip with a comment": _bytes(lambda data: data[:-2] + struct.pack("<H", 5) + b"hello"),
    "zip after other bytes": _bytes(lambda data: b"#!/bin/sh\n" * 10 + data),
    "zip before other bytes": _bytes(lambda data: data + b"rest" * 20),
    "zip cut off": _bytes(lambda data: data[: len(data) // 2]),
    "zip cut at its end": _bytes(lambda data: data[:-10]),
    "zip without its first bytes": _bytes(lambda data: data[20:]),
    "zip encrypted": _bytes(_flag_encrypted, method=zipfile.ZIP_STORED),
    "zip with a wrong checksum": _bytes(
        lambda data: data.replace(b'"zarr_format": 2}', b'"zarr_format" :2}', 1), method=zipfile.ZIP_STORED
    ),
    "zip with a chunk of a wrong checksum": _all(
        lambda d: [d.arrays.update({at: replace(a, compressor=None)}) for at, a in d.arrays.items()] and None,
        _bytes(lambda data: data.replace(bytes([1, 1, 1]), bytes([1, 2, 1]), 1), method=zipfile.ZIP_STORED),
    ),
    "zip with metadata after a wrong checksum": _bytes(
        lambda data: data.replace(b'"order": "C"', b'"order":  "C"'[:12], 1), method=zipfile.ZIP_STORED
    ),
    "an empty zip": _alone("submission.zip", _empty_zip()),
    "an empty file": _alone("submission.zip", b""),
    "a text": _alone("submission.zip", b"no zip at all"),
    "a gzip": _alone("submission.zip", b"\x1f\x8b\x08" + bytes(60)),
    "an empty folder": _wrap(lambda files, folder: write_files({}, folder / "submission.zarr")),
    "a folder of no crops": _wrap(lambda files, folder: write_files({"a/b": b""}, folder / "submission.zarr")),
    "folder of a zip": _zip_in_folder("submission.zip"),
    "folder of a zip and notes": _zip_in_folder("submission.zip", beside={"notes.txt": b"x", "more/a.txt": b"x"}),
    "folder of a zip of another ending": _zip_in_folder("submission.dat"),
    "folder of two zips": _zip_in_folder("a.zip", "b.zip"),
    "folder of a zip and a text named zip": _zip_in_folder("a.zip", beside={"b.zip": b"x"}),
    "zarr folder with a zip in it": _put("old.zip", _empty_zip()),
    "folder, one folder down": _in_folder("submission.zarr/"),
    "folder, three folders down": _in_folder("a/b/submission.zarr/"),
    "folder in a plain folder": _in_folder("submission/"),
    "folder with two zarrs": _in_folder("a.zarr/", {"b.zarr/.zgroup": GROUP}),
    "folder with a zarr in a crop": _put("crop557/old.zarr/.zgroup", GROUP),
    "folder with __MACOSX": _put("__MACOSX/._crop557"),
    "folder without any group": _edit(lambda f: [f.pop(n) for n in [n for n in f if n.endswith(".zgroup")]] and None),
    "folder with a linked crop": _link("crop557", "{folder}/elsewhere/crop557"),
    "folder with a linked label": _link(MITO, "{folder}/elsewhere/" + MITO),
    "folder with a linked chunk": _link(f"{MITO}/0.0.0", "{folder}/elsewhere/" + f"{MITO}/0.0.0"),
    "folder with a dead link": _link("crop557/dead", "/nowhere/at/all"),
    "folder with a dead label": _link(MITO, "/nowhere/at/all"),
    "folder with a dead chunk": _link(f"{MITO}/0.0.0", "/nowhere/at/all"),
    "folder with a link to itself": _link("crop557/self", "."),
    "a chunk is a folder": _all(_drop(f"{MITO}/0.0.0"), _put(f"{MITO}/0.0.0/x")),
    ".zarray is a folder": _all(_drop(f"{MITO}/.zarray"), _put(f"{MITO}/.zarray/x")),
    ".zattrs is a folder": _all(_drop(f"{MITO}/.zattrs"), _put(f"{MITO}/.zattrs/x")),
    "surplus files in a label": _all(
        _put(f"{MITO}/9.9.9"), _put(f"{MITO}/notes.txt"), _put(f"{MITO}/s0/.zarray", b"{")
    ),
}
"""By name; each is tried alone, and together with an odd array."""
