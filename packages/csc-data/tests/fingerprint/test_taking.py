"""The fingerprint of crops whose content is known: balls and sheets in a few small volumes."""

import subprocess
import sys

import numpy as np
import pytest

from csc_data.errors import InvalidArgumentError, MissingDataError, ProblemsError
from csc_data.fingerprint import take_fingerprint
from csc_data.fingerprint.reading import look_at, overview_grid
from csc_data.geometry import Grid
from csc_data.splits.annotations import open_crop
from csc_data.splits.split_file import SplitRow
from csc_data.volumes import open_volume, write_multiscale

ENCODING = {"cellmap": {"annotation": {"annotation_type": {"encoding": {"absent": 0, "unknown": 255}}}}}


def write_crop(root, name, labels, voxel_size, *, usage="train", dataset="d", attributes=None):
    """Write a crop and raw of the same grid; return its row."""
    shape = next(iter(labels.values())).shape
    grid = Grid(voxel_size=voxel_size, translation=(4, 4, 4), shape=shape)
    folder = root / f"{dataset}.zarr" / "labels" / name
    for class_name, values in labels.items():
        write_multiscale(folder / class_name, [values], [grid], chunks=(32, 32, 32), attributes=attributes)
    raw = root / f"{dataset}.zarr" / name
    write_multiscale(raw, [np.full(shape, 90 if usage == "train" else 200, np.uint8)], [grid])
    return SplitRow(usage=usage, raw=str(raw), labels=str(folder), classes=tuple(labels))


def balls(size, radius, count):
    """Return ids of balls in a row along x, none at the border."""
    z, y, x = np.indices((size, size, size))
    ids = np.zeros((size, size, size), dtype=np.uint16)
    for number in range(count):
        centre = (number + 0.5) * size / count
        ids[(z - size // 2) ** 2 + (y - size // 2) ** 2 + (x - centre) ** 2 <= radius**2] = number + 1
    return ids


@pytest.fixture
def rows(tmp_path):
    sheet = np.zeros((48, 48, 48), dtype=np.uint8)
    sheet[20:23] = 1
    half = sheet.copy()
    half[24:] = 255
    return [
        write_crop(tmp_path, "crop1", {"mito": balls(48, 5, 4), "er_mem": sheet}, (8, 8, 8)),
        write_crop(tmp_path, "crop2", {"er_mem": half}, (8, 8, 8), attributes=ENCODING),
        write_crop(tmp_path, "crop3", {"mito": np.zeros((24, 24, 24), np.uint8)}, (4, 4, 4), dataset="fine"),
        write_crop(tmp_path, "crop4", {"mito": balls(48, 9, 1)}, (8, 8, 8), usage="validate"),
    ]


def test_sizes_shares_and_voxel_sizes_are_those_of_the_crops(rows):
    seen = []
    found = take_fingerprint(rows, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    mito, sheet = found.of(["mito", "er_mem"])
    assert (mito.crops, mito.crops_present, mito.objects) == (2, 1, 4)
    assert mito.diameter_nm.median == pytest.approx(80, rel=0.05)
    assert mito.known_nm3 == pytest.approx(48**3 * 512 + 24**3 * 64)
    assert mito.present_nm3 == pytest.approx(4 * 4 / 3 * np.pi * 40**3, rel=0.1)
    assert sheet.thickness_nm == 24
    # What nobody knows is not counted: half of the second crop.
    assert sheet.known_nm3 == pytest.approx(1.5 * 48**3 * 512)
    assert sheet.share == pytest.approx(2 * 3 / 72)
    assert (found.crops, found.validation_crops) == (3, 1)
    assert found.native_voxel_size == (8, 8, 8)
    assert {dataset.name: dataset.label_voxel_size for dataset in found.datasets} == {
        "d": (8, 8, 8), "fine": (4, 4, 4)
    }  # fmt: skip
    assert {dataset.grey.median for dataset in found.datasets} == {90}  # not that of the crop that validates
    assert found.annotated_nm3 == pytest.approx(2 * 48**3 * 512 + 24**3 * 64)


def test_small_objects_are_those_of_the_crop_that_has_the_smallest_and_crumbs_are_none(tmp_path):
    rows = [write_crop(tmp_path, f"crop{radius}", {"ves": balls(72, radius, 6)}, (8, 8, 8)) for radius in (5, 3, 4)]
    crumbs = balls(72, 5, 6)
    crumbs[0, :4, :4:2] = np.arange(100, 104)[:, None] + 8 * np.arange(2)
    rows.append(write_crop(tmp_path, "crop9", {"ves": np.roll(crumbs, 4, 0)}, (8, 8, 8)))
    small = take_fingerprint(rows, ["ves"]).classes["ves"].small_nm
    assert small == pytest.approx(48, rel=0.05)
    rows = [write_crop(tmp_path, "few", {"ves": balls(48, 5, 4)}, (8, 8, 8))]
    assert take_fingerprint(rows, ["ves"]).classes["ves"].small_nm is None


def test_a_coarser_look_finds_about_the_same_in_less_memory(rows):
    fine, coarse = take_fingerprint(rows), take_fingerprint(rows, most_voxels=24**3)
    assert coarse.classes["mito"].diameter_nm.median == pytest.approx(fine.classes["mito"].diameter_nm.median, rel=0.1)
    assert coarse.classes["mito"].known_nm3 == pytest.approx(fine.classes["mito"].known_nm3)
    assert coarse.classes["er_mem"].thickness_nm == 24  # measured finely all the same
    assert "16 nm" in coarse.looked_at


def test_no_more_voxels_are_held_than_allowed_and_stored_levels_go_first(tmp_path):
    labels = balls(32, 5, 2)
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(32, 32, 32))
    row = write_crop(tmp_path, "crop1", {"mito": labels}, (8, 8, 8))
    volume = open_volume(f"{row.labels}/mito")
    assert overview_grid(volume, 32**3) == grid
    for most in (20**3, 1000, 1):
        assert overview_grid(volume, most).size <= most
    view = look_at(open_crop(row, ["mito"]), "mito", 16**3)
    assert view.voxel_size == (16, 16, 16)
    assert len(view.objects.volume_nm3) == 2


def test_parts_make_a_class_that_has_no_array_of_its_own(tmp_path):
    sheet = np.zeros((16, 16, 16), dtype=np.uint8)
    parts = {}
    for number, name in enumerate(("mito_mem", "mito_lum", "mito_ribo")):
        parts[name] = sheet.copy()
        parts[name][4 + number] = 1
    row = write_crop(tmp_path, "crop1", parts, (8, 8, 8))
    facts = take_fingerprint([row], ["mito"]).classes["mito"]
    assert facts.present_nm3 == 3 * 16 * 16 * 512
    assert facts.thickness_nm == 24


def test_without_crops_or_annotation_the_error_says_so(rows):
    with pytest.raises(MissingDataError, match="no crop that trains"):
        take_fingerprint([row for row in rows if row.usage == "validate"])
    with pytest.raises(ProblemsError, match="nobody annotated it") as error:
        take_fingerprint(rows, ["mito", "golgi", "nuc"])
    assert [problem.where for problem in error.value.problems] == ["golgi", "nuc"]
    with pytest.raises(InvalidArgumentError, match="most_voxels"):
        take_fingerprint(rows, most_voxels=0)
    with pytest.raises(InvalidArgumentError, match="take it with these classes"):
        take_fingerprint(rows).of(["nuc"])


def test_it_needs_no_torch():
    code = "import sys, csc_data.fingerprint; sys.exit(bool({'torch', 'numba', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
