from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.errors import UnreadableDataError
from csc_data.fetching.planning.chunk_listing import ChunkLayout, Listing, listings_for

sizes = st.tuples(*[st.integers(1, 60)] * 3)
arrays = st.builds(
    ChunkLayout,
    name=st.just("s0"),
    shape=sizes,
    chunks=st.tuples(*[st.integers(1, 20)] * 3),
    separator=st.sampled_from("./"),
)
begins = st.tuples(*[st.integers(-30, 70)] * 3)
shapes = st.tuples(*[st.integers(0, 60)] * 3)


def chunk_name(array, index):
    return f"{array.name}/{array.separator.join(map(str, index))}"


@given(arrays, begins, shapes)
def test_a_box_has_the_chunks_of_its_voxels_and_no_others(array, begin, shape):
    box = array.box(begin, shape)
    for axis in range(3):
        voxels = range(max(begin[axis], 0), min(begin[axis] + shape[axis], array.shape[axis]))
        assert set(box[axis]) == {voxel // array.chunks[axis] for voxel in voxels}


@given(arrays, st.lists(st.tuples(begins, shapes), max_size=4))
def test_the_listings_hold_every_chunk_of_the_boxes(array, boxes):
    touched = [array.box(*box) for box in boxes]
    listings = listings_for(array, touched)
    for box in touched:
        for index in itertools.product(*box):
            name = chunk_name(array, index)
            assert array.index(name) == index
            assert any(name.startswith(f"{listing.folder}/{listing.begin}") for listing in listings)


def test_few_listings_are_taken_and_no_long_ones():
    wide = ChunkLayout(name="s0", shape=(64_000,) * 3, chunks=(64,) * 3, separator="/")
    assert len(listings_for(wide, [wide.box((6400,) * 3, (640,) * 3)])) == 100
    flat = ChunkLayout(name="s0", shape=(6400, 640, 640), chunks=(64,) * 3, separator=".")
    assert listings_for(flat, [flat.box((64, 0, 0), (128, 640, 64))]) == {Listing("s0", "1."), Listing("s0", "2.")}
    small = ChunkLayout(name="s3", shape=(300,) * 3, chunks=(64,) * 3, separator="/")
    assert listings_for(small, [small.box((0, 0, 0), (300,) * 3)]) == {Listing("s3")}
    assert listings_for(small, [small.box((900, 0, 0), (1, 1, 1))]) == set()


@pytest.mark.parametrize("name", ["s0/.zarray", "s0/1/2", "s0/1/2/x", "s0/1/2/3/4", "s0"])
def test_other_files_are_no_chunks(name):
    array = ChunkLayout(name="s0", shape=(9, 9, 9), chunks=(3, 3, 3), separator="/")
    assert array.index(name) is None


def test_metadata_is_read_and_what_is_none_refused():
    array = ChunkLayout.parse("x", "s0", {"shape": [9, 9, 9], "chunks": [3, 4, 5]})
    assert (array.separator, array.counts) == (".", (3, 3, 2))
    assert math.prod(array.counts) == 18
    for metadata in ({}, {"shape": [9, 9], "chunks": [3, 3]}, {"shape": [9] * 3, "chunks": [0] * 3}, [], None):
        with pytest.raises(UnreadableDataError, match="x"):
            ChunkLayout.parse("x", "s0", metadata)
