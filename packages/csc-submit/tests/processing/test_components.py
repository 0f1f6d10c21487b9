from __future__ import annotations

import tempfile
from pathlib import Path

import cc3d
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from csc_data.blocks import BlockGrid
from csc_data.formats.writing import create_array
from csc_submit.processing.components import Components, Labelling, join_blocks

small = st.tuples(*[st.integers(1, 7)] * 3)


def label_in_blocks(
    values: np.ndarray, block_shape: tuple[int, int, int], connectivity: int, background: bool = False
) -> tuple[np.ndarray, Components]:
    """Return the components of a volume, found block by block, as one array."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "values"
        create_array(source, shape=values.shape, dtype=values.dtype, chunks=values.shape)[...] = values
        labelling = Labelling(
            source=source,
            background=background,
            connectivity=connectivity,
            grid=BlockGrid(shape=values.shape, block_shape=block_shape),
            tables=Path(folder) / "tables",
        )
        for block in labelling.grid:
            labelling(block)
        components = join_blocks(labelling)
        numbers = np.arange(1, len(components.voxels) + 1)
        result = np.zeros(values.shape, dtype=np.int64)
        for block in labelling.grid:
            labels = labelling.label(block)[tuple(slice(0, n) for n in block.shape)]
            result[block.write] = components.lookup(numbers, block.index)[labels]
    return result, components


def in_raster_order(labels: np.ndarray) -> np.ndarray:
    """Number labels from 1 by their first voxel, as a plain scan does."""
    found, first = np.unique(labels[labels > 0], return_index=True)
    table = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int64)
    table[found[np.argsort(first)]] = np.arange(1, len(found) + 1)
    return table[labels]


@given(
    values=small.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 2]))),
    block_shape=small,
    connectivity=st.sampled_from([6, 18, 26]),
)
@settings(max_examples=80, deadline=None)
@example(values=np.eye(5, dtype=np.uint8)[None], block_shape=(1, 1, 1), connectivity=26)
@example(values=np.eye(5, dtype=np.uint8)[None], block_shape=(1, 1, 1), connectivity=6)
@example(values=np.ones((6, 6, 6), dtype=np.uint8), block_shape=(1, 2, 3), connectivity=6)
def test_components_in_blocks_are_those_of_the_whole(values, block_shape, connectivity):
    labels, components = label_in_blocks(values, block_shape, connectivity)
    whole = in_raster_order(cc3d.connected_components(values, connectivity=connectivity))
    np.testing.assert_array_equal(labels, whole)
    np.testing.assert_array_equal(components.voxels, np.bincount(whole.ravel())[1:])


@pytest.mark.parametrize("background_connectivity", [(26, 6), (6, 26)])
def test_background_has_the_dual_connectivity_and_knows_what_is_enclosed(background_connectivity):
    connectivity, dual = background_connectivity
    values = (np.random.default_rng(1).random((12, 12, 12)) < 0.9).astype(np.uint8)
    labels, components = label_in_blocks(values, (5, 4, 3), connectivity, background=True)
    whole = in_raster_order(cc3d.connected_components((values == 0).view(np.uint8), connectivity=dual))
    np.testing.assert_array_equal(labels, whole)
    faces = np.concatenate([whole.take(i, a).ravel() for a in range(3) for i in (0, -1)])
    expected = np.isin(np.arange(1, whole.max() + 1), faces)
    np.testing.assert_array_equal(components.outer, expected)
    assert not expected.all()


@pytest.mark.parametrize("block_shape", [(3, 3, 3), (20, 4, 20), (1, 20, 20)])
def test_a_spiral_through_all_blocks_is_one_object(block_shape):
    values = np.zeros((20, 20, 20), dtype=np.uint8)
    values[::4] = 1
    values[::4, 8:, 8:] = 0
    values[:, 0, 0] = 1  # what joins the sheets, in one corner
    labels, components = label_in_blocks(values, block_shape, 26)
    assert len(components.voxels) == 1
    assert components.voxels[0] == values.sum()
    np.testing.assert_array_equal(labels > 0, values > 0)


def test_nothing_is_no_component():
    labels, components = label_in_blocks(np.zeros((4, 4, 4), np.uint8), (2, 2, 2), 26)
    assert not labels.any()
    assert len(components.voxels) == 0
