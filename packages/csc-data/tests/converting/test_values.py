import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.converting.sources.source import Source, boxes_of
from csc_data.converting.values import (
    CHUNK,
    GreyValues,
    choose_grey_values,
    choose_ids,
    look_at_labels,
    reading_blocks,
)
from csc_data.errors import InvalidArgumentError, UnreadableDataError


def source_of(values) -> Source:
    return Source(name="a.npy", shape=values.shape, dtype=values.dtype, read=boxes_of(values, (0, 1, 2)))


@given(st.tuples(*[st.integers(1, 100_000)] * 3), st.sampled_from(["u1", "f8"]))
def test_blocks_hold_whole_chunks_and_some_64_mb_however_large_the_volume(shape, dtype):
    block = reading_blocks(Source(name="", shape=shape, dtype=np.dtype(dtype), read=lambda box: None)).block_shape
    assert all(n % CHUNK == 0 for n in block)
    assert math.prod(block) * np.dtype(dtype).itemsize <= 64 << 20


def test_uint8_stays_as_it_is():
    values = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    encode, said = choose_grey_values(source_of(values))
    assert encode(values)[0] is values
    assert "stay as they are" in said


@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "f4", "f8"])
def test_percentiles_of_all_voxels_become_0_and_255(dtype):
    values = np.random.default_rng(0).normal(1000, 100, (70, 40, 40)).astype(dtype)
    values[0, 0, 0] = 30_000  # a speck of dust does not make all else dark
    encode, said = choose_grey_values(source_of(values))
    expected = np.percentile(values.astype(float), (0.1, 99.9))
    np.testing.assert_allclose((encode.low, encode.high), expected, atol=1)
    assert f"from {encode.low:g} to {encode.high:g}" in said


def test_the_given_range_counts_and_what_lies_beyond_is_cut_off():
    values = np.array([[[0, 1000, 1500, 2000, 65535]]], np.uint16)
    encode, _ = choose_grey_values(source_of(values), (1000, 2000))
    assert encode == GreyValues(low=1000, high=2000)
    assert encode(values)[0].tolist() == [[[0, 0, 128, 255, 255]]]
    with pytest.raises(InvalidArgumentError, match="is empty"):
        choose_grey_values(source_of(values), (5, 5))


def test_a_range_for_uint8_stretches_it():
    values = np.array([[[0, 100, 200]]], np.uint8)
    encode, _ = choose_grey_values(source_of(values), (100, 200))
    assert encode(values)[0].tolist() == [[[0, 0, 255]]]


@pytest.mark.parametrize("given_range", [None, (0, 1)])
def test_nan_is_refused_with_its_place(given_range):
    values = np.zeros((70, 4, 4), np.float32)
    values[66, 1, 2] = np.nan
    with pytest.raises(UnreadableDataError, match="NaN or infinity, first at voxel 66,1,2"):
        choose_grey_values(source_of(values), given_range)


@pytest.mark.parametrize(
    ("values", "unknown", "kind", "stored"),
    [
        (np.array([0, 254], "u8"), None, "uint8", [0, 254]),
        (np.array([0, 256], "i8"), None, "uint16", [0, 256]),
        (np.array([0, 7.0]), None, "uint8", [0, 7]),
        (np.array([-1, 3]), -1, "uint8", [255, 3]),
        (np.array([300, 255]), 255, "uint16", [300, 65535]),
        (np.array([255, 9]), 9, "uint16", [255, 65535]),
        (np.array([0, 2**40]), None, "uint64", [0, 2**40]),
    ],
)
def test_ids_are_kept_in_the_smallest_type_and_unknown_is_none_of_them(values, unknown, kind, stored):
    source = source_of(values.reshape(1, 1, -1))
    encode = choose_ids(source, look_at_labels(source, unknown), unknown)
    assert (encode.dtype.name, encode(values)[0].tolist()) == (kind, stored)
    assert unknown is None or encode.stored_unknown == max(stored)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([0, -1]), "holds -1; labels are at least 0 .*--unknown -1"),
        (np.array([0, 0.5]), "holds 0.5; labels are whole numbers"),
        (np.array([0, np.inf]), "NaN or infinity"),
    ],
)
def test_what_is_no_label_is_refused(values, words):
    with pytest.raises(UnreadableDataError, match=words):
        look_at_labels(source_of(values.reshape(1, 1, -1)))


def test_ids_that_floats_cannot_tell_apart_are_refused():
    source = source_of(np.full((1, 1, 1), 2**25, np.float32))
    with pytest.raises(UnreadableDataError, match="not exact"):
        choose_ids(source, look_at_labels(source))
