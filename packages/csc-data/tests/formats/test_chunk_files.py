from __future__ import annotations

import json
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.errors import UnreadableDataError
from csc_data.formats.reading import open_array
from csc_data.formats.writing import ZARR_3, create_array


def chunked(path):
    """Return the array at a path as volumes read it."""
    return open_array(path)


def write(path, data, **options):
    """Write an array of format 2 with zarr itself."""
    if ZARR_3:
        encoding = {"name": "v2", "separator": options.pop("dimension_separator", ".")}
        compressor = options.pop("compressor", None)
        array = zarr.create_array(
            str(path),
            shape=data.shape,
            dtype=data.dtype,
            zarr_format=2,
            chunk_key_encoding=encoding,
            compressors=compressor,
            **options,
        )
    else:
        array = zarr.open_array(str(path), mode="w", shape=data.shape, dtype=data.dtype, **options)
    array[...] = data
    return array


COMPRESSORS = [
    None,
    numcodecs.Blosc(cname="lz4", clevel=5),
    numcodecs.Blosc(cname="zstd", clevel=3, shuffle=numcodecs.Blosc.BITSHUFFLE),
    numcodecs.Zstd(),
    numcodecs.GZip(1),
    numcodecs.Zlib(1),
    numcodecs.BZ2(1),
    numcodecs.LZ4(),
    numcodecs.LZMA(),
]


@given(
    shape=st.tuples(*[st.integers(1, 13)] * 3),
    chunks=st.tuples(*[st.integers(1, 8)] * 3),
    dtype=st.sampled_from(["|u1", "<u2", ">u2", "<i8", "<f4", ">f8", "<f2", "|b1"]),
    compressor=st.sampled_from(COMPRESSORS),
    order=st.sampled_from("CF"),
    separator=st.sampled_from("./"),
    begin=st.tuples(*[st.integers(-13, 13)] * 3),
    size=st.tuples(*[st.integers(0, 13)] * 3),
    step=st.tuples(*[st.integers(1, 3)] * 3),
)
@settings(max_examples=150, deadline=None)
def test_slices_are_those_that_zarr_and_numpy_read(
    tmp_path_factory, shape, chunks, dtype, compressor, order, separator, begin, size, step
):
    path = tmp_path_factory.mktemp("a") / "a"
    kind = np.dtype(dtype)
    data = np.random.default_rng(0).integers(0, 2 if kind.kind == "b" else 200, shape).astype(kind)
    write(path, data, chunks=chunks, compressor=compressor, order=order, dimension_separator=separator, fill_value=0)
    array = chunked(path)
    assert (array.shape, array.chunks, array.dtype) == (shape, chunks, kind.newbyteorder("="))
    box = tuple(slice(b, b + n or None, s) for b, n, s in zip(begin, size, step, strict=True))
    np.testing.assert_array_equal(array[box], data[box])
    np.testing.assert_array_equal(array[...], zarr.open_array(str(path), mode="r")[...])
    np.testing.assert_array_equal(array[box[0]], data[box[0]])
    np.testing.assert_array_equal(array[..., -1], data[..., -1])


def test_filters_are_undone(tmp_path):
    data = np.arange(60, dtype="<i4").reshape(3, 4, 5)
    filters = [numcodecs.Delta(dtype="<i4")]
    write(tmp_path / "a", data, chunks=(2, 2, 2), filters=filters, compressor=numcodecs.Zlib(1))
    np.testing.assert_array_equal(chunked(tmp_path / "a")[...], data)


@pytest.mark.parametrize(
    ("dtype", "fill", "value"),
    [
        ("u1", 7, 7),
        ("u1", None, 0),
        ("<f4", "NaN", np.nan),
        ("<f4", "-Infinity", -np.inf),
        ("<f4", 0.5, 0.5),
        ("|b1", True, True),
    ],
)
def test_chunks_that_are_not_stored_have_the_fill_value(tmp_path, dtype, fill, value):
    create_array(tmp_path / "a", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))
    metadata = json.loads((tmp_path / "a" / ".zarray").read_text())
    metadata.update(dtype=np.dtype(dtype).str, fill_value=fill)
    (tmp_path / "a" / ".zarray").write_text(json.dumps(metadata))
    np.testing.assert_array_equal(chunked(tmp_path / "a")[1:3, 0, :], np.full((2, 4), value, dtype))


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "|O"},
        {"dtype": "<M8[ns]"},
        {"dtype": "nonsense"},
        {"dtype": [["a", "<i4"]]},
        {"zarr_format": 1},
        {"order": "K"},
        {"chunks": [0, 2, 2]},
        {"chunks": [2, 2]},
        {"shape": [4, 4.5, 4]},
        {"shape": None},
        {"dimension_separator": "-"},
        {"compressor": {"id": "pickle"}},
        {"compressor": "blosc"},
        {"filters": [{"id": "json2"}]},
        {"fill_value": "much"},
    ],
)
def test_metadata_that_is_damaged_or_of_something_else_is_refused(tmp_path, change):
    create_array(tmp_path / "a", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))
    metadata = json.loads((tmp_path / "a" / ".zarray").read_text())
    (tmp_path / "a" / ".zarray").write_text(json.dumps({**metadata, **change}))
    with pytest.raises(UnreadableDataError, match=r"a: its \.zarray is damaged or not supported"):
        chunked(tmp_path / "a")
    metadata.pop(next(iter(change)))
    if "dimension_separator" not in change and "filters" not in change:
        (tmp_path / "a" / ".zarray").write_text(json.dumps(metadata))
        with pytest.raises(UnreadableDataError, match=f"there is no '{next(iter(change))}'"):
            chunked(tmp_path / "a")


@pytest.mark.parametrize("codec", [codec for codec in COMPRESSORS if codec is not None], ids=str)
@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"nonsense, and much of it " * 9])
def test_a_damaged_chunk_is_an_error_with_its_path(tmp_path, codec, content):
    write(tmp_path / "a", np.ones((4, 4, 4), "u2"), chunks=(2, 2, 2), compressor=codec)
    (tmp_path / "a" / "1.0.1").write_bytes(content)
    array = chunked(tmp_path / "a")
    with pytest.raises(UnreadableDataError, match=r"the chunk .*a.1\.0\.1 is damaged"):
        array[...]
    assert array[:2].all()


def test_a_chunk_that_decodes_to_the_wrong_size_is_damaged(tmp_path):
    write(tmp_path / "a", np.ones((4, 4, 4), "u2"), chunks=(2, 2, 2), compressor=numcodecs.Zlib(1))
    (tmp_path / "a" / "0.0.0").write_bytes(numcodecs.Zlib(1).encode(b"\1" * 14))
    with pytest.raises(UnreadableDataError, match=r"0\.0\.0 is damaged"):
        chunked(tmp_path / "a")[...]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read what is forbidden")
def test_a_chunk_that_may_not_be_read_is_an_error(tmp_path):
    write(tmp_path / "a", np.ones((2, 2, 2), "u2"), chunks=(2, 2, 2))
    (tmp_path / "a" / "0.0.0").chmod(0)
    with pytest.raises(UnreadableDataError, match=r"0\.0\.0 cannot be read"):
        chunked(tmp_path / "a")[...]


def test_a_folder_where_a_chunk_should_be_is_an_error(tmp_path):
    write(tmp_path / "a", np.ones((2, 2, 2), "u2"), chunks=(2, 2, 2))
    (tmp_path / "a" / "0.0.0").unlink()
    (tmp_path / "a" / "0.0.0").mkdir()
    with pytest.raises(UnreadableDataError, match=r"0\.0\.0 cannot be read"):
        chunked(tmp_path / "a")[...]


def test_what_is_written_after_a_read_is_seen_by_the_next(tmp_path):
    stored = create_array(tmp_path / "a", shape=(8, 8, 8), dtype="u1", chunks=(4, 4, 4))
    array = chunked(tmp_path / "a")
    for value in (1, 2, 0, 3):
        stored[:4] = value
        assert (array[:4] == value).all()
        assert not array[4:].any()


def test_reads_do_not_share_memory(tmp_path):
    create_array(tmp_path / "a", shape=(4, 4, 4), dtype="u1", chunks=(4, 4, 4))[...] = 5
    array = chunked(tmp_path / "a")
    array[...][...] = 0
    assert array[...].all()


@pytest.mark.parametrize(
    "selection", [(0, 0, 0, 0), (..., ...), slice(None, None, -1), [1, 2], "a", 4, -5, None, True, (0, 1.5)]
)
def test_other_selections_are_index_errors(tmp_path, selection):
    create_array(tmp_path / "a", shape=(4, 4, 4), dtype="u1", chunks=(4, 4, 4))
    with pytest.raises(IndexError):
        chunked(tmp_path / "a")[selection]


def test_an_array_is_what_numpy_takes_it_for(tmp_path):
    create_array(tmp_path / "a", shape=(2, 3, 4), dtype="u1", chunks=(2, 2, 2), attributes={"a": 1})[...] = 5
    array = chunked(tmp_path / "a")
    np.testing.assert_array_equal(np.asarray(array), np.full((2, 3, 4), 5, "u1"))
    assert np.asarray(array, dtype="f4").dtype == np.float32
    assert (array.ndim, len(array), len(list(array))) == (3, 2, 2)
    assert array.attrs == {"a": 1}
    assert "(2, 3, 4)" in repr(array)
    with pytest.raises(ValueError, match="copy"):
        array.__array__(copy=False)  # what numpy 2 asks for with np.array(array, copy=False)


def test_an_array_can_be_sent_to_another_process(tmp_path):
    create_array(tmp_path / "a", shape=(2, 3, 4), dtype="u1", chunks=(2, 2, 2), attributes={"a": 1})[...] = 5
    copy = pickle.loads(pickle.dumps(chunked(tmp_path / "a")))
    assert (copy[...] == 5).all()
    assert copy.attrs == {"a": 1}


def test_relative_paths_are_told_apart(tmp_path, monkeypatch):
    for number in (1, 2):
        create_array(tmp_path / str(number) / "a", shape=(2, 2, 2), dtype="u1", chunks=(2, 2, 2))[...] = number
        monkeypatch.chdir(tmp_path / str(number))
        assert (chunked("a")[...] == number).all()


def test_reads_larger_than_the_cache_leave_it_as_it_was(tmp_path, fresh_cache):
    data = np.random.default_rng(0).integers(0, 255, (32, 32, 32)).astype("u1")
    write(tmp_path / "a", data, chunks=(8, 8, 8))
    fresh_cache.resize(data.nbytes)
    array = chunked(tmp_path / "a")
    array[:8, :8, :8]
    before = fresh_cache.held_bytes
    assert before > 0
    np.testing.assert_array_equal(array[...], data)
    assert fresh_cache.held_bytes == before


def test_many_threads_read_the_same_and_the_right_values(tmp_path, fresh_cache):
    data = np.random.default_rng(0).integers(0, 255, (40, 40, 40)).astype("u1")
    write(tmp_path / "a", data, chunks=(8, 8, 8))
    fresh_cache.resize(40_000)
    array, started = chunked(tmp_path / "a"), threading.Barrier(6, timeout=60)

    def read(seed):
        rng = np.random.default_rng(seed)
        started.wait()
        for _ in range(60):
            begin = rng.integers(0, 30, 3)
            box = tuple(slice(b, b + 10) for b in begin.tolist())
            np.testing.assert_array_equal(array[box], data[box])
            assert fresh_cache.held_bytes <= 40_000

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(read, seed) for seed in range(6)]:
            future.result(120)
