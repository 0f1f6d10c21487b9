from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.errors import ExistingOutputError, MissingDataError, UnreadableDataError
from csc_data.formats.reading import open_array
from csc_data.formats.writing import (
    create_array,
    ensure_groups,
    is_remote,
    join,
    open_array_for_writing,
    read_attributes,
    read_json,
    write_json,
)


@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    chunks=st.tuples(*[st.integers(1, 20)] * 3),
    dtype=st.sampled_from(["u1", "i2", "u4", "u8", "f4", "f2", "?"]),
)
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, shape, chunks, dtype):
    path = tmp_path_factory.mktemp("a") / "x.zarr" / "a"
    data = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 200, shape).astype(dtype)
    create_array(path, shape=shape, dtype=dtype, chunks=chunks, attributes={"a": [1, 2]})[...] = data
    array = open_array(path)
    assert array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(array[...], data)
    assert dict(array.attrs) == read_attributes(path) == {"a": [1, 2]}


def test_files_are_zarr_format_2_with_nested_keys_and_groups_up_to_the_store(tmp_path):
    create_array(tmp_path / "x.zarr" / "crop1" / "er", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))[...] = 1
    metadata = json.loads((tmp_path / "x.zarr/crop1/er/.zarray").read_text())
    assert metadata["zarr_format"] == 2
    assert metadata["dimension_separator"] == "/"
    assert metadata["fill_value"] == 0
    assert metadata["compressor"]["id"] == "blosc"
    assert (tmp_path / "x.zarr/crop1/er/1/1/1").is_file()
    for group in ("x.zarr", "x.zarr/crop1"):
        assert json.loads((tmp_path / group / ".zgroup").read_text()) == {"zarr_format": 2}
    assert not (tmp_path / ".zgroup").exists()


def test_missing_chunks_are_zeros(tmp_path):
    create_array(tmp_path / "a", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))
    assert not open_array(tmp_path / "a")[...].any()


def test_equal_data_gives_equal_bytes_whatever_the_codec_threads_do(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (128, 128, 128)).astype("u4")
    written = set()
    for number in range(12):
        array = create_array(tmp_path / f"{number}.zarr", shape=data.shape, dtype="u4", chunks=data.shape)
        array[...] = data
        written.add((tmp_path / f"{number}.zarr" / "0" / "0" / "0").read_bytes())
    assert len(written) == 1


def test_labels_are_packed_smaller(tmp_path):
    z, y, x = np.indices((64, 64, 64))
    ids = ((np.sin(z / 5) + np.sin(y / 6) + np.sin(x / 7) > 0.3) * (z // 16 + 1)).astype("u2")
    sizes = {}
    for labels in (False, True):
        array = create_array(
            tmp_path / f"{labels}", shape=ids.shape, dtype=ids.dtype, chunks=ids.shape, level=3, labels=labels
        )
        array[...] = ids
        np.testing.assert_array_equal(open_array(tmp_path / f"{labels}")[...], ids)
        sizes[labels] = (tmp_path / f"{labels}" / "0" / "0" / "0").stat().st_size
    assert sizes[True] < 0.8 * sizes[False]


def test_arrays_that_are_there_are_replaced_only_on_request(tmp_path):
    create_array(tmp_path / "a", shape=(2, 2, 2), dtype="u1", chunks=(2, 2, 2))[...] = 5
    with pytest.raises(ExistingOutputError, match="overwrite it explicitly"):
        create_array(tmp_path / "a", shape=(3, 3, 3), dtype="u1", chunks=(2, 2, 2))
    assert open_array(tmp_path / "a")[...].all()
    create_array(tmp_path / "a", shape=(3, 3, 3), dtype="u2", chunks=(2, 2, 2), overwrite=True)
    assert open_array(tmp_path / "a").shape == (3, 3, 3)
    assert not open_array(tmp_path / "a")[...].any()


def test_a_group_is_not_replaced_by_an_array_without_a_word(tmp_path):
    create_array(tmp_path / "g" / "s0", shape=(2, 2, 2), dtype="u1", chunks=(2, 2, 2))
    ensure_groups(tmp_path / "g")
    with pytest.raises(ExistingOutputError):
        create_array(tmp_path / "g", shape=(3, 3, 3), dtype="u1", chunks=(2, 2, 2))


def test_writing_needs_an_array(tmp_path):
    with pytest.raises(MissingDataError, match="no zarr format 2 array"):
        open_array_for_writing(tmp_path)
    create_array(tmp_path / "a", shape=(2, 2, 2), dtype="u1", chunks=(2, 2, 2))
    open_array_for_writing(tmp_path / "a")[0, 0, 0] = 9
    assert open_array(tmp_path / "a")[0, 0, 0] == 9


def test_reading_never_writes(tmp_path):
    create_array(tmp_path / "x.zarr" / "a", shape=(2, 2, 2), dtype="u1", chunks=(2, 2, 2))[...] = 1
    (tmp_path / "x.zarr" / ".zgroup").unlink()
    before = sorted(tmp_path.rglob("*"))
    open_array(tmp_path / "x.zarr" / "a")[...]
    read_attributes(tmp_path / "x.zarr")
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(TypeError):
        open_array(tmp_path / "x.zarr" / "a")[0, 0, 0] = 3
    assert open_array(tmp_path / "x.zarr" / "a")[0, 0, 0] == 1


def test_nothing_there_and_nothing_zarr_there_are_different_words(tmp_path):
    with pytest.raises(MissingDataError, match="does not exist"):
        open_array(tmp_path / "nothing")
    with pytest.raises(MissingDataError, match="no array or group of zarr"):
        open_array(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"zarr_format": 2}', '{"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "nonsense"}']
)
def test_damaged_metadata_is_an_error_with_the_path(tmp_path, text):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".zarray").write_text(text)
    with pytest.raises(UnreadableDataError, match=r"a(/|: its )\.zarray"):
        open_array(tmp_path / "a")


def test_a_group_is_not_an_array(tmp_path):
    ensure_groups(tmp_path / "g.zarr")
    with pytest.raises(UnreadableDataError, match="group where an array was expected"):
        open_array(tmp_path / "g.zarr")


def test_group_attributes_are_added_to_those_that_are_there(tmp_path):
    ensure_groups(tmp_path / "x.zarr" / "g", {"a": 1, "b": 1})
    ensure_groups(tmp_path / "x.zarr" / "g", {"b": 2})
    ensure_groups(tmp_path / "x.zarr" / "g")
    assert read_attributes(tmp_path / "x.zarr" / "g") == {"a": 1, "b": 2}
    assert read_attributes(tmp_path / "x.zarr") == {}
    assert read_attributes(tmp_path / "nowhere") == {}


def test_json_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"a": 1})
    assert read_json(tmp_path / "deep" / "a.json") == {"a": 1}
    with pytest.raises(TypeError):
        write_json(tmp_path / "deep" / "a.json", {"a": object()})
    assert read_json(tmp_path / "deep" / "a.json") == {"a": 1}
    assert read_json(tmp_path / "absent.json") == {}


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe"])
def test_no_json_object_is_an_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UnreadableDataError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_local_paths_and_urls_are_joined_in_their_own_way():
    assert join("s3://bucket/x.zarr/", "a", "/b/") == "s3://bucket/x.zarr/a/b"
    assert join("s3://bucket/x.zarr", "") == "s3://bucket/x.zarr"
    assert join("x.zarr", "a", "b") == str(Path("x.zarr", "a", "b"))
    assert join(Path("x.zarr"), "") == "x.zarr"
    assert is_remote("s3://bucket/a")
    assert not is_remote(Path("/a/b"))


def test_memory_urls_are_read_through_fsspec():
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/m.zarr/.zgroup", b'{"zarr_format": 2}')
    files.pipe("/m.zarr/.zattrs", b'{"a": 1}')
    assert read_attributes("memory://m.zarr") == {"a": 1}
