from __future__ import annotations

from pathlib import Path

import numpy as np

from csc_data.arrays import child_names, create_array


def test_equal_data_gives_equal_bytes_whatever_the_codec_threads_do(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (128, 128, 128)).astype("u4")
    written = set()
    for number in range(12):
        array = create_array(tmp_path / f"{number}.zarr", shape=data.shape, dtype="u4", chunks=data.shape)
        array[...] = data
        written.add((tmp_path / f"{number}.zarr" / "0" / "0" / "0").read_bytes())
    assert len(written) == 1


def test_child_names_leaves_out_hidden_and_empty_folders(tmp_path: Path):
    for name in ("er", ".mito.part"):
        create_array(tmp_path / "a.zarr" / name, shape=(2, 2, 2), dtype="u1", chunks=(2, 2, 2))
    (tmp_path / "a.zarr" / "nothing").mkdir()
    assert child_names(tmp_path / "a.zarr") == ("er",)
