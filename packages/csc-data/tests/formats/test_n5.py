from __future__ import annotations

import gzip
import json
import struct
import warnings

import numpy as np
import pytest
import zarr

from csc_data.errors import MissingDataError, UnreadableDataError
from csc_data.formats.writing import ZARR_3
from csc_data.geometry import Grid
from csc_data.volumes import open_volume


def write_n5(path, data, *, block=(3, 4, 5), attributes=None, compression=None):
    """Write z, y, x data as N5 says: sizes and names x, y, z, big-endian, blocks at the end cut short."""
    path.mkdir(parents=True)
    metadata = {
        "dimensions": list(data.shape[::-1]),
        "blockSize": list(block[::-1]),
        "dataType": data.dtype.name,
        "compression": compression or {"type": "raw"},
        **(attributes or {}),
    }
    (path / "attributes.json").write_text(json.dumps(metadata))
    for index in np.ndindex(*[-(-n // b) for n, b in zip(data.shape, block, strict=True)]):
        part = data[tuple(slice(i * b, (i + 1) * b) for i, b in zip(index, block, strict=True))]
        if not part.any():
            continue
        content = part.astype(part.dtype.newbyteorder(">")).tobytes()
        if compression is not None and compression["type"] == "gzip":
            content = gzip.compress(content)
        file = path.joinpath(*map(str, index[::-1]))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(struct.pack(">HH3I", 0, 3, *part.shape[::-1]) + content)
    return path


@pytest.fixture
def data():
    return np.random.default_rng(0).integers(1, 60_000, (7, 9, 11)).astype("u2")


TRANSFORM = {"axes": ["z", "y", "x"], "scale": [5.24, 4.0, 4.0], "translate": [1.0, 2.0, 3.0], "units": ["nm"] * 3}


@pytest.mark.parametrize("compression", [None, {"type": "gzip", "level": -1}])
def test_arrays_are_read_with_their_axes_turned_round(tmp_path, data, compression):
    path = write_n5(tmp_path / "a.n5" / "s0", data, compression=compression, attributes={"transform": TRANSFORM})
    (level,) = open_volume(path).levels
    assert level.grid == Grid(voxel_size=(5.24, 4, 4), translation=(1, 2, 3), shape=data.shape)
    assert (level.dtype, level.array.chunks) == (np.dtype("u2"), (3, 4, 5))
    np.testing.assert_array_equal(level.array[...], data)
    np.testing.assert_array_equal(open_volume(path).read(level.grid, 0), data)


def test_blocks_that_are_not_stored_are_zeros(tmp_path, data):
    data[:3] = 0
    path = write_n5(tmp_path / "a.n5", data, attributes={"transform": TRANSFORM})
    np.testing.assert_array_equal(open_volume(path).levels[0].array[...], data)


@pytest.mark.skipif(ZARR_3, reason="zarr 3 writes no N5")
@pytest.mark.parametrize("dtype", ["u1", "i4", "f4", "u8", "f8"])
@pytest.mark.parametrize("codec", ["raw", "gzip", "zlib", "bz2", "lzma", "zstd", "blosc"])
def test_what_zarr_2_writes_as_n5_is_read(tmp_path, data, dtype, codec):
    import numcodecs

    compressor = {
        "raw": None,
        "gzip": numcodecs.GZip(1),
        "zlib": numcodecs.Zlib(1),
        "bz2": numcodecs.BZ2(1),
        "lzma": numcodecs.LZMA(preset=1),
        "zstd": numcodecs.Zstd(),
        "blosc": numcodecs.Blosc(),
    }[codec]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr 2 says that N5 leaves it
        store = zarr.N5FSStore(str(tmp_path / "a.n5"))
        group = zarr.open_group(store, mode="w")
        array = group.create_dataset(
            "s0", data=data.astype(dtype), chunks=(3, 4, 5), compressor=compressor, dtype=dtype
        )
        array.attrs["transform"] = TRANSFORM
    (level,) = open_volume(tmp_path / "a.n5" / "s0").levels
    assert level.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(level.array[...], data.astype(dtype))
    assert level.grid.voxel_size == (5.24, 4.0, 4.0)


def test_a_cosem_group_names_its_levels(tmp_path, data):
    group = tmp_path / "jrc.n5" / "em" / "fibsem-uint16"
    entries = []
    for number in (1, 0):
        scale, shift = [8 * 2**number] * 3, [4 * (2**number - 1)] * 3
        transform = {**TRANSFORM, "scale": scale, "translate": shift}
        write_n5(group / f"s{number}", data[:: 2**number, :: 2**number, :: 2**number])
        entries.append({"path": f"s{number}", "transform": transform})
    (group / "attributes.json").write_text(json.dumps({"multiscales": [{"name": "x", "datasets": entries}], "a": 1}))
    volume = open_volume(group)
    assert [level.name for level in volume.levels] == ["s0", "s1"]
    assert volume.levels[1].grid == Grid(voxel_size=(16, 16, 16), translation=(4, 4, 4), shape=(4, 5, 6))
    assert volume.attributes["a"] == 1
    assert open_volume(group / "s1").levels[0].grid == volume.levels[1].grid


@pytest.mark.parametrize("where", ["array", "group", "scales"])
def test_a_group_of_n5_viewer_gives_the_finest_resolution_and_factors(tmp_path, data, where):
    """Its sizes are x, y, z; merged voxels have their centre in the middle of what they merge."""
    group = tmp_path / "x.n5"
    resolution = {"pixelResolution": {"unit": "um", "dimensions": [0.004, 0.005, 0.006]}}
    for number, factors in enumerate(([1, 1, 1], [2, 2, 1])):
        own = {} if where == "scales" else {"downsamplingFactors": factors}
        own |= resolution if where == "array" else {}
        write_n5(group / f"s{number}", data, attributes=own)
    above = {"scales": [[1, 1, 1], [2, 2, 1]]} if where == "scales" else {}
    above |= {} if where == "array" else resolution
    (group / "attributes.json").write_text(json.dumps({"n5": "2.0.0", **above}))
    fine, coarse = open_volume(group).levels
    assert fine.grid.voxel_size == pytest.approx((6, 5, 4))
    assert fine.grid.translation == (0, 0, 0)
    assert coarse.grid.voxel_size == pytest.approx((6, 10, 8))
    assert coarse.grid.translation == pytest.approx((0, 2.5, 2))
    assert open_volume(group / "s1").levels[0].grid == coarse.grid


def test_resolution_and_offset_are_x_y_z_and_voxel_size_is_z_y_x(tmp_path, data):
    path = write_n5(tmp_path / "a.n5", data, attributes={"resolution": [4, 5, 6], "offset": [1, 2, 3]})
    assert open_volume(path).levels[0].grid == Grid(voxel_size=(6, 5, 4), translation=(3, 2, 1), shape=data.shape)
    path = write_n5(tmp_path / "b.n5", data, attributes={"voxel_size": [4, 5, 6], "translation": [1, 2, 3]})
    assert open_volume(path).levels[0].grid == Grid(voxel_size=(4, 5, 6), translation=(1, 2, 3), shape=data.shape)


def test_axes_are_taken_by_name(tmp_path, data):
    transform = {"axes": ["x", "y", "z"], "scale": [1, 2, 3], "translate": [4, 5, 6], "units": ["um", "nm", "nm"]}
    path = write_n5(tmp_path / "a.n5", data, attributes={"transform": transform})
    assert open_volume(path).levels[0].grid == Grid(voxel_size=(3, 2, 1000), translation=(6, 5, 4000), shape=data.shape)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({}, "voxel_size"),
        ({"transform": {**TRANSFORM, "axes": ["t", "y", "x"]}}, "no grid"),
        ({"transform": {**TRANSFORM, "units": ["px"] * 3}}, "no grid: there is no 'px'"),
        ({"transform": {**TRANSFORM, "scale": [1, 1]}}, "no grid"),
        ({"transform": {"axes": ["z", "y", "x"]}}, "no grid: there is no 'scale'"),
        ({"transform": [1, 2, 3]}, "no grid"),
        ({"pixelResolution": [1, 2]}, "no grid"),
        ({"resolution": [1, 2, 0]}, "no grid"),
        ({"transform": TRANSFORM, "compression": {"type": "lz4"}}, "compression 'lz4'"),
        ({"transform": TRANSFORM, "compression": "gzip"}, "damaged or not supported"),
        ({"transform": TRANSFORM, "dataType": "object"}, "dataType 'object'"),
        ({"transform": TRANSFORM, "blockSize": [1, 2]}, "sizes"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, data, attributes, words):
    path = write_n5(tmp_path / "a.n5", data, attributes=attributes)
    with pytest.raises(UnreadableDataError, match=words):
        open_volume(path)


def test_groups_without_arrays_and_places_without_anything_are_errors(tmp_path, data):
    (tmp_path / "a.n5").mkdir()
    with pytest.raises(MissingDataError, match=r"attributes\.json"):
        open_volume(tmp_path / "a.n5")
    (tmp_path / "a.n5" / "attributes.json").write_text('{"n5": "2.0.0"}')
    with pytest.raises(UnreadableDataError, match="without arrays"):
        open_volume(tmp_path / "a.n5")
    (tmp_path / "a.n5" / "attributes.json").write_text('{"multiscales": [{"datasets": [{"path": "s7"}]}]}')
    with pytest.raises(UnreadableDataError, match="not there: s7"):
        open_volume(tmp_path / "a.n5")
    (tmp_path / "a.n5" / "attributes.json").write_text('{"multiscales": [{}]}')
    with pytest.raises(UnreadableDataError, match="name no datasets"):
        open_volume(tmp_path / "a.n5")


@pytest.mark.parametrize(
    "content", [b"", b"\0\1\0\3", b"\0\0\0\2" + b"\0" * 12, b"\0\0\0\3" + b"\0\0\0\2" * 3 + b"abc"]
)
def test_a_damaged_block_is_named(tmp_path, data, content):
    path = write_n5(tmp_path / "a.n5", data, attributes={"transform": TRANSFORM})
    (path / "0" / "1" / "2").write_bytes(content)
    volume = open_volume(path)
    assert volume.levels[0].array[:3].any()
    with pytest.raises(UnreadableDataError, match=r"0.1.2 is damaged"):
        volume.read(volume.levels[0].grid, 0)
