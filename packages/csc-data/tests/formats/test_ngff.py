"""What the attributes of groups and arrays say of places in nm, as found in the wild."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from csc_data.errors import MissingDataError, UnreadableDataError
from csc_data.formats.ngff import multiscale_attributes, parse_multiscale, read_multiscale
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid
from csc_data.volumes import open_volume

SCALE = {"type": "scale", "scale": [8, 4, 2]}
SHIFT = {"type": "translation", "translation": [1, 2, 3]}


def group(*steps, axes="zyx", outer=None, units="nanometer", path="s0", version="0.4"):
    """Return the attributes of a group with one level."""
    named = axes if isinstance(axes, list) else [{"name": name, "type": "space", "unit": units} for name in axes]
    entry = {"version": version, "axes": named, "datasets": [{"path": path, "coordinateTransformations": list(steps)}]}
    return {"multiscales": [entry | ({} if outer is None else {"coordinateTransformations": outer})]}


def place(attributes):
    (found,) = parse_multiscale("x", attributes)
    return found.voxel_size, found.translation


@pytest.mark.parametrize(
    ("attributes", "voxel_size", "translation"),
    [
        (group(SCALE, SHIFT), (8, 4, 2), (1, 2, 3)),
        (group(SCALE, SHIFT, units="micrometer"), (8000, 4000, 2000), (1000, 2000, 3000)),
        (group({**SCALE, "scale": [1, 1, 1]}, SHIFT, outer=[{**SCALE, "scale": [8] * 3}]), (8, 8, 8), (8, 16, 24)),
        (group(SCALE, {"type": "identity"}), (8, 4, 2), (0, 0, 0)),
        (group(SHIFT, SCALE), (8, 4, 2), (8, 8, 6)),
        (group(outer=[SCALE]), (8, 4, 2), (0, 0, 0)),
        (group(SCALE, axes=["z", "y", "x"], version="0.3"), (8, 4, 2), (0, 0, 0)),
        (group({**SCALE, "scale": [1, 2, 8, 4, 2]}, axes="tczyx"), (8, 4, 2), (0, 0, 0)),
        (group({**SCALE, "scale": [8, 4, 2, 1]}, axes=["z", "y", "x", "c"]), (8, 4, 2), (0, 0, 0)),
        (group(SCALE, axes=[{"name": name} for name in "zyx"]), (8, 4, 2), (0, 0, 0)),
        ({"ome": {"version": "0.5", **group(SCALE)}}, (8, 4, 2), (0, 0, 0)),
    ],
    ids=lambda value: "" if isinstance(value, dict) else None,
)
def test_units_groups_and_versions_are_understood(attributes, voxel_size, translation):
    assert place(attributes) == (voxel_size, translation)


def test_what_we_write_is_what_we_read():
    grid = Grid(voxel_size=(5.24, 4, 4), translation=(1.1, -2, 3), shape=(3, 4, 5))
    assert place(multiscale_attributes("a", [("s0", grid)])) == (grid.voxel_size, grid.translation)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (group(), "no scale of 's0'"),
        (group(SHIFT), "no scale of 's0'"),
        (group(axes=["z", "y", "x"], version="0.3"), "no scale of 's0'"),
        (group({**SCALE, "scale": [1e300] * 3}, units="meter"), "finite"),
        (group({**SCALE, "scale": [1e200] * 3}, outer=[{**SCALE, "scale": [1e200] * 3}]), "finite"),
        (group({**SCALE, "scale": [8, 4]}), "zip"),
        (group({**SCALE, "scale": [8, 0, 2]}), "above 0"),
        (group({**SCALE, "scale": None}), "three-dimensional"),
        (group({"type": "affine"}), "'affine'"),
        (group({"type": "scale", "path": "elsewhere"}), "there is no 'scale'"),
        (group({"scale": [1, 1, 1]}), "there is no 'type'"),
        (group(SCALE, units="parsec"), "there is no 'parsec' among the units"),
        (group(SCALE, units=["nm"]), "among the units"),
        (group(SCALE, axes="xyz"), "expected z, y, x"),
        (group(SCALE, axes="yx"), "expected z, y, x"),
        (group(SCALE, axes=[1, 2, 3]), "three-dimensional"),
        (group(SCALE, path="../s0"), "outside of itself"),
        (group(SCALE, path="/s0"), "outside of itself"),
        (group(SCALE, path=""), "outside of itself"),
        ({"multiscales": []}, "three-dimensional"),
        ({"multiscales": [{}]}, "there is no 'datasets'"),
        ({"multiscales": {"datasets": 3}}, "three-dimensional"),
        ({"multiscales": [{"datasets": [3]}]}, "three-dimensional"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_understood_is_said_in_our_words(attributes, words):
    with pytest.raises(UnreadableDataError, match=f"^x.*{words}"):
        parse_multiscale("x", attributes)


def test_levels_keep_what_they_state():
    entry = read_multiscale("x", group(SCALE, SHIFT, outer=[SCALE]))
    assert entry.datasets == (("s0", (SCALE, SHIFT)),)
    assert entry.outer == (SCALE,)


def write_group(folder, attributes, shape, chunks, own=None):
    """Write a group with one level that holds 1, 2, 3, ..."""
    data = (np.arange(np.prod(shape)) + 1).reshape(shape).astype("u2")
    create_array(folder / "s0", shape=shape, dtype="u2", chunks=chunks, attributes=own)[...] = data
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(json.dumps(attributes))
    return data


@pytest.mark.parametrize(
    ("axes", "shape", "chunks"),
    [
        ("tczyx", (1, 1, 5, 6, 7), (1, 1, 2, 3, 4)),
        ("czyx", (1, 5, 6, 7), (1, 2, 3, 4)),
        ("zyxc", (5, 6, 7, 1), (2, 3, 4, 1)),
    ],
)
def test_axes_of_length_one_are_left_out(tmp_path, axes, shape, chunks):
    scale = [{"z": 8.0, "y": 4.0, "x": 2.0}.get(axis, 1.0) for axis in axes]
    attributes = group({"type": "scale", "scale": scale}, axes=axes, units=None)
    data = write_group(tmp_path / "g", attributes, shape, chunks).reshape(5, 6, 7)
    (level,) = open_volume(tmp_path / "g").levels
    assert level.grid == Grid(voxel_size=(8, 4, 2), translation=(0, 0, 0), shape=(5, 6, 7))
    assert level.array.chunks == (2, 3, 4)
    np.testing.assert_array_equal(level.array[...], data)
    np.testing.assert_array_equal(level.array[1:4, 2:, 3], data[1:4, 2:, 3])


def test_longer_axes_are_refused_by_name(tmp_path):
    attributes = group({"type": "scale", "scale": [1, 8, 4, 2]}, axes="czyx")
    write_group(tmp_path / "g", attributes, (2, 5, 6, 7), (1, 2, 3, 4))
    with pytest.raises(UnreadableDataError, match=r"s0: its axis 'c' has 2 entries"):
        open_volume(tmp_path / "g")


@pytest.mark.parametrize("steps", [(), (SHIFT,)])
def test_a_level_without_a_scale_may_say_its_own(tmp_path, steps):
    write_group(tmp_path / "g", group(*steps), (2, 2, 2), (2, 2, 2), own={"voxel_size": [8, 4, 2]})
    assert open_volume(tmp_path / "g").levels[0].grid.voxel_size == (8, 4, 2)
    write_group(tmp_path / "h", group(*steps), (2, 2, 2), (2, 2, 2))
    with pytest.raises(UnreadableDataError, match=r"s0 has neither `multiscales` with a scale nor a `voxel_size`"):
        open_volume(tmp_path / "h")


@pytest.mark.parametrize("scale", [1e300, 1e16, float("inf"), float("nan")])
def test_absurd_voxel_sizes_are_refused(tmp_path, scale):
    write_group(tmp_path / "g", group({"type": "scale", "scale": [8, 8, scale]}), (2, 2, 2), (2, 2, 2))
    write_group(tmp_path / "h", {}, (2, 2, 2), (2, 2, 2), own={"voxel_size": [8, 8, scale]})
    for name in ("g", "h", "h/s0"):
        with pytest.raises(UnreadableDataError, match=name):
            open_volume(tmp_path / name)


def write_n5(folder, resolution):
    folder.mkdir(parents=True)
    metadata = {"dimensions": [3, 2, 1], "blockSize": [3, 2, 1], "dataType": "uint8", "compression": {"type": "raw"}}
    (folder / "attributes.json").write_text(json.dumps({**metadata, "resolution": resolution}))
    (folder / "0" / "0").mkdir(parents=True)
    (folder / "0" / "0" / "0").write_bytes(struct.pack(">HH3I", 0, 3, 3, 2, 1) + bytes(range(6)))


def test_a_group_of_n5_needs_no_attributes(tmp_path):
    for name, size in (("s0", 4), ("s1", 8)):
        write_n5(tmp_path / "x.n5" / "em" / name, [size] * 3)
    volume = open_volume(tmp_path / "x.n5" / "em")
    assert [(level.name, level.grid.voxel_size) for level in volume.levels] == [("s0", (4,) * 3), ("s1", (8,) * 3)]
    assert volume.levels[1].array[...].tolist() == [[[0, 1, 2], [3, 4, 5]]]
    with pytest.raises(MissingDataError, match=r"attributes\.json"):
        open_volume(tmp_path / "x.n5")


def test_a_group_of_zarr_without_its_file_is_a_group(tmp_path):
    write_group(tmp_path / "g", {}, (2, 2, 2), (2, 2, 2), own={"voxel_size": [8, 4, 2]})
    for name in (".zgroup", ".zattrs"):
        (tmp_path / "g" / name).unlink()
    assert open_volume(tmp_path / "g").levels[0].name == "s0"


@pytest.mark.parametrize("sizes", [[3, 2, 2], [4, 2, 1], [3, 0, 1], [2**31, 2**31, 2**31]])
def test_a_block_of_n5_that_names_another_size_is_damaged(tmp_path, sizes):
    write_n5(tmp_path / "a.n5", [4, 4, 4])
    content = struct.pack(">HH3I", 0, 3, *sizes) + bytes(6)
    (tmp_path / "a.n5" / "0" / "0" / "0").write_bytes(content)
    with pytest.raises(UnreadableDataError, match=r"0.0.0 is damaged: its header names"):
        open_volume(tmp_path / "a.n5").levels[0].array[...]
