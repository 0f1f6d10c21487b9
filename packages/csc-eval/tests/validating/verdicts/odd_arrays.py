"""What can be odd about one array: its type, its codecs, its metadata, its place, its values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .drafts import GONE

Odd = Callable[[Any, tuple[str, str]], None]
"""What spoils one array of a draft."""


def _values(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Odd:
    def spoil(draft: Any, at: tuple[str, str]) -> None:
        stored = draft.arrays[at]
        values = change(stored.values, draft.rng)
        chunks = stored.chunks if len(stored.chunks) == values.ndim else tuple(min(8, n) or 1 for n in values.shape)
        draft.arrays[at] = replace(stored, values=values, chunks=chunks)

    return spoil


def _stored(**changes: Any) -> Odd:
    def spoil(draft: Any, at: tuple[str, str]) -> None:
        draft.arrays[at] = replace(draft.arrays[at], **changes)

    return spoil


def _typed(dtype: str, **changes: Any) -> Odd:
    def spoil(draft: Any, at: tuple[str, str]) -> None:
        draft.arrays[at] = replace(draft.arrays[at], values=draft.arrays[at].values.astype(dtype), **changes)

    return spoil


def _metadata(**changes: Any) -> Odd:
    def spoil(draft: Any, at: tuple[str, str]) -> None:
        draft.arrays[at].metadata |= changes

    return spoil


def _attributes(**changes: Any) -> Odd:
    from_none = changes.pop("alone", False)

    def spoil(draft: Any, at: tuple[str, str]) -> None:
        stored = draft.arrays[at]
        stored.attributes = dict(changes) if from_none else {**stored.attributes, **changes}

    return spoil


def _file(name: str, content: bytes | None) -> Odd:
    """Write a file of the array, or remove it."""

    def spoil(draft: Any, at: tuple[str, str]) -> None:
        def edit(files: dict[str, bytes]) -> None:
            key = "/".join((*at, name))
            if content is None:
                files.pop(key, None)
            else:
                files[key] = content

        draft.edits.append(edit)

    return spoil


def _first_chunk(change: Callable[[bytes], bytes]) -> Odd:
    def spoil(draft: Any, at: tuple[str, str]) -> None:
        def edit(files: dict[str, bytes]) -> None:
            above = "/".join(at) + "/"
            chunks = sorted(n for n in files if n.startswith(above) and not n.removeprefix(above).startswith("."))
            if chunks:
                files[chunks[0]] = change(files[chunks[0]])

        draft.edits.append(edit)

    return spoil


def _repeat(factor: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    return lambda a, _: a.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)


def _both(*steps: Odd) -> Odd:
    def spoil(draft: Any, at: tuple[str, str]) -> None:
        for step in steps:
            step(draft, at)

    return spoil


def _speckle(a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = np.zeros_like(a)
    out[::2, ::2, ::2] = 1
    return out


def _with(value: float, dtype: str, share: float = 0.01) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    def change(a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        out = a.astype(dtype)
        out[rng.random(a.shape) < share] = value
        return out

    return change


def _grey(a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return ((a > 0) * 0.7 + rng.random(a.shape) * 0.25).astype("<f4")


def _ids(add: int, dtype: str) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    return lambda a, _: np.where(a > 0, a.astype(dtype) + np.array(add).astype(dtype), 0).astype(dtype)


TYPES = ["|b1", "|i1", "<u2", ">u2", "<u4", ">u4", "<u8", ">u8", "<i2", ">i2", "<i4", "<i8", ">i8", "<f2", ">f2"]
TYPES += ["<f4", ">f4", "<f8", ">f8"]
BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}

ODD_ARRAYS: dict[str, Odd] = {
    **{f"type {name}": _typed(name) for name in TYPES},
    "type complex": _typed("<c8"),
    "type text": _typed("<U2"),
    "type bytes": _typed("|S3"),
    "type date": _values(lambda a, _: a.astype("<i8").astype("<M8[s]")),
    "type object": _metadata(dtype="|O", filters=[{"id": "pickle"}]),
    "type structured": _metadata(dtype=[["a", "|u1"]]),
    "type nonsense": _metadata(dtype="elephant"),
    "type native": _metadata(dtype="u1"),
    "type long": _metadata(dtype="uint8"),
    "type of bool in bytes": _metadata(dtype="|b1"),
    "Fortran order": _stored(order="F"),
    "Fortran order, whole": _stored(order="F", chunks=(10, 12, 14)),
    "Fortran order resampled": _both(_stored(order="F"), _values(_repeat(2)), _attributes(voxel_size=[4.0, 4.0, 4.0])),
    "order nonsense": _metadata(order="Z"),
    "planes": _stored(chunks=(1, 12, 14)),
    "odd chunks": _stored(chunks=(3, 5, 7)),
    "large chunks": _stored(chunks=(32, 32, 32)),
    "slashes": _stored(separator="/"),
    "separator said nowhere": _metadata(dimension_separator=GONE),
    "separator of another": _metadata(dimension_separator="/"),
    "separator nonsense": _metadata(dimension_separator="_"),
    "all chunks": _stored(skip_empty=False),
    "fill null": _metadata(fill_value=None),
    "fill 1": _metadata(fill_value=1),
    "fill 3": _metadata(fill_value=3),
    "fill -1": _metadata(fill_value=-1),
    "fill 300": _metadata(fill_value=300),
    "fill 1.5": _metadata(fill_value=1.5),
    "fill 1.0": _metadata(fill_value=1.0),
    "fill true": _metadata(fill_value=True),
    "fill text": _metadata(fill_value="x"),
    "fill number as text": _metadata(fill_value="1"),
    "fill list": _metadata(fill_value=[1]),
    "fill NaN": _both(_typed("<f4"), _metadata(fill_value="NaN")),
    "fill infinity": _both(_typed("<f4"), _metadata(fill_value="Infinity")),
    "fill 0.3": _both(_typed("<f4"), _metadata(fill_value=0.3)),
    "fill true of bool": _both(_typed("|b1"), _metadata(fill_value=True)),
    "fill 1 of bool": _both(_typed("|b1"), _metadata(fill_value=1)),
    "fill 2 of bool": _both(_typed("|b1"), _metadata(fill_value=2)),
    "no compressor": _stored(compressor=None),
    "blosc": _stored(compressor=BLOSC),
    "blosc zstd": _stored(compressor={**BLOSC, "cname": "zstd", "shuffle": 2}),
    "gzip": _stored(compressor={"id": "gzip", "level": 1}),
    "bz2": _stored(compressor={"id": "bz2", "level": 1}),
    "lzma": _stored(compressor={"id": "lzma", "format": 1, "check": -1, "preset": 1, "filters": None}),
    "lz4": _stored(compressor={"id": "lz4", "acceleration": 1}),
    "zstd": _stored(compressor={"id": "zstd", "level": 1}),
    "compressor is a filter": _stored(compressor={"id": "shuffle", "elementsize": 1}),
    "compressor delta": _stored(compressor={"id": "delta", "dtype": "|u1", "astype": "|u1"}),
    "compressor unknown": _metadata(compressor={"id": "elephant"}),
    "compressor text": _metadata(compressor="zlib"),
    "compressor of another": _metadata(compressor={"id": "zstd", "level": 1}),
    "compressor with a surplus key": _metadata(compressor={"id": "zlib", "level": 1, "speed": 3}),
    "compressor without level": _metadata(compressor={"id": "zlib"}),
    "delta": _typed("<u2", filters=[{"id": "delta", "dtype": "<u2", "astype": "<i2"}]),
    "packbits": _typed("|b1", filters=[{"id": "packbits"}]),
    "fixed scale": _typed(
        "<f8", filters=[{"id": "fixedscaleoffset", "scale": 10, "offset": 0, "dtype": "<f8", "astype": "|u1"}]
    ),
    "quantize": _typed("<f4", filters=[{"id": "quantize", "digits": 1, "dtype": "<f4", "astype": "<f4"}]),
    "bitround": _typed("<f4", filters=[{"id": "bitround", "keepbits": 3}]),
    "astype": _typed("<u4", filters=[{"id": "astype", "encode_dtype": "|u1", "decode_dtype": "<u4"}]),
    "shuffle filter": _typed("<u4", filters=[{"id": "shuffle", "elementsize": 4}]),
    "crc32": _stored(filters=[{"id": "crc32"}]),
    "adler32": _stored(filters=[{"id": "adler32"}]),
    "fletcher32": _typed("<u2", filters=[{"id": "fletcher32"}]),
    "filter base64": _stored(filters=[{"id": "base64"}]),
    "filter zlib": _stored(filters=[{"id": "zlib", "level": 1}]),
    "filter unknown": _metadata(filters=[{"id": "elephant"}]),
    "filter categorize": _metadata(filters=[{"id": "categorize", "labels": ["a"], "dtype": "<U1", "astype": "|u1"}]),
    "filters empty": _metadata(filters=[]),
    "no .zarray": _file(".zarray", None),
    "no .zattrs": _file(".zattrs", None),
    ".zattrs empty": _file(".zattrs", b""),
    ".zattrs list": _file(".zattrs", b"[1]"),
    ".zattrs cut off": _file(".zattrs", b'{"voxel_size"'),
    ".zattrs with NaN": _file(".zattrs", b'{"voxel_size": [NaN, 8, 8], "translation": [16, 24, 32]}'),
    ".zattrs in UTF-16": _file(".zattrs", json.dumps({"voxel_size": [8, 8, 8]}).encode("utf-16")),
    ".zattrs with a mark": _file(".zattrs", b'\xef\xbb\xbf{"voxel_size": [8, 8, 8]}'),
    ".zattrs deep": _file(".zattrs", b'{"a": ' + b"[" * 90 + b"]" * 90 + b"}"),
    ".zarray empty": _file(".zarray", b""),
    ".zarray list": _file(".zarray", b"[]"),
    ".zarray cut off": _file(".zarray", b'{"shape": [10,'),
    ".zarray of noise": _file(".zarray", bytes(range(256))),
    ".zgroup beside .zarray": _file(".zgroup", b'{"zarr_format": 2}'),
    "zarr.json beside .zarray": _file("zarr.json", b'{"zarr_format": 3, "node_type": "array"}'),
    "format 3 said": _metadata(zarr_format=3),
    "format 1 said": _metadata(zarr_format=1),
    "format as text": _metadata(zarr_format="2"),
    "no format": _metadata(zarr_format=GONE),
    "no filters": _metadata(filters=GONE),
    "no order": _metadata(order=GONE),
    "no fill": _metadata(fill_value=GONE),
    "no compressor said": _metadata(compressor=GONE),
    "no chunks": _metadata(chunks=GONE),
    "surplus metadata": _metadata(elephant=[1, 2]),
    "shape 0": _values(lambda a, _: a[:0]),
    "one voxel": _values(lambda a, _: a[:1, :1, :1]),
    "two axes": _values(lambda a, _: a[4]),
    "four axes": _values(lambda a, _: a[None]),
    "one axis": _values(lambda a, _: a.ravel()[:40]),
    "no axes": _both(_metadata(shape=[], chunks=[])),
    "shape negative": _metadata(shape=[-10, 12, 14]),
    "shape of floats": _metadata(shape=[10.0, 12.0, 14.0]),
    "shape of texts": _metadata(shape=["10", "12", "14"]),
    "chunks 0": _metadata(chunks=[0, 8, 8]),
    "chunks of two": _metadata(chunks=[8, 8]),
    "chunks one number": _metadata(chunks=8),
    "chunks true": _metadata(chunks=True),
    "chunk cut off": _first_chunk(lambda data: data[:-3]),
    "chunk empty": _first_chunk(lambda data: b""),
    "chunk of noise": _first_chunk(lambda data: bytes(range(200))),
    "chunk and rest": _first_chunk(lambda data: data + b"rest"),
    "raw chunk too long": _both(_stored(compressor=None), _first_chunk(lambda data: data + bytes(8))),
    "raw chunk too short": _both(_stored(compressor=None), _first_chunk(lambda data: data[:-8])),
    "blosc with a rest": _both(_stored(compressor=BLOSC), _first_chunk(lambda data: data + b"rest")),
    "resolution": _attributes(alone=True, resolution=[8, 8, 8], offset=[16, 24, 32]),
    "scale": _attributes(alone=True, scale=[8, 8, 8], translation=[16, 24, 32]),
    "three names of one": _attributes(voxel_size=[8, 8, 8], resolution=[4, 4, 4], scale=[2, 2, 2]),
    "no place": _attributes(alone=True),
    "no voxel size": _attributes(alone=True, translation=[16, 24, 32]),
    "no translation": _attributes(alone=True, voxel_size=[8, 8, 8]),
    "voxel size null": _attributes(voxel_size=None),
    "voxel size null, scale": _attributes(voxel_size=None, scale=[8, 8, 8]),
    "translation null": _attributes(translation=None),
    "voxel size of four": _attributes(voxel_size=[1, 8, 8, 8]),
    "voxel size of two": _attributes(voxel_size=[8, 8]),
    "voxel size of one": _attributes(voxel_size=[8]),
    "voxel size of one, finer": _both(_values(_repeat(2)), _attributes(voxel_size=[4])),
    "voxel size empty": _attributes(voxel_size=[]),
    "voxel size a number": _attributes(voxel_size=8),
    "voxel size a text": _attributes(voxel_size="8 8 8"),
    "voxel size 888": _attributes(voxel_size="888"),
    "voxel size of texts": _attributes(voxel_size=["8", "8.0", "8"]),
    "voxel size of nonsense": _attributes(voxel_size=["a", "b", "c"]),
    "voxel size nested": _attributes(voxel_size=[[8], [8], [8]]),
    "voxel size a mapping": _attributes(voxel_size={"z": 8, "y": 8, "x": 8}),
    "voxel size true": _attributes(voxel_size=[True, True, True]),
    "voxel size 0": _attributes(voxel_size=[0, 8, 8]),
    "voxel size negative": _attributes(voxel_size=[-8, -8, -8]),
    "voxel size infinite": _attributes(voxel_size=["inf", 8, 8]),
    "voxel size huge": _attributes(voxel_size=[1e9, 8, 8]),
    "voxel size tiny": _attributes(voxel_size=[1e-9, 8, 8]),
    "voxel size almost": _attributes(voxel_size=[8.00001, 8, 8]),
    "voxel size a little off": _attributes(voxel_size=[8.1, 8, 8]),
    "voxel size in metres": _attributes(voxel_size=[8e-9, 8e-9, 8e-9]),
    "translation of four": _attributes(translation=[0, 16, 24, 32]),
    "translation of two": _attributes(translation=[24, 32]),
    "translation of one": _attributes(translation=[16]),
    "translation of one 0": _attributes(translation=[0]),
    "translation empty": _attributes(translation=[]),
    "translation a number": _attributes(translation=16),
    "translation of texts": _attributes(translation=["16", "24", "32"]),
    "translation NaN": _attributes(translation=[float("nan"), 24, 32]),
    "translation infinite": _attributes(translation=[float("inf"), 24, 32]),
    "translation huge": _attributes(translation=[1e30, 24, 32]),
    "translation far": _attributes(translation=[8000, 24, 32]),
    "translation before": _attributes(translation=[-8000, 24, 32]),
    "translation by a voxel": _attributes(translation=[24, 24, 32]),
    "translation between": _attributes(translation=[17, 21, 35.9]),
    "translation 0": _attributes(translation=[0, 0, 0]),
    "finer": _both(_values(_repeat(2)), _attributes(voxel_size=[4, 4, 4])),
    "finer, its centre": _both(_values(_repeat(2)), _attributes(voxel_size=[4, 4, 4], translation=[14, 22, 30])),
    "coarser": _both(_values(lambda a, _: a[::2, ::2, ::2]), _attributes(voxel_size=[16, 16, 16])),
    "flat voxels": _both(_values(lambda a, _: a[::3]), _attributes(voxel_size=[24, 8, 8])),
    "no multiple": _attributes(voxel_size=[5.24, 5.24, 5.24]),
    "finer bool": _both(_values(lambda a, _: _repeat(2)(a > 0, _)), _attributes(voxel_size=[4, 4, 4])),
    "finer probabilities": _both(_values(lambda a, r: _repeat(2)(_grey(a, r), r)), _attributes(voxel_size=[4, 4, 4])),
    "finer half floats": _both(_values(lambda a, _: _repeat(2)(a.astype("<f2"), _)), _attributes(voxel_size=[4, 4, 4])),
    "finer big-endian": _both(_values(lambda a, _: _repeat(2)(a.astype(">u2"), _)), _attributes(voxel_size=[4, 4, 4])),
    "finer large ids": _both(
        _values(lambda a, r: _repeat(2)(_ids(2**60, "<u8")(a, r), r)), _attributes(voxel_size=[4, 4, 4])
    ),
    "finer ids of int64": _both(
        _values(lambda a, r: _repeat(2)(_ids(2**40, "<i8")(a, r), r)), _attributes(voxel_size=[4, 4, 4])
    ),
    "finer with NaN": _both(
        _values(lambda a, r: _repeat(2)(_with(np.nan, "<f4")(a, r), r)), _attributes(voxel_size=[4, 4, 4])
    ),
    "too many voxels": _both(
        _values(lambda a, _: np.ones((192, 192, 192), np.uint8)),
        _stored(chunks=(96, 192, 192)),
        _attributes(voxel_size=[0.5, 0.5, 0.5]),
    ),
    "larger, no place": _both(_values(lambda a, _: np.pad(a, 3)), _attributes(alone=True)),
    "smaller, no place": _both(_values(lambda a, _: a[1:-2, 2:-1, 3:]), _attributes(alone=True)),
    "mixed, no place": _both(_values(lambda a, _: np.pad(a, ((2, 1), (0, 0), (0, 0)))[:, 3:]), _attributes(alone=True)),
    "larger": _values(lambda a, _: np.pad(a, ((0, 3), (0, 1), (0, 5)))),
    "smaller": _values(lambda a, _: a[:-2, :-1, :-3]),
    "shape attribute": _attributes(shape=[1, 2, 3]),
    "empty": _values(lambda a, _: a * 0),
    "full": _values(lambda a, _: a * 0 + 1),
    "inverted": _values(lambda a, _: (a == 0).astype(a.dtype)),
    "negative ids": _values(lambda a, _: -a.astype("<i2")),
    "one negative id": _values(lambda a, _: np.where(a == 1, -1, a).astype("<i4")),
    "ids from 70000": _values(_ids(70_000, "<u4")),
    "ids from 2**31": _values(_ids(2**31, "<u4")),
    "ids from 2**40": _values(_ids(2**40, "<u8")),
    "ids from 2**60": _values(_ids(2**60, "<u8")),
    "fractions": _values(lambda a, _: (a * 0.3).astype("<f4")),
    "probabilities": _values(_grey),
    "grey bytes": _values(lambda a, r: (_grey(a, r) * 255).astype(np.uint8)),
    "NaN": _values(_with(np.nan, "<f4")),
    "all NaN": _values(_with(np.nan, "<f4", 1.1)),
    "infinite": _values(_with(np.inf, "<f4")),
    "minus infinite": _values(_with(-np.inf, "<f8")),
    "minus zero": _values(_with(-0.0, "<f4", 0.5)),
    "denormal": _values(_with(1e-42, "<f4")),
    "speckle": _values(_speckle),
    "checkerboard": _values(lambda a, _: (np.indices(a.shape).sum(0) % 2).astype(np.uint8)),
    "all in one": _values(lambda a, _: np.where(a > 0, 5, 0).astype(np.uint8)),
    "255": _values(lambda a, _: np.where(a > 0, 255, 0).astype(np.uint8)),
}
"""By name; each is tried alone, and with others."""
