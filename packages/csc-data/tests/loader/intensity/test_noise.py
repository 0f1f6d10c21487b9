"""The random numbers of noise: their distribution, and that nothing ties those of neighbours or seeds together."""

import numpy as np
import pytest
from scipy import stats

from csc_data.loader.intensity import GaussianNoise, IntensityTransforms, PoissonNoise
from csc_data.loader.intensity.noise import Noise
from csc_data.loader.intensity.voxel_loops import fill_normals, random_bits

BLOCK = 4096


def normals(blocks, key):
    """Return what a patch of several blocks gets, float64."""
    out = np.empty((blocks, BLOCK), dtype=np.float32)
    for block, row in enumerate(out):
        fill_normals(block, (np.uint32(key[0]), np.uint32(key[1])), row)
    return out.ravel().astype(np.float64)


@pytest.fixture(scope="module")
def many():
    return normals(1024, (12345, 67890))


def philox(counter, key, rounds):
    """Philox 4x32 in plain numbers, written after the paper."""
    c, k = list(counter), list(key)
    for _ in range(rounds):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ k[0], second & 0xFFFFFFFF, first >> 32 ^ c[3] ^ k[1], first & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return tuple(c)


def test_bits_are_those_of_philox_with_seven_rounds():
    # Published by the authors: philox4x32 with 10 and with 7 rounds, of zeros.
    assert philox((0, 0, 0, 0), (0, 0), 10) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert philox((0, 0, 0, 0), (0, 0), 7) == (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)
    rng = np.random.default_rng(0)
    for place, block, *key in [[0, 0, 0, 0], *rng.integers(2**32, size=(50, 4)).tolist()]:
        found = random_bits(place, block, (np.uint32(key[0]), np.uint32(key[1])))
        assert found == philox((place, block, 0, 0), key, 7)


def test_noise_is_normally_distributed_to_its_tails(many):
    n = many.size
    assert abs(many.mean()) < 5 / np.sqrt(n)
    # Moments of a normal distribution, with the deviations that their estimates have.
    for power, moment, spread in ((2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs(np.mean(many**power) - moment) < 5 * np.sqrt(spread / n), power
    for limit in (2.0, 3.0, 4.0, 4.75):
        expected = stats.norm.sf(limit) * n
        for side in (many, -many):
            assert abs(np.count_nonzero(side > limit) - expected) < 5 * np.sqrt(expected), limit
    assert 4.5 < np.abs(many).max() < 6.7
    assert stats.kstest(many[: 2**19], "norm").pvalue > 1e-3
    # Evenly spread over many bins, between which a coarse table would jump.
    counts = np.histogram(stats.norm.cdf(many), bins=4096, range=(0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 8, 16, 128, 1023, 1024, 1025, 2048, 3072, 4096, 8192, 128 * 128])
def test_neighbours_have_nothing_to_do_with_each_other(many, lag):
    for values in (many, many**2 - 1, np.abs(many) ** 3 - np.mean(np.abs(many) ** 3), np.sign(many)):
        near, far = values[:-lag], values[lag:]
        assert abs(np.mean(near * far) / np.var(values)) < 5 / np.sqrt(near.size)


def test_the_two_numbers_of_a_pair_fill_the_plane_evenly(many):
    blocks = many.reshape(-1, 4, BLOCK // 4)
    angle = np.arctan2(blocks[:, 1], blocks[:, 0]).ravel()
    counts = np.histogram(angle, bins=64, range=(-np.pi, np.pi))[0]
    assert stats.chisquare(counts).pvalue > 1e-3
    radius = np.hypot(blocks[:, 0], blocks[:, 1]).ravel()
    assert abs(np.corrcoef(np.cos(4 * angle), radius)[0, 1]) < 5 / np.sqrt(angle.size)


def test_keys_that_differ_in_a_bit_give_unrelated_noise():
    first = normals(16, (3, 5))
    for bit in range(32):
        for key in ((3 ^ 1 << bit, 5), (3, 5 ^ 1 << bit)):
            other = normals(16, key)
            for a, b in ((first, other), (first**2 - 1, other**2 - 1)):
                assert abs(np.mean(a * b) / np.sqrt(np.var(a) * np.var(b))) < 5 / np.sqrt(first.size)


def test_patches_of_seeds_in_a_row_are_unrelated_and_one_seed_gives_one_patch():
    transforms = IntensityTransforms(transforms=(GaussianNoise(deviation=(0.05, 0.05), probability=1),))
    grey = np.full((8, 32, 32), 0.5, dtype=np.float32)

    def noise(seed):
        return (transforms.apply(grey.copy(), np.random.default_rng(seed), (8, 8, 8)) - 0.5).ravel() / 0.05

    patches = np.stack([noise(seed) for seed in range(40)])
    np.testing.assert_array_equal(patches[7], noise(7))
    correlations = np.corrcoef(patches)[np.triu_indices(40, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(grey.size)
    assert abs(correlations.std() * np.sqrt(grey.size) - 1) < 0.15


def test_a_larger_patch_begins_with_the_noise_of_a_smaller_one():
    key = (17, 4)
    large, small = (Noise(variance=1e-4, key=key).add(np.full(n, 0.5, dtype=np.float32)) for n in (3 * BLOCK, 5000))
    np.testing.assert_array_equal(large[:5000], small)


def test_both_kinds_of_noise_together_have_the_sum_of_their_variances():
    transforms = IntensityTransforms(
        transforms=(
            PoissonNoise(counts=(400, 400), probability=1),
            GaussianNoise(deviation=(0.03, 0.03), probability=1),
        )
    )
    for level in (0.3, 0.6):
        raw = np.full((40, 50, 50), level, dtype=np.float32)
        noise = transforms.apply(raw.copy(), np.random.default_rng(3), (8, 8, 8)) - raw
        assert noise.var() == pytest.approx(level / 400 + 0.03**2, rel=0.02)
        assert abs(noise.mean()) < 5 * noise.std() / np.sqrt(noise.size)
