"""Noise made on a device is that of the compiled loops, voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest

from csc_data.loader.intensity.noise import Noise

torch = pytest.importorskip("torch")

from csc_data.loader.device import normals  # noqa: E402


@pytest.mark.parametrize("shape", [(1, 3, 5), (16, 16, 16), (20, 33, 40)])
@pytest.mark.parametrize("key", [(0, 0), (2**32 - 1, 2**32 - 1), (123456789, 3987654321)])
def test_the_same_key_gives_the_same_noise(shape, key, monkeypatch):
    monkeypatch.setattr(normals, "_BLOCKS_AT_ONCE", 3)
    raw = np.random.default_rng(0).random(shape, dtype=np.float32)
    there = torch.from_numpy(raw.copy())
    normals.add_noise(there, (0.003, 0.01), key)
    noise = Noise(variance=0.003, variance_of_white=0.01, key=key)
    np.testing.assert_allclose(there.numpy(), noise.add(raw.copy()), atol=2e-6)
    assert np.abs(there.numpy() - raw).mean() > 0.03


def test_the_numbers_are_normal():
    raw = torch.full((64, 64, 64), 0.5)
    normals.add_noise(raw, (0.01**2, 0.0), (7, 8))
    drawn = (raw - 0.5) / 0.01
    assert abs(float(drawn.mean())) < 0.01
    assert abs(float(drawn.std()) - 1) < 0.01
    assert abs(float((drawn**4).mean()) - 3) < 0.1
