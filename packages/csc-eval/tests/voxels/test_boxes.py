"""However a volume is divided into chunks, its runs and counts are the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.storage.stores.places import FolderStore
from csc_eval.scoring.pairs import count_semantic
from csc_eval.voxels.arrays import MemoryArray, open_stored
from csc_eval.voxels.boxes import iterate_boxes
from csc_eval.voxels.runs import TooFragmentedError, encode_runs

SIZES = st.tuples(*[st.integers(1, 70)] * 3)
SEEDS = st.integers(0, 2**32)
DTYPES = st.sampled_from(["?", "u1", "<u2", ">i4", "u8", "<f2", "<f8"])
MASK_DTYPES = st.sampled_from(["?", "u1", "i1", "<f4"])


def blocks(shape, rng, dtype):
    """Random boxes of few values: runs that cross the borders of chunks, and empty regions."""
    values = np.zeros(shape, dtype)
    for value in rng.integers(1, 5, 12):
        low = rng.integers(0, shape)
        high = np.minimum(low + rng.integers(1, 40, 3), shape)
        values[tuple(map(slice, low, high))] = value
    return values


@settings(max_examples=60, deadline=None)
@given(
    shape=SIZES,
    chunks=SIZES,
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(["?", "u1", "<u2", ">i4", "u8", "<f2", "<f8"]),
)
def test_runs_do_not_depend_on_chunks(shape, chunks, seed, dtype, write_array, tmp_path_factory):
    rng = np.random.default_rng(seed)
    values = blocks(shape, rng, dtype)
    if values.dtype.kind == "f":
        values[rng.random(shape) < 0.02] = np.nan
    folder = tmp_path_factory.mktemp("a")
    write_array(folder / "a", values, chunks=chunks, compressor=rng.choice(["zlib", "blosc"]), skip_empty=seed % 2)
    found, expected = encode_runs(open_stored(FolderStore(folder), "a")[0]), encode_runs(MemoryArray(values))
    for name in ("line_ptr", "start", "stop", "key"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@settings(max_examples=12, deadline=None)
@given(
    shape=SIZES, chunks=SIZES, others=SIZES, seed=st.integers(0, 2**32), dtype=st.sampled_from(["?", "u1", "i1", "<f4"])
)
def test_counts_do_not_depend_on_chunks(shape, chunks, others, seed, dtype, write_array, tmp_path_factory):
    rng = np.random.default_rng(seed)
    truth, prediction = blocks(shape, rng, "u1"), blocks(shape, rng, dtype)
    if dtype in ("i1", "<f4"):
        prediction[rng.random(shape) < 0.1] *= -1
    folder = tmp_path_factory.mktemp("a")
    write_array(folder / "t", truth, chunks=chunks)
    write_array(folder / "p", prediction, chunks=others)
    t, p = truth > 0, prediction > 0
    expected = (int((t & p).sum()), int((p & ~t).sum()), int((t & ~p).sum()))
    assert count_semantic(*(open_stored(FolderStore(folder), name)[0] for name in "tp")) == expected


@pytest.mark.parametrize("chunks", [(16, 16, 16), (1, 700, 700), (100, 100, 100), (900, 900, 900), (3, 200, 7)])
def test_boxes_cover_a_volume_and_divide_no_chunk(chunks):
    source = MemoryArray(np.broadcast_to(np.uint8(0), (150, 700, 300)))
    source.chunks = chunks
    seen = np.zeros(source.shape, np.uint8)
    for begin, end in iterate_boxes(source):
        seen[tuple(map(slice, begin, end))] += 1
        assert all(b % c == 0 for b, c in zip(begin, chunks, strict=True))
        assert np.prod(np.subtract(end, begin)) <= max(128**3, np.prod(np.minimum(chunks, source.shape)))
    assert (seen == 1).all()


def test_runs_that_chunks_divide_count_once(write_array, tmp_path):
    write_array(tmp_path / "a", np.ones((4, 200, 640), np.uint8), chunks=(4, 64, 64))
    source = open_stored(FolderStore(tmp_path), "a")[0]
    assert len(encode_runs(source, max_runs=800)) == 800
    with pytest.raises(TooFragmentedError, match="more than 799 runs"):
        encode_runs(source, max_runs=799)
