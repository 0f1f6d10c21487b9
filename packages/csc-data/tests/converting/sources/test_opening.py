import json
import sys

import h5py
import numpy as np
import pytest

from csc_data.converting.sources.opening import open_source
from csc_data.errors import InvalidArgumentError, MissingDataError, MissingPackageError, UnreadableDataError
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid
from csc_data.volumes import write_multiscale

VOXELS = np.arange(6 * 20 * 30, dtype=np.uint16).reshape(6, 20, 30)
BOX = (slice(1, 4), slice(3, 20), slice(5, 6))
GRID = Grid(voxel_size=(8, 4, 4), translation=(80, 0, 4), shape=VOXELS.shape)


def write_hdf5(path, arrays, **attributes):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values).attrs.update(attributes)
    return path


def write_n5(path, **attributes):
    path.mkdir()
    form = {"dimensions": [30, 20, 6], "blockSize": [30, 20, 6], "dataType": "uint16", "compression": {"type": "raw"}}
    (path / "attributes.json").write_text(json.dumps({**form, **attributes}))
    (path / "0" / "0").mkdir(parents=True)
    header = np.array([0, 3], ">u2").tobytes() + np.array([30, 20, 6], ">u4").tobytes()
    (path / "0" / "0" / "0").write_bytes(header + VOXELS.astype(">u2").tobytes())
    return path


def write_array(path, **attributes):
    create_array(path, shape=VOXELS.shape, dtype="u2", chunks=(4, 16, 16), attributes=attributes)[...] = VOXELS
    return path


def npz(path):
    np.savez_compressed(path, a=VOXELS)
    return path


def npy(path, values=VOXELS):
    np.save(path, values)
    return path


@pytest.mark.parametrize(
    ("write", "size"),
    [
        (lambda f: write_hdf5(f / "a.h5", {"x/raw": VOXELS}), None),
        (lambda f: write_hdf5(f / "a.h5", {"raw": VOXELS[None]}, resolution=(8, 4, 4)), (8, 4, 4)),
        (lambda f: write_hdf5(f / "a.hdf5", {"raw": VOXELS}, element_size_um=(0.008, 0.004, 0.004)), (8, 4, 4)),
        (lambda f: npy(f / "a.npy"), None),
        (lambda f: npy(f / "a.npy", np.asfortranarray(VOXELS)[..., None]), None),
        (lambda f: npz(f / "a.npz"), None),
        (lambda f: write_n5(f / "a.n5", resolution=[4, 4, 8]), (8, 4, 4)),
        (lambda f: write_array(f / "a.zarr" / "raw", voxel_size=[8, 4, 4]), (8, 4, 4)),
        (lambda f: write_array(f / "a.zarr" / "raw").parent, None),
        (lambda f: write_multiscale(f / "a.zarr", [VOXELS], [GRID]) or f / "a.zarr", (8, 4, 4)),
    ],
)
def test_all_files_give_the_voxels_and_the_voxel_size_that_they_state(tmp_path, write, size):
    source = open_source(write(tmp_path))
    assert (source.shape, source.voxel_size) == (VOXELS.shape, size and pytest.approx(size))
    np.testing.assert_array_equal(source.read(BOX), VOXELS[BOX])


def test_an_n5_without_voxel_size_is_read_where_that_is_known(tmp_path):
    path = write_n5(tmp_path / "a.n5")
    with pytest.raises(UnreadableDataError):
        open_source(path)
    np.testing.assert_array_equal(open_source(path, known=True).read(BOX), VOXELS[BOX])


def test_of_several_arrays_one_must_be_chosen(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", {"raw": VOXELS, "labels/mito": VOXELS + 1})
    with pytest.raises(InvalidArgumentError, match="holds labels/mito, raw; say which by --array"):
        open_source(path)
    with pytest.raises(InvalidArgumentError, match="there is no 'er'"):
        open_source(path, "er")
    np.testing.assert_array_equal(open_source(path, "labels/mito").read(BOX), VOXELS[BOX] + 1)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda f: npy(f / "a.npy", VOXELS[0]), "expected three axes"),
        (lambda f: npy(f / "a.npy", np.stack([VOXELS] * 2)), "each channel or time"),
        (lambda f: npy(f / "a.npy", np.stack([VOXELS] * 3, axis=-1)), "in colour"),
        (lambda f: npy(f / "a.npy", np.zeros((200, 200, 3), np.uint8)), "in colour"),
        (lambda f: npy(f / "a.npy", VOXELS[:0]), "no voxels"),
        (lambda f: npy(f / "a.npy", VOXELS.astype(complex)), "expected numbers"),
        (lambda f: (f / "a.npy").write_bytes(b"x") and f / "a.npy", "cannot be read as a file of numpy"),
        (lambda f: (f / "a.npz").write_bytes(b"PK") and f / "a.npz", "cannot be read as a file of numpy"),
        (lambda f: (f / "a.h5").write_bytes(b"x") and f / "a.h5", "cannot be read as HDF5"),
    ],
)
def test_what_is_no_volume_is_said(tmp_path, write, words):
    with pytest.raises(UnreadableDataError, match=words):
        open_source(write(tmp_path))


def test_unknown_names_and_missing_files_are_said(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(InvalidArgumentError, match=r"a\.png is not known by its name"):
        open_source(tmp_path / "a.png")
    with pytest.raises(MissingDataError, match="there is no"):
        open_source(tmp_path / "b.tif")


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    path = write_hdf5(tmp_path / "a.h5", {"raw": VOXELS})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingPackageError, match=r'pip install "csc-data\[convert\]"'):
        open_source(path)
