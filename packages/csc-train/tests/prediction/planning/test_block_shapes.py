"""How a region is divided into blocks: within memory, and among all who work on it."""

import math

import pytest

from csc_data.blocks import BlockGrid
from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo, PatchShape
from csc_data.volumes.output import OutputStorage
from csc_eval.running import memory
from csc_train.prediction.blocks import block_bytes, plan_block_shape
from csc_train.prediction.outputs import Output
from csc_train.prediction.planning.block_shapes import BlockShapes, count_windows
from csc_train.prediction.window.batches import choose_batch_size
from csc_train.prediction.window.tiling import plan_windows

GB = 1 << 30
INFO = ArrayInfo(shape=(128, 128, 128), scale=(8, 8, 8))
WINDOWS = plan_windows(PatchShape(input=INFO, target=INFO))
CHUNKS = (96, 96, 96)


def grid(*shape):
    return Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=shape)


def output(region, **storage):
    how = OutputStorage(dtype="u1", chunks=CHUNKS, **storage)
    return Output(grid=region, scales=1, storage=how, attributes={}, meanings={}, fingerprint={}, is_mask=False)


def chosen(region, processes, regions=1, **storage):
    shapes = BlockShapes(windows=WINDOWS, processes=processes, regions=regions)
    return shapes.choose(region, output(region, **storage), 5)


def passes(region, block_shape):
    return count_windows(WINDOWS, region, region, BlockGrid(shape=region.shape, block_shape=block_shape))


@pytest.mark.parametrize("processes", [2, 3, 4, 8])
def test_all_processes_have_something_to_do_in_a_region_of_one_block(processes):
    region = grid(400, 280, 280)
    alone = chosen(region, 1)
    assert len(BlockGrid(shape=region.shape, block_shape=alone)) == 1
    shape = chosen(region, processes)
    assert all(n % c == 0 for n, c in zip(shape, CHUNKS, strict=True))
    once, divided = passes(region, alone), passes(region, shape)
    assert len(BlockGrid(shape=region.shape, block_shape=shape)) > 1
    # They end sooner, although windows at the faces of blocks are done twice.
    assert max(divided.largest, divided.total / processes) <= 0.75 * once.total


def test_regions_that_give_all_something_to_do_are_not_divided():
    region = grid(400, 280, 280)
    assert chosen(region, 2, regions=2) == chosen(region, 16, regions=16) == chosen(region, 1)
    assert chosen(region, 5, regions=2) == chosen(region, 3)
    assert chosen(grid(2000, 1000, 1000), 8) == chosen(grid(2000, 1000, 1000), 1)


def test_blocks_of_a_shard_go_to_one_process_so_it_is_not_divided():
    pytest.importorskip("tensorstore")
    region = grid(400, 280, 280)
    given = {"format": 3, "shards": (288, 288, 288)}
    assert chosen(region, 8, **given) == chosen(region, 1, **given)


def test_memory_grows_with_the_classes_as_far_as_there_is_some(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 64 * GB)
    assert block_bytes(1, 1) == block_bytes(5, 1) == 360 << 20
    assert 360 << 20 < block_bytes(6, 1) < block_bytes(14, 1) == block_bytes(48, 1) < 600 << 20
    for classes, shape in ((5, (576, 288, 288)), (10, (576, 288, 288)), (14, (576, 192, 288)), (48, (576, 96, 192))):
        most = block_bytes(classes, 1)
        assert plan_block_shape(WINDOWS, classes=classes, itemsize=1, chunks=CHUNKS, most_bytes=most) == shape
    assert block_bytes(14, 64) == 360 << 20  # all processes of the machine take so much
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * GB)
    assert block_bytes(14, 1) == GB // 2
    assert block_bytes(14, 2) == 360 << 20


def test_large_patches_and_many_classes_make_small_batches():
    assert choose_batch_size(None, WINDOWS, 5) == 2
    assert choose_batch_size(None, WINDOWS, 48) == 1
    assert choose_batch_size(3, WINDOWS, 48) == 3
    small = ArrayInfo(shape=(64, 64, 64), scale=(8, 8, 8))
    assert choose_batch_size(None, plan_windows(PatchShape(input=small, target=small)), 5) == 8
    # Two batches, with all that the network says of them, beside what is blended: below 600 MB.
    for channels in (1, 2, 5, 9):
        batch = choose_batch_size(None, WINDOWS, channels)
        assert batch == 1 or 2 * batch * (1 + channels) * math.prod(INFO.shape) * 4 + (360 << 20) < 600 << 20
