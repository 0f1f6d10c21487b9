from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile

from csc_data.converting import export_volume, open_source
from csc_data.converting.planning import choose_grid
from csc_data.errors import ExistingOutputError, InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.volumes import write_multiscale

SHAPE = (150, 20, 30)


@pytest.fixture
def volume(tmp_path):
    def write(dtype="u1", most=200):
        values = np.random.default_rng(0).integers(0, most, SHAPE, endpoint=True).astype(dtype)
        grid = Grid(voxel_size=(8, 3.36, 4), translation=(16, 0, 0), shape=SHAPE)
        write_multiscale(tmp_path / "a.zarr", [values], [grid], overwrite=True)
        return values, open_source(tmp_path / "a.zarr")

    return write


@pytest.mark.parametrize("suffix", [".tif", ".h5", ".npy"])
def test_voxels_and_voxel_size_come_back(volume, tmp_path, suffix):
    values, source = volume()
    path = tmp_path / f"b{suffix}"
    export_volume(source, choose_grid(source)[0], path)
    back = open_source(path)
    np.testing.assert_array_equal(back.read(tuple(slice(0, n) for n in SHAPE)), values)
    assert back.voxel_size == (None if suffix == ".npy" else pytest.approx((8, 3.36, 4)))
    assert not list(tmp_path.glob(".b*"))
    if suffix == ".h5":
        with h5py.File(path) as file:
            assert file["data"].attrs["translation"].tolist() == [16, 0, 0]


@pytest.mark.parametrize(
    ("dtype", "most", "expected", "imagej"),
    [
        ("u1", 200, "uint8", True),
        ("u2", 60_000, "uint16", True),
        ("f4", 9, "float32", True),
        ("f2", 1, "float32", True),
        ("u8", 60_000, "uint16", True),
        ("u4", 70_000, "uint32", False),
    ],
)
def test_a_tiff_has_a_type_that_others_read(volume, tmp_path, dtype, most, expected, imagej):
    values, source = volume(dtype, most)
    export_volume(source, choose_grid(source)[0], tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert (file.is_imagej, file.series[0].axes, file.series[0].dtype) == (imagej, "ZYX", expected)
        np.testing.assert_array_equal(file.asarray(), values)
    assert open_source(tmp_path / "b.tif").voxel_size == pytest.approx((8, 3.36, 4))


def test_above_4_gb_it_is_a_bigtiff(volume, tmp_path, monkeypatch):
    monkeypatch.setattr("csc_data.converting.exporting._LARGEST_CLASSIC_TIFF", 1000)
    values, source = volume()
    export_volume(source, choose_grid(source)[0], tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), values)
    assert open_source(tmp_path / "b.tif").voxel_size == pytest.approx((8, 3.36, 4))


def test_ids_beyond_32_bits_have_no_tiff(volume, tmp_path):
    _, source = volume("u8", 2**40)
    with pytest.raises(InvalidArgumentError, match=r"write .h5 or .npy"):
        export_volume(source, choose_grid(source)[0], tmp_path / "b.tif")


@pytest.mark.parametrize("suffix", [".tif", ".h5", ".npy"])
def test_a_killed_run_goes_on_and_no_half_file_has_the_name(volume, tmp_path, suffix):
    values, source = volume()
    grid, path = choose_grid(source)[0], tmp_path / f"b{suffix}"
    reads = []

    def read(box):
        if len(reads) == 2:
            raise KeyboardInterrupt
        reads.append(box)
        return source.read(box)

    with pytest.raises(KeyboardInterrupt):
        export_volume(replace(source, read=read), grid, path)
    assert not path.exists()
    told = []
    export_volume(source, grid, path, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (2, 3)
    np.testing.assert_array_equal(open_source(path).read(tuple(slice(0, n) for n in SHAPE)), values)


def test_a_file_that_is_there_stays_unless_asked_for(volume, tmp_path):
    _, source = volume()
    (tmp_path / "b.tif").write_text("mine")
    with pytest.raises(ExistingOutputError, match="exists; overwrite it"):
        export_volume(source, choose_grid(source)[0], tmp_path / "b.tif")
    assert (tmp_path / "b.tif").read_text() == "mine"
    export_volume(source, choose_grid(source)[0], tmp_path / "b.tif", "overwrite")
    assert open_source(tmp_path / "b.tif").shape == SHAPE
