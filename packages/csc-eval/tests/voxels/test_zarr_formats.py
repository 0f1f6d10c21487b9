"""Arrays that zarr itself wrote, in both formats and with every codec that is read."""

import numpy as np
import pytest

import csc_eval
from csc_data.storage.stores.places import FolderStore
from csc_eval.voxels.arrays import open_stored

zarr = pytest.importorskip("zarr")
ZARR_3 = int(zarr.__version__.split(".")[0]) >= 3

PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}


@pytest.fixture
def volume():
    values = np.zeros((20, 30, 25), np.uint16)
    values[3:9, 4:12, 5:14] = 700
    values[12:18, 15:28, 3:20] = 65535
    return values


def read(folder, name, shape):
    return open_stored(FolderStore(folder), name)[0].read((0, 0, 0), shape)


@pytest.mark.skipif(ZARR_3, reason="written by zarr 2")
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("codec", ["Blosc", "Zstd", "LZ4", "Zlib", "GZip", "BZ2", "LZMA", None])
def test_what_zarr_2_writes(codec, order, volume, tmp_path):
    import numcodecs

    compressor = None if codec is None else getattr(numcodecs, codec)()
    group = zarr.open_group(str(tmp_path / "s.zarr"), mode="w")
    group.create_dataset("mito", data=volume, chunks=(7, 16, 10), compressor=compressor, order=order)
    np.testing.assert_array_equal(read(tmp_path / "s.zarr", "mito", volume.shape), volume)


@pytest.mark.skipif(not ZARR_3, reason="needs zarr 3")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("codec", ["blosc", "zstd", "gzip", "none"])
def test_what_zarr_3_writes(zarr_format, codec, volume, tmp_path):
    compressors = {"none": None}
    if zarr_format == 3:
        compressors |= {
            "blosc": zarr.codecs.BloscCodec(),
            "zstd": zarr.codecs.ZstdCodec(),
            "gzip": zarr.codecs.GzipCodec(),
        }
    else:
        import numcodecs

        compressors |= {"blosc": numcodecs.Blosc(), "zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip()}
    array = zarr.create_array(
        str(tmp_path / "s.zarr/crop1/mito"), shape=volume.shape, dtype=volume.dtype, chunks=(7, 16, 10),
        zarr_format=zarr_format, compressors=compressors[codec], fill_value=0, attributes=PLACE,
    )  # fmt: skip
    array[:] = volume
    np.testing.assert_array_equal(read(tmp_path / "s.zarr", "crop1/mito", volume.shape), volume)
    result = csc_eval.score_submission(tmp_path / "s.zarr", tmp_path / "s.zarr")
    assert result.crops["crop1"]["mito"].tp == 2
    assert result.crops["crop1"]["mito"].voxel_size == (8.0, 8.0, 8.0)


@pytest.mark.skipif(not ZARR_3, reason="needs zarr 3")
def test_a_multiscale_group_of_format_3(volume, tmp_path):
    steps = [{"type": "scale", "scale": [8.0] * 3}, {"type": "translation", "translation": [0.0] * 3}]
    multiscales = [{"version": "0.5", "datasets": [{"path": "s0", "coordinateTransformations": steps}]}]
    for attributes in ({"ome": {"multiscales": multiscales}}, {"multiscales": multiscales}):
        name = f"v{len(attributes)}{'ome' in attributes}"
        group = zarr.create_group(str(tmp_path / name / "crop1/mito"), zarr_format=3, attributes=attributes)
        group.create_array("s0", shape=volume.shape, dtype=volume.dtype, chunks=(16, 16, 16))[:] = volume
        found = csc_eval.match_crop_space(tmp_path / name / "crop1/mito", "mito", (8,) * 3, volume.shape, (0,) * 3)
        np.testing.assert_array_equal(found, volume)


@pytest.mark.skipif(not ZARR_3, reason="needs zarr 3")
def test_sharded_arrays_are_named_as_not_readable(volume, tmp_path):
    for name, root in (("t", 2), ("s", 3)):
        options = {"shards": (16, 16, 16)} if root == 3 else {}
        zarr.create_array(
            str(tmp_path / f"{name}.zarr/crop1/mito"), shape=volume.shape, dtype=volume.dtype, chunks=(8, 8, 8),
            zarr_format=root, attributes=PLACE, **options,
        )[:] = volume  # fmt: skip
    result = csc_eval.score_submission(tmp_path / "s.zarr", tmp_path / "t.zarr")
    assert "sharding_indexed" in result.failures["crop1", "mito"]
