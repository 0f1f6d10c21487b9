import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.wording import format_bytes, format_seconds, listed, plural, table


def test_a_column_of_numbers_stands_right_and_words_left():
    lines = table(["crop", "voxels", ""], [["crop1", "1,000", "there"], ["2", "-", ""]]).splitlines()
    assert lines == ["crop   voxels", "crop1   1,000  there", "2           -"]


def test_a_table_without_rows_is_its_header():
    assert table(["crop", "voxels"], [], indent="  ") == "  crop  voxels"


def test_rows_of_another_length_than_the_header_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        table(["crop", "voxels"], [["crop1"]])


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (37_000_000_000, "37.0 GB"), (10**15, "1000.0 TB")],
)
def test_bytes_are_written_in_the_unit_that_fits(value, words):
    assert format_bytes(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3600, "1 h 0 min"), (90_000, "25 h 0 min")]
)
def test_durations_never_show_sixty_of_a_unit(seconds, words):
    assert format_seconds(seconds) == words


@given(st.lists(st.integers(), max_size=30), st.integers(1, 30))
def test_a_list_tells_of_every_name(names, most):
    shown, _, more = listed(names, most).partition(" and ")
    count = len([part for part in shown.split(", ") if part])
    assert count + (int(more.removesuffix(" more")) if more else 0) == len(names)


def test_counts_of_numpy_are_written_like_others():
    assert plural(np.int64(1), "box") == "1 box"
    assert plural(np.int64(2), "box") == "2 boxes"
