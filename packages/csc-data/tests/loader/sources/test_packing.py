"""All classes in one array of numbers give back each class."""

import numpy as np
import pytest

from csc_data.loader.sources.packing import pack_labels
from csc_data.volumes.annotation_values import ABSENT, PRESENT, UNKNOWN


@pytest.mark.parametrize(("classes", "dtype"), [(1, np.uint8), (4, np.uint8), (6, np.uint16), (9, np.uint16)])
def test_every_class_comes_back_whatever_the_number_of_combinations(classes, dtype):
    shape = (20, 30, 40)
    rng = np.random.default_rng(1)
    codes = [rng.choice(np.array([ABSENT, PRESENT, UNKNOWN], np.uint8), shape) for _ in range(classes)]
    packed = pack_labels(iter(codes), shape)
    assert packed is not None
    assert packed.numbers.dtype == dtype
    targets = {ABSENT: 0.0, PRESENT: 1.0, UNKNOWN: np.nan}
    for channel, own in enumerate(codes):
        np.testing.assert_array_equal(packed.codes[channel][packed.numbers], own)
        expected = np.vectorize(targets.get, otypes=[np.float32])(own)
        np.testing.assert_array_equal(packed.values[channel][packed.numbers], expected)
    # What lies beyond the annotation.
    assert (packed.codes[:, -1] == UNKNOWN).all()
    assert np.isnan(packed.values[:, -1]).all()


def test_more_combinations_than_numbers_are_not_packed():
    shape = (45, 45, 45)
    bits = np.arange(45**3).reshape(shape)
    codes = [((bits >> bit) & 1).astype(np.uint8) for bit in range(17)]
    assert pack_labels(iter(codes), shape) is None
    assert pack_labels(iter(codes[:16]), shape) is None  # 65,536 of them, one more than there are numbers
