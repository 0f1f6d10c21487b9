"""What is written of blended values: averaged over the voxels of another grid, whatever the blocks."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.blocks import BlockGrid
from csc_data.geometry import Grid
from csc_train.prediction.blocks.finishing import Averaging, StoredForm


def grid(voxel_size, translation, shape):
    return Grid(voxel_size=voxel_size, translation=translation, shape=shape)


def averaged(values, source, target, block_shape=None, slab=3):
    """Average in blocks, each fed with slabs of planes."""
    out = np.full((len(values), *target.shape), np.nan, dtype=np.float32)
    for block in BlockGrid(shape=target.shape, block_shape=block_shape or target.shape):
        averaging = Averaging(source, target, block)
        (z0, y0, x0), (z1, y1, x1) = averaging.begin, averaging.end
        done = []
        for z in range(z0, z1, slab):
            planes = torch.tensor(values[:, z : min(z + slab, z1), y0:y1, x0:x1])
            done += list(averaging.take(z, planes))
        out[(slice(None), *block.write)] = torch.cat(done, dim=1).numpy()
    return out


def by_hand(values, source, target):
    """Integrate over each voxel, axis by axis, in float64."""
    for axis in range(3):
        n = source.shape[axis]
        edges = source.bounds.begin[axis] + np.arange(n + 1) * source.voxel_size[axis]
        low = target.bounds.begin[axis] + np.arange(target.shape[axis]) * target.voxel_size[axis]
        high = low + target.voxel_size[axis]
        share = np.clip(
            np.minimum(high[:, None], edges[None, 1:]) - np.maximum(low[:, None], edges[None, :-1]), 0, None
        )
        share /= share.sum(1, keepdims=True)
        values = np.moveaxis(np.tensordot(share, values, axes=(1, axis + 1)), 0, axis + 1)
    return values


VALUES = np.random.default_rng(0).random((2, 12, 13, 14)).astype(np.float32)
SOURCE = grid((8, 8, 8), (4, 4, 4), (12, 13, 14))


@pytest.mark.parametrize(
    ("size", "begin", "shape"),
    [
        ((32, 32, 32), (16, 16, 16), (3, 3, 3)),
        ((16, 24, 8), (8, 12, 4), (6, 4, 14)),
        ((12, 20, 9.5), (6, 13, 7), (7, 4, 10)),
        ((4, 8, 2), (2, 4, 5), (20, 13, 40)),
        ((8, 8, 8), (8, 4, 6), (11, 13, 13)),
    ],
)
def test_means_over_the_voxels_of_another_grid(size, begin, shape):
    target = grid(size, begin, shape)
    expected = by_hand(VALUES.astype(np.float64), SOURCE, target)
    whole = averaged(VALUES, SOURCE, target)
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    for blocks, slab in itertools.product([(7, 9, 8), (5, 4, 20)], [1, 7]):
        np.testing.assert_array_equal(averaged(VALUES, SOURCE, target, blocks, slab), whole)


@settings(max_examples=10, deadline=None)
@given(size=st.floats(1, 40), begin=st.integers(-8, 40), block=st.integers(3, 9))
def test_blocks_do_not_matter(size, begin, block):
    count = max(1, min(30, int((13 * 8 - begin) // size)))
    target = grid((size, 8, size), (begin + size / 2, 4, begin + size / 2), (count, 13, count))
    whole = averaged(VALUES, SOURCE, target)
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(averaged(VALUES, SOURCE, target, (block, 4, block)), whole)


def test_the_same_grid_is_left_as_it_is():
    np.testing.assert_array_equal(averaged(VALUES, SOURCE, SOURCE, (5, 6, 7)), VALUES)
    inner = SOURCE.window((2, 3, 4), (5, 6, 7))
    np.testing.assert_array_equal(averaged(VALUES, SOURCE, inner, (2, 6, 3)), VALUES[:, 2:7, 3:9, 4:11])


def test_stored_forms():
    values = torch.tensor([0.0, 0.002, 0.5, 0.998, 1.0]).view(1, 5, 1, 1)
    as_bytes = StoredForm(dtype="uint8").store(values.clone())
    assert as_bytes.flatten().tolist() == [0, 1, 128, 254, 255]
    assert StoredForm(dtype="float16").store(values.clone()).dtype == torch.float16
    kept = StoredForm(dtype="float32").store(values)
    values.zero_()
    assert kept.max() == 1  # what is stored does not change when its planes are used again
    pair = torch.tensor([0.4, 0.6]).view(1, 2, 1, 1).repeat(2, 1, 1, 1)
    assert StoredForm(dtype="uint8", thresholds=(0.5, 0.7)).store(pair).flatten().tolist() == [0, 1, 0, 0]
