"""Volumes that are written here, judged by a validator that is not ours."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from csc_data.geometry import Grid
from csc_data.volumes import create_multiscale, downsampled_grid, open_volume, write_multiscale

image_model = pytest.importorskip("ome_zarr_models.v04.image", reason="ome-zarr-models is not installed")

GRID = Grid(voxel_size=(5.24, 4.0, 4.0), translation=(1.12, -20.5, 0.0), shape=(12, 16, 20))


def validated(path):
    """Return the metadata of the one image in a group, as ome-zarr-models understands them."""
    (image,) = image_model.Image.from_zarr(zarr.open_group(str(path), mode="r")).attributes.multiscales
    return image


@pytest.mark.parametrize("count", [1, 2, 4])
def test_written_volumes_are_valid_ome_ngff(tmp_path, count):
    grids = [GRID]
    while len(grids) < count:
        grids.append(downsampled_grid(grids[-1], (1, 2, 2)))
    path = tmp_path / "x.zarr" / "recon-1" / "em"
    write_multiscale(path, [np.ones(grid.shape, "u1") for grid in grids], grids, chunks=(8, 8, 8), attributes={"a": 1})
    image = validated(path)
    assert [dataset.path for dataset in image.datasets] == [f"s{n}" for n in range(count)]
    for dataset, level in zip(image.datasets, open_volume(path).levels, strict=True):
        scale, translation = dataset.coordinateTransformations
        assert tuple(scale.scale) == level.grid.voxel_size
        assert tuple(translation.translation) == level.grid.translation
    assert [(axis.name, axis.type, axis.unit) for axis in image.axes] == [(n, "space", "nanometer") for n in "zyx"]


def test_created_volumes_are_valid_ome_ngff(tmp_path):
    create_multiscale(tmp_path / "x.zarr" / "er", GRID, dtype="f4", chunks=(8, 8, 8), attributes={"a": 1})
    assert len(validated(tmp_path / "x.zarr" / "er").datasets) == 1
