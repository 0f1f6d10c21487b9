import numpy as np
import pytest

from csc_data.fingerprint.objects import bulk_volume_nm3, diameters_nm, measure_objects, measure_thickness

SIZE = (40, 40, 40)


def ball(radius, centre=(20, 20, 20), voxel_size=(1, 1, 1)):
    offsets = [(i - c) * v for i, c, v in zip(np.indices(SIZE), centre, voxel_size, strict=True)]
    return sum(o**2 for o in offsets) <= radius**2


def test_the_diameter_of_a_ball_is_found_whatever_the_voxels():
    for voxel_size in ((1, 1, 1), (4, 2, 2)):
        found = measure_objects(ball(15, voxel_size=voxel_size), voxel_size)
        assert diameters_nm(found.volume_nm3) == pytest.approx([30], rel=0.03)
        assert not found.is_cut.any()


def test_ids_that_touch_are_objects_of_their_own_and_a_mask_is_divided():
    ids = np.zeros((4, 4, 8), dtype=np.uint16)
    ids[1:3, 1:3, 1:4], ids[1:3, 1:3, 4:6] = 7, 900
    assert sorted(measure_objects(ids, (2, 1, 1)).volume_nm3) == [16, 24]
    assert measure_objects(ids > 0, (2, 1, 1)).volume_nm3.tolist() == [40]
    ids[ids == 900] = 0
    ids[1, 1, 6] = 7
    assert sorted(measure_objects(ids, (1, 1, 1)).volume_nm3) == [1, 12]  # one id alone is a mask


def test_objects_at_the_border_are_cut():
    labels = np.zeros((6, 6, 6), dtype=np.uint8)
    labels[0, 2, 2], labels[3, 3, 3], labels[2, 2, 5] = 1, 2, 3
    assert measure_objects(labels, (1, 1, 1)).is_cut.tolist() == [True, False, True]


def test_ids_without_background_are_all_objects():
    labels = np.repeat(np.array([3, 5], dtype=np.uint8), 4).reshape(2, 2, 2)
    assert measure_objects(labels, (1, 1, 1)).volume_nm3.tolist() == [4, 4]


@pytest.mark.parametrize("width", [1, 3, 5])
def test_a_sheet_is_as_thick_as_it_is(width):
    sheet = np.zeros(SIZE, dtype=bool)
    sheet[10 : 10 + width] = True
    assert measure_thickness(sheet, (8, 8, 8)) == 8 * width


def test_a_shell_is_thin_and_its_ball_is_not():
    solid = ball(15)
    shell = solid & ~ball(12)
    assert measure_thickness(shell, (1, 1, 1)) < 5
    assert measure_thickness(solid, (1, 1, 1)) > 15


def test_what_has_no_surface_has_no_thickness():
    assert measure_thickness(np.zeros(SIZE, dtype=bool), (1, 1, 1)) is None
    assert measure_thickness(np.ones(SIZE, dtype=bool), (1, 1, 1)) is None


def test_specks_do_not_make_the_bulk():
    assert bulk_volume_nm3(np.array([1.0] * 50 + [1000.0, 2000.0])) == 2000
    assert bulk_volume_nm3(np.array([])) == 0
