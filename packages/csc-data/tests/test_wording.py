from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.wording import folded, format_bytes, format_seconds, listed, plural, table


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


CELLS = st.one_of(
    st.integers(-(10**9), 10**9), st.text("ab /-,", max_size=70), st.sampled_from(["-", "jrc_mus-liver/crop1"])
)
TABLES = st.integers(1, 9).flatmap(
    lambda n: st.tuples(
        st.lists(st.text("xy ", max_size=30), min_size=n, max_size=n), st.lists(st.lists(CELLS, min_size=n, max_size=n))
    )
)


@given(TABLES, st.sampled_from(["", "  "]))
def test_a_table_fits_the_terminal_and_loses_nothing(asked, indent):
    headers, rows = asked
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        text = table(headers, rows, indent)
    assert all(len(line) <= 80 for line in text.splitlines())
    for cell in [*headers, *(str(cell) for row in rows for cell in row)]:
        assert not Counter(cell.replace(" ", "")) - Counter(text)


def test_a_long_text_takes_lines_and_what_has_no_room_goes_below(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert table(["class", "voxels", "made of"], [["mito", 7, "mito_mem, mito_lum and mito_ribo"]]).splitlines() == [
        "class  voxels  made of",
        "mito        7  mito_mem, mito_lum and",
        "               mito_ribo",
    ]
    numbers = ["12,345,678", "12,345,678"]
    headers = ["class", "present", "annotated", "of all of them"]
    assert table(headers, [["mito", *numbers, *numbers[:1]]]).splitlines() == [
        "class     present   annotated",
        "mito   12,345,678  12,345,678",
        "class   of all of",
        "             them",
        "mito   12,345,678",
    ]


def test_a_long_value_goes_on_below_itself(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert folded("3d_unet: small\n  source    after Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597") == (
        "3d_unet: small\n"
        "  source    after Ronneberger et al.,\n"
        "            2015,\n"
        "            https://arxiv.org/abs/1505.04597"  # an address stays whole
    )


def test_a_row_is_a_line_where_there_is_no_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert len(table(["class", "made of"], [["mito", "x " * 200]]).splitlines()) == 2
