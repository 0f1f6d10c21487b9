"""What the tests of batches share."""

import shutil

import numpy as np
import pytest

PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}


@pytest.fixture
def folder(tmp_path, write_array):
    """A truth of four crops, and submissions of falling quality: a, b, c; and one that is broken."""
    rng = np.random.default_rng(0)
    for number in range(1, 5):
        truth = rng.integers(0, 2, (8, 8, 8), dtype=np.uint8)
        write_array(tmp_path / f"t.zarr/crop{number}/er", truth, attributes=PLACE)
        for name, share in (("a", 0.02), ("b", 0.3), ("c", 0.6)):
            wrong = np.where(rng.random(truth.shape) < share, 1 - truth, truth)
            write_array(tmp_path / f"in/{name}.zarr/crop{number}/er", wrong, attributes=PLACE)
    for name in "ab":
        shutil.make_archive(str(tmp_path / "in" / name), "zip", tmp_path / "in" / f"{name}.zarr")
        shutil.rmtree(tmp_path / "in" / f"{name}.zarr")
    (tmp_path / "in/broken.zip").write_bytes(b"no zip")
    rows = ["data_path,evaluation_id", *(f"in/{n},{i}" for n, i in (("b.zip", 7), ("a.zip", 8), ("broken.zip", 9)))]
    (tmp_path / "batch.csv").write_text("\n".join([*rows, "in/c.zarr,=10"]) + "\n")
    return tmp_path
