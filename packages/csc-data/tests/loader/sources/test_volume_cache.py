import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.geometry import Grid
from csc_data.loader import VolumeCache, read_raw
from csc_data.volumes import Level, Volume


class CountingArray:
    def __init__(self, data):
        self.data, self.dtype, self.reads = data, data.dtype, 0

    def __getitem__(self, box):
        self.reads += 1
        return self.data[box]


def volume_of(shape=(20, 22, 24), voxel=(8, 8, 8)):
    data = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    grid = Grid(voxel_size=voxel, translation=(100, 200, 300), shape=shape)
    return Volume(path="memory", levels=(Level(name="s0", grid=grid, array=CountingArray(data)),), attributes={})


@given(
    begin=st.tuples(*[st.floats(-25, 25)] * 3),
    size=st.tuples(*[st.integers(1, 30)] * 3),
    ratio=st.tuples(*[st.floats(0.5, 2)] * 3),
)
@settings(max_examples=200, deadline=None)
def test_a_held_part_gives_the_same_values_also_beyond_the_volume(begin, size, ratio):
    volume = volume_of()
    source = volume.levels[0].grid
    grid = Grid(
        voxel_size=tuple(8 * r for r in ratio),
        translation=tuple(t + 8 * b for t, b in zip(source.translation, begin, strict=True)),
        shape=size,
    )
    held = VolumeCache().hold(volume, grid.bounds, grid.voxel_size)
    np.testing.assert_array_equal(read_raw(held, grid), read_raw(volume, grid))
    np.testing.assert_array_equal(held.read(grid, 0, fill=7), volume.read(grid, 0, fill=7))


def test_what_is_held_is_read_once():
    volume, cache = volume_of(), VolumeCache()
    bounds = volume.levels[0].grid.bounds
    for _ in range(3):
        cache.hold(volume, bounds, (8, 8, 8)).read(volume.levels[0].grid, 1)
    assert volume.levels[0].array.reads == 1


def test_no_more_bytes_are_held_than_allowed():
    cache = VolumeCache(max_bytes=40_000)
    volume = volume_of((20, 20, 20))
    grid = volume.levels[0].grid
    for start in range(0, 15, 2):
        cache.hold(volume, grid.window((start, 0, 0), (2, 20, 20)).bounds, (8, 8, 8))
        assert cache.held_bytes <= 40_000
    large = volume_of((64, 64, 64))
    assert cache.hold(large, large.levels[0].grid.bounds, (8, 8, 8)) is large


def test_a_copy_for_another_process_is_empty():
    cache, volume = VolumeCache(max_bytes=1 << 20), volume_of()
    cache.hold(volume, volume.levels[0].grid.bounds, (8, 8, 8))
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.max_bytes, copy.held_bytes) == (1 << 20, 0)
