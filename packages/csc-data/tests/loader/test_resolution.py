"""Training, however it turns and scales its patches, shows the noise and the sharpness of prediction.

Power spectra and standard deviations of white noise, read upright and turned; the bounds are those of linear and cubic
interpolation of independent voxels at positions that fall anywhere between them.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo, RawSource
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.sources.raw import lookup_table
from csc_data.volumes import Level, Volume, downsampled_grid

SIDE = 160
PATCH = ArrayInfo(shape=(32, 32, 32), scale=(8, 8, 8))
LINEAR, CUBIC = (2 / 3) ** 1.5, 0.8143**1.5  # what they keep of the deviation of independent voxels, on average


def noise(mean=128, deviation=30, seed=0):
    values = np.random.default_rng(seed).normal(mean, deviation, (SIDE,) * 3)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def grid_of(voxel_size, shape=(SIDE,) * 3):
    return Grid(voxel_size=voxel_size, translation=np.asarray(voxel_size) / 2, shape=shape)


def volume_of(*levels):
    return Volume(
        path=f"memory{id(levels)}",
        levels=tuple(Level(name=f"s{n}", grid=grid, array=data) for n, (grid, data) in enumerate(levels)),
        attributes={},
    )


def read(source, patch_map, array=PATCH):
    out = np.empty(array.shape, dtype=np.float32)
    source.gather(patch_map, array, lookup_table(source.dtype, (0.0, 255.0)), out)
    return out


def drawn(source, array=PATCH, *, count=24, spread=40.0):
    """Read patches that are rotated by any angle, and scaled by 0.8 to 1.25, somewhere in the middle."""
    rng = np.random.default_rng(1)
    middle = np.asarray(source.volume.levels[0].grid.bounds.end) / 2
    patches = []
    for _ in range(count):
        linear = Rotation.random(rng=rng).as_matrix() * np.exp(rng.uniform(np.log(0.8), np.log(1.25)))
        patches.append(read(source, PatchMap(centre=middle + rng.uniform(-spread, spread, 3), linear=linear), array))
    return np.stack(patches)


def upright(source, array=PATCH, *, count=24, spread=40.0):
    """Read patches on whole voxels."""
    rng = np.random.default_rng(2)
    middle = np.asarray(source.volume.levels[0].grid.bounds.end) / 2
    whole = [np.rint(rng.uniform(-spread, spread, 3) / array.scale) * array.scale for _ in range(count)]
    return np.stack([read(source, PatchMap(centre=middle + offset), array) for offset in whole])


def spectrum(patches):
    """Return the mean power in shells of frequency, in voxels of the patch, and the shells' upper ends."""
    windowed = patches - patches.mean()
    for axis, n in enumerate(patches.shape[1:]):
        windowed = windowed * np.hanning(n).reshape([-1 if a == axis + 1 else 1 for a in range(4)])
    power = (np.abs(np.fft.fftn(windowed, axes=(1, 2, 3))) ** 2).mean(axis=0)
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(n) for n in power.shape], indexing="ij")))
    ends = np.arange(1, 9) / 16
    return np.array([power[(frequency > e - 1 / 16) & (frequency <= e)].mean() for e in ends]), ends


def pyramid(values, voxel_size=(4, 4, 4)):
    """Noise at 4 nm, and its means at 8 and 16 nm, as pyramids are stored."""
    levels = [(grid_of(voxel_size), values)]
    for _ in range(2):
        grid, data = levels[-1]
        coarse = data.reshape([n for s in data.shape for n in (s // 2, 2)]).mean(axis=(1, 3, 5))
        levels.append((downsampled_grid(grid, (2, 2, 2)), np.rint(coarse).astype(np.uint8)))
    return levels


@pytest.mark.parametrize("stored", ["all levels", "the finest alone"])
def test_spectra_of_training_are_those_of_validation(stored):
    array = ArrayInfo(shape=(24, 24, 24), scale=(8, 8, 8))
    theirs, ours = [], []
    for seed in range(8):
        levels = pyramid(noise(seed=seed))
        source = RawSource(volume_of(*levels[: 3 if stored == "all levels" else 1]), levels[0][0].bounds)
        theirs.append(upright(source, array, count=40, spread=220.0))
        ours.append(drawn(source, array, count=40, spread=110.0))
    expected, ends = spectrum(np.concatenate(theirs))
    found, _ = spectrum(np.concatenate(ours))
    below = ends <= 0.5 / 4
    assert below.sum() == 2
    np.testing.assert_allclose(found[below], expected[below], rtol=0.15)


@pytest.mark.parametrize(("cubic", "least", "expected"), [(False, 0.5, LINEAR), (True, 0.7, CUBIC)])
def test_noise_keeps_its_deviation_as_far_as_interpolation_can(cubic, least, expected):
    grid = grid_of((8, 8, 8))
    source = RawSource(volume_of((grid, noise())), grid.bounds, cubic=cubic)
    validation = upright(source).std()
    turned = drawn(source).std(axis=(1, 2, 3))
    assert abs(turned.mean() / validation - expected) < 0.03
    assert (turned / validation).min() >= least
    assert (turned <= validation).all()


@pytest.mark.parametrize(("stored", "share"), [((4, 4, 4), 8**-0.5), ((5.24, 4, 4), 0.38), ((2, 4, 8), 8**-0.5)])
def test_what_is_shrunk_is_averaged_and_not_picked(stored, share):
    """Without a level of 8 nm noise is as weak as its mean over a voxel of 8 nm, in training and validation."""
    grid = grid_of(stored)
    source = RawSource(volume_of((grid, noise())), grid.bounds)
    deviation = noise().std()
    array = ArrayInfo(shape=(16, 16, 16), scale=(8, 8, 8))
    validation = upright(source, array).std()
    assert abs(validation / deviation - share) < 0.03
    turned = drawn(source, array).std(axis=(1, 2, 3))
    assert (turned <= validation * 1.01).all()
    assert turned.mean() >= 0.5 * validation


voxels = st.sampled_from([2.0, 3.24, 4.0, 5.24, 8.0])


@settings(max_examples=200, deadline=None)
@given(
    finest=st.tuples(voxels, voxels, voxels),
    nominal=st.sampled_from([4.0, 6.0, 8.0, 10.48, 16.0]),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    factor=st.floats(0.8, 1.25),
)
def test_no_level_below_the_nominal_one_is_read(finest, nominal, angles, factor):
    """The level of a patch that is turned and scaled is that of an upright one, and never a finer one is right."""
    levels, grid = [], grid_of(finest, (64, 64, 64))
    for _ in range(4):
        levels.append((grid, np.zeros(grid.shape, dtype=np.uint8)))
        grid = downsampled_grid(grid, (2, 2, 2))
    source = RawSource(volume_of(*levels), levels[0][0].bounds)
    array = ArrayInfo(shape=(4, 4, 4), scale=(nominal,) * 3)
    middle = np.asarray(levels[0][0].bounds.end) / 2
    straight = source.level_for(PatchMap(centre=middle), array)
    linear = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() * factor
    assert source.level_for(PatchMap(centre=middle, linear=linear), array) is straight
    size = straight.grid.voxel_size
    assert all(v <= nominal * 1.001 for v in size) or straight.level.name == "s0"
    assert all(2 * v > nominal * 0.999 for v in size)
    coarser = [level for level in source.volume.levels if all(v <= nominal for v in level.grid.voxel_size)]
    assert not coarser or straight.level.name == coarser[-1].name


def test_a_patch_that_shows_twice_as_much_is_read_from_a_level_as_coarse():
    levels = pyramid(noise())
    source = RawSource(volume_of(*levels), levels[0][0].bounds)
    middle = np.asarray(levels[0][0].bounds.end) / 2
    names = [
        source.level_for(PatchMap(centre=middle, linear=np.eye(3) * factor), PATCH).level.name
        for factor in (0.5, 1, 1.9, 2.0, 2.5)
    ]
    assert names == ["s1", "s1", "s1", "s2", "s2"]


@settings(max_examples=60, deadline=None)
@given(
    factors=st.tuples(*[st.sampled_from([1.0, 1.3, 2.0, 2.6, 3.0])] * 3),
    begin=st.tuples(*[st.integers(0, 9)] * 3),
    size=st.tuples(*[st.integers(1, 8)] * 3),
)
def test_what_is_shrunk_does_not_depend_on_the_box(factors, begin, size):
    data = np.random.default_rng(0).integers(0, 255, (19, 23, 26)).astype(np.uint8)
    grid = grid_of((4, 4, 4), data.shape)
    source = RawSource(volume_of((grid, data)), grid.bounds)
    level = source.level_for(
        PatchMap(centre=np.full(3, 40.0)), ArrayInfo(shape=(1, 1, 1), scale=[4 * f for f in factors])
    )
    first, last = level.faces
    whole = level.read(first, last)
    low = np.minimum(begin, last - 1)
    high = np.minimum(low + size, last)
    np.testing.assert_array_equal(level.read(low, high), whole[tuple(map(slice, low, high))])
    # Brute force of one voxel: means of whole voxels, those at the end mirrored, and a share of each neighbour.
    k = np.floor(factors).astype(int)
    padded = np.pad(data.astype(float), [(8, 8)] * 3, mode="symmetric")
    shares = ((np.asarray(factors) / k) ** 2 - 1) / 24
    expected = 0.0
    for step in itertools.product((-1, 0, 1), repeat=3):
        weight = np.prod([1 - 2 * s if d == 0 else s for s, d in zip(shares, step, strict=True)])
        at = (low + step) * k + 8
        expected += weight * padded[tuple(map(slice, at, at + k))].mean()
    assert abs(float(whole[tuple(low)]) - expected) <= 0.51
