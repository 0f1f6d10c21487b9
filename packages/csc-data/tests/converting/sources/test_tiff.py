import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csc_data.converting.sources.opening import open_source
from csc_data.errors import InvalidArgumentError, MissingPackageError, UnreadableDataError

VOXELS = np.random.default_rng(0).integers(0, 4000, (5, 40, 70), np.uint16)
FORMS = {
    "plain": {},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "bigtiff": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "strips": {"compression": "zlib", "rowsperstrip": 7},
    "strips, pages apart": {"rowsperstrip": 7, "contiguous": False},
    "tiles": {"tile": (16, 32), "compression": "zlib", "predictor": True},
}


@pytest.fixture(params=FORMS)
def stack(request, tmp_path) -> Path:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, VOXELS, photometric="minisblack", **FORMS[request.param])
    return path


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_box_of_any_form_has_the_voxels_that_were_written(stack, data):
    source = open_source(stack)
    box = []
    for n in VOXELS.shape:
        begin = data.draw(st.integers(0, n - 1))
        box.append(slice(begin, data.draw(st.integers(begin + 1, n))))
    read = source.read(tuple(box))
    assert source.shape == VOXELS.shape
    assert read.dtype == source.dtype == np.uint16
    np.testing.assert_array_equal(read, VOXELS[tuple(box)])


def test_a_folder_of_slices_is_read_in_the_order_of_numbers(tmp_path):
    for z in range(5):
        tifffile.imwrite(tmp_path / f"scan2_{9 + z}.tif", VOXELS[z])
    np.testing.assert_array_equal(open_source(tmp_path).read((slice(0, 5), slice(3, 9), slice(0, 70))), VOXELS[:, 3:9])


def test_missing_slices_are_named_and_close_up_when_asked_to(tmp_path):
    for z in (0, 1, 4):
        tifffile.imwrite(tmp_path / f"{z:03}.tif", VOXELS[z])
    with pytest.raises(InvalidArgumentError, match=r"2 slices .* missing: number 2, 3; .*--close-gaps"):
        open_source(tmp_path)
    source = open_source(tmp_path, gaps=True)
    assert source.shape[0] == 3
    assert "number 2, 3" in source.said[0]


def test_every_second_number_is_no_gap(tmp_path):
    for z in (2, 4, 6):
        tifffile.imwrite(tmp_path / f"{z}.tif", VOXELS[0])
    assert open_source(tmp_path).shape[0] == 3


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"imagej": True, "resolution": (1 / 4, 1 / 3.36), "metadata": {"axes": "ZYX", "spacing": 8, "unit": "nm"}},
         (8, 3.36, 4)),
        ({"imagej": True, "resolution": (250, 250), "metadata": {"axes": "ZYX", "spacing": 0.008, "unit": "micron"}},
         (8, 4, 4)),
        ({"imagej": True, "resolution": (1, 1), "metadata": {"axes": "ZYX", "spacing": 8, "unit": "pixel"}}, None),
        ({"imagej": True, "resolution": (1, 1), "metadata": {"axes": "ZYX", "unit": "nm"}}, None),
        ({"resolution": (250, 250)}, None),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.004, "PhysicalSizeY": 4,
          "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 0.008}}, (8, 4, 4)),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.004, "PhysicalSizeY": 0.004}}, None),
    ],
)  # fmt: skip
def test_a_voxel_size_counts_only_where_all_of_it_is_stated(tmp_path, metadata, expected):
    tifffile.imwrite(tmp_path / "a.tif", VOXELS, photometric="minisblack", **metadata)
    assert open_source(tmp_path / "a.tif").voxel_size == (expected and pytest.approx(expected))


def write_slices(folder, *shapes):
    for number, shape in enumerate(shapes):
        tifffile.imwrite(folder / f"{number}.tif", np.zeros(shape, np.uint8))
    return folder


def write_pages(folder, *shapes):
    with tifffile.TiffWriter(folder / "a.tif") as file:
        for shape in shapes:
            file.write(np.zeros(shape, np.uint8), photometric="minisblack" if len(shape) < 4 else None)
    return folder / "a.tif"


def write_rgb(folder):
    tifffile.imwrite(folder / "a.tif", np.zeros((4, 20, 30, 3), np.uint8), photometric="rgb")
    return folder / "a.tif"


def write_channels(folder):
    tifffile.imwrite(folder / "a.tif", VOXELS[:, None].repeat(2, 1), imagej=True, metadata={"axes": "ZCYX"})
    return folder / "a.tif"


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (write_rgb, "in colour"),
        (write_channels, "axes ZCYX of 5x2x40x70; expected slices of one channel"),
        (lambda folder: write_pages(folder, (20, 30), (20, 31)), "different sizes: 20x30, 20x31"),
        (lambda folder: write_pages(folder, (20, 30)), "expected slices of one channel"),
        (lambda folder: write_slices(folder, (20, 30), (20, 30), (21, 30)), r"0.tif has 20x30 .* 2.tif 21x30"),
        (lambda folder: write_slices(folder, (2, 20, 30)), "has 2 pages; expected a slice in each file"),
        (lambda folder: (folder / "a.tif").write_bytes(b"no TIFF") and folder / "a.tif", "cannot be read as TIFF"),
    ],
)
def test_what_is_no_volume_is_said_in_a_line(tmp_path, write, words):
    with pytest.raises(UnreadableDataError, match=words) as error:
        open_source(write(tmp_path))
    assert "\n" not in str(error.value)


def test_names_without_or_with_the_same_number_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a1.tif", VOXELS[0])
    tifffile.imwrite(tmp_path / "b1.tif", VOXELS[0])
    with pytest.raises(InvalidArgumentError, match=r"a1\.tif and b1\.tif have the same number"):
        open_source(tmp_path)
    (tmp_path / "b1.tif").rename(tmp_path / "b.tif")
    with pytest.raises(InvalidArgumentError, match=r"b\.tif has no number"):
        open_source(tmp_path)


@pytest.mark.parametrize("form", ["strips", "tiles"])
def test_a_damaged_slice_is_named(tmp_path, form):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, VOXELS, photometric="minisblack", **FORMS[form])
    with tifffile.TiffFile(path) as file:
        start = file.pages[2].dataoffsets[0]
    source = open_source(path)
    content = bytearray(path.read_bytes())
    content[start : start + 8] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(UnreadableDataError, match=re.escape(str(path))):
        source.read((slice(0, 5), slice(0, 40), slice(0, 70)))


def test_without_tifffile_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.tif").touch()
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingPackageError, match=r'pip install "csc-data\[convert\]"'):
        open_source(tmp_path / "a.tif")
