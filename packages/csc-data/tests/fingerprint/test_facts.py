import pytest

from csc_data.fingerprint import DatasetFacts, Fingerprint, Spread


@pytest.fixture
def native_of():
    """Return the native voxel size of data sets, each (volume, raw's voxel size, that of labels)."""

    def native(*described):
        datasets = tuple(
            DatasetFacts(
                name=str(number),
                crops=1,
                annotated_nm3=volume,
                raw_voxel_size=raw,
                label_voxel_size=labels,
                grey=Spread.of([1.0]),
            )
            for number, (volume, raw, labels) in enumerate(described)
        )
        extent = Spread.of([1.0])
        return Fingerprint(
            classes={}, datasets=datasets, validation_crops=0, crop_extent_nm=extent, looked_at=""
        ).native_voxel_size

    return native


def test_half_of_the_volume_decides(native_of):
    fine, coarse = ((4.0, 4.0, 4.0),) * 2, ((8.0, 8.0, 8.0),) * 2
    assert native_of((3.0, *coarse), (1.0, *fine)) == (8, 8, 8)
    assert native_of((1.0, *coarse), (3.0, *fine)) == (4, 4, 4)


def test_labels_that_are_finer_than_raw_do_not_count_as_fine(native_of):
    assert native_of((1.0, (5.24, 4.0, 4.0), (2.0, 2.0, 2.0))) == (5.24, 4, 4)
    assert native_of((1.0, (4.0, 4.0, 4.0), (8.0, 8.0, 8.0))) == (8, 8, 8)


def test_percentiles_are_of_all_values():
    found = Spread.of([float(number) for number in range(101)])
    assert (found.p5, found.median, found.p75, found.p95) == (5, 50, 75, 95)
