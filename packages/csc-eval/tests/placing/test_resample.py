"""Resampling box by box against scikit-image on the volume at once."""

import numpy as np
import pytest
from scipy import ndimage

from csc_eval.placing.resample import Resampled, blur, resampled_shape
from csc_eval.voxels.arrays import MemoryArray

rescale = pytest.importorskip("skimage.transform").rescale

DTYPES = ["?", "u1", "i2", "u4", "i8", "u8", "f2", "f4", "f8"]


def random_volume(rng, dtype):
    shape = tuple(rng.integers(1, 24, 3))
    values = rng.integers(0, 5, shape) if rng.random() < 0.7 else rng.integers(1, 5, shape)
    if rng.random() < 0.5:
        values = ndimage.uniform_filter(values.astype(float), 3)
    if rng.random() < 0.1:
        values = values * 0 + 1
    values = values.astype(dtype)
    if values.dtype.kind == "f" and rng.random() < 0.3:
        values[rng.random(shape) < 0.05] = np.nan
    return values


def random_scale(rng):
    ratios = [0.25, 0.5, 2 / 3, 0.217, 1.0, 1.31, 2.0, 4 / 3, 5.24 / 8, 1.74 / 2]
    return tuple(float(v) for v in rng.choice(ratios, 3))


def in_boxes(view, rng):
    out = np.empty(view.shape, view.dtype)
    edges = [np.unique([0, n, *rng.integers(0, n + 1, 2)]) for n in view.shape]
    for z0, z1 in zip(edges[0], edges[0][1:], strict=False):
        for y0, y1 in zip(edges[1], edges[1][1:], strict=False):
            for x0, x1 in zip(edges[2], edges[2][1:], strict=False):
                out[z0:z1, y0:y1, x0:x1] = view.read((z0, y0, x0), (z1, y1, x1))
    return out


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [0, 1])
def test_boxes_equal_the_whole_bit_for_bit(dtype, order, monkeypatch):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        monkeypatch.setattr("csc_eval.placing.resample.TILE", int(rng.integers(2, 12)))
        volume, scale = random_volume(rng, dtype), random_scale(rng)
        image = volume.astype(np.float32) if order == 1 and dtype == "?" else volume
        expected = rescale(image, scale, order=order, mode="constant", preserve_range=True)
        assert expected.shape == resampled_shape(volume.shape, scale)
        if order == 0:
            with np.errstate(invalid="ignore"):
                expected = expected.astype(volume.dtype)
        actual = in_boxes(Resampled(MemoryArray(volume), scale, order), rng)
        np.testing.assert_array_equal(actual, expected, err_msg=f"seed {seed}")


def test_ids_beyond_2_53_stay_apart():
    ids = np.arange(8, dtype=np.uint64).reshape(2, 2, 2) + np.uint64(2**60)
    seen = Resampled(MemoryArray(np.repeat(np.repeat(np.repeat(ids, 2, 0), 2, 1), 2, 2)), (0.5,) * 3, 0)
    np.testing.assert_array_equal(seen.read((0, 0, 0), (2, 2, 2)), ids)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blur_is_scipys(dtype):
    for seed in range(60):
        rng = np.random.default_rng(seed)
        image = rng.random(tuple(rng.integers(1, 30, 3))).astype(dtype)
        sigma = [float(s) for s in rng.choice([0.0, 0.15, 0.5, 1.5, 3.7], 3)]
        expected = ndimage.gaussian_filter(image, sigma, mode="grid-constant", cval=0.0)
        np.testing.assert_array_equal(blur(image, sigma), expected)
