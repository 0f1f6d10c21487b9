from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.errors import MissingDataError, ProblemsError
from csc_data.splits.split_file import SplitRow, read_datasplit, split_store, write_datasplit

ROW = SplitRow(
    usage="train",
    raw="d/x/x.zarr/recon-1/em/fibsem-uint8",
    labels="d/x/x.zarr/recon-1/labels/groundtruth/crop234",
    classes=("nuc", "er"),
)
FIVE = '"train","d/x/x.zarr","recon-1/em/fibsem-uint8","d/x/x.zarr","recon-1/labels/groundtruth/crop234/[nuc,er]"\n'


def read(tmp_path: Path, text: str) -> tuple[SplitRow, ...]:
    (tmp_path / "split.csv").write_text(text, encoding="utf-8")
    return read_datasplit(tmp_path / "split.csv")


@pytest.mark.parametrize(
    "text",
    [
        FIVE,
        'train,d/x/x.zarr/recon-1/em/fibsem-uint8,"d/x/x.zarr/recon-1/labels/groundtruth/crop234/[nuc, er]"\n',
        "raw,label,usage\nd/x/x.zarr/recon-1/em/fibsem-uint8,"
        '"d/x/x.zarr/recon-1/labels/groundtruth/crop234/[nuc,er]",train\n',
        "Usage,Truth,Raw\ntrain,"
        '"d/x/x.zarr/recon-1/labels/groundtruth/crop234/[nuc,er]",d/x/x.zarr/recon-1/em/fibsem-uint8\n',
        "\ufeff" + FIVE + "\n  \n",
    ],
    ids=["five", "three", "header", "other header", "byte order mark"],
)
def test_all_forms_give_the_same_row(tmp_path, text):
    assert read(tmp_path, text) == (ROW,)


def test_the_written_form_is_the_one_of_the_challenge(tmp_path):
    write_datasplit(tmp_path / "deep" / "split.csv", [ROW])
    assert (tmp_path / "deep" / "split.csv").read_text() == FIVE
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["split.csv"]


names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
inner = st.lists(names, max_size=3).map("/".join)


@given(
    st.lists(
        st.builds(
            lambda usage, prefix, store, raw, labels, classes: SplitRow(
                usage=usage,
                raw=f"{prefix}{store}.zarr" + (f"/{raw}" if raw else ""),
                labels=f"{prefix}{store}.zarr" + (f"/{labels}" if labels else ""),
                classes=tuple(classes),
            ),
            st.sampled_from(["train", "validate"]),
            st.sampled_from(["", "data/", "/absolute/", "s3://bucket/", "a folder, with a comma/"]),
            names,
            inner,
            inner,
            st.lists(names, min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("split") / "split.csv"
    write_datasplit(file, rows)
    assert read_datasplit(file) == tuple(rows)


def test_rows_know_their_crop_and_data_set():
    assert (ROW.crop, ROW.dataset) == ("crop234", "x")


def test_a_single_label_path_names_its_class(tmp_path):
    (row,) = read(tmp_path, "validate,a.zarr/raw,a.zarr/labels/crop1/mito\n")
    assert (row.usage, row.labels, row.classes) == ("validate", "a.zarr/labels/crop1", ("mito",))


def test_a_volume_named_raw_is_no_header(tmp_path):
    (row,) = read(tmp_path, '"train","a.zarr","raw","a.zarr","crop1/[mito]"\n')
    assert row.raw == str(Path("a.zarr", "raw"))


def test_paths_beside_the_file_are_found_from_any_working_folder(tmp_path, monkeypatch):
    (tmp_path / "data" / "a.zarr" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "a.zarr" / "crop1").mkdir()
    text = "train,a.zarr/raw,a.zarr/crop1/[mito]\ntrain,b.zarr/raw,b.zarr/crop1/[mito]\n"
    (tmp_path / "data" / "split.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    beside, elsewhere = read_datasplit("data/split.csv")
    assert Path(beside.raw) == Path("data/a.zarr/raw")
    assert Path(beside.labels) == Path("data/a.zarr/crop1")
    assert elsewhere.raw == "b.zarr/raw"


@pytest.mark.parametrize("old", ["/gone/data", r"C:\gone\data", "../gone/data"])
@pytest.mark.parametrize("place", ["data", "experiments/one"])
def test_paths_of_a_data_folder_that_was_moved_are_found(tmp_path, monkeypatch, old, place):
    data, file = tmp_path / "data", tmp_path / place / "split.csv"
    (data / "a" / "a.zarr" / "em").mkdir(parents=True)
    (data / "a" / "a.zarr" / "gt" / "crop1").mkdir(parents=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'"train","{old}/a/a.zarr","em","{old}/a/a.zarr","gt/crop1/[mito]"\n', "utf-8")
    monkeypatch.chdir(tmp_path)
    [row] = read_datasplit(file, data)
    assert Path(row.raw) == data / "a" / "a.zarr" / "em"
    assert Path(row.labels) == data / "a" / "a.zarr" / "gt" / "crop1"


def test_what_is_where_the_file_says_is_not_looked_for_elsewhere(tmp_path, caplog):
    for place in ("there", "data"):
        (tmp_path / place / "a" / "a.zarr" / "em").mkdir(parents=True)
        (tmp_path / place / "a" / "a.zarr" / "crop1").mkdir()
    file = tmp_path / "data" / "split.csv"
    file.write_text(f"train,{tmp_path}/there/a/a.zarr/em,{tmp_path}/there/a/a.zarr/crop1/[mito]\n", "utf-8")
    [row] = read_datasplit(file)
    assert Path(row.raw) == tmp_path / "there" / "a" / "a.zarr" / "em"
    assert f"names {tmp_path}/there/a/a.zarr, and not {tmp_path}/data/a/a.zarr beside it" in caplog.text
    caplog.clear()
    file.write_text(file.read_text("utf-8").replace("/there/", "/data/"), "utf-8")
    read_datasplit(file)
    assert not caplog.text


def test_the_inside_of_another_store_is_not_taken_for_a_path(tmp_path):
    (tmp_path / "em").mkdir()
    (tmp_path / "crop1").mkdir()
    [row] = read(tmp_path, "train,/gone/a.zarr/em,/gone/a.zarr/crop1/[mito]\n")
    assert row.raw == "/gone/a.zarr/em"


def test_all_rows_that_cannot_be_understood_are_reported_together(tmp_path):
    text = (
        "test,a.zarr/raw,a.zarr/crop1/[mito]\n"
        + FIVE
        + "train,a.zarr\ntrain,a.zarr/raw,a.zarr/crop1/[]\ntrain,,a/[b]\n"
    )
    with pytest.raises(ProblemsError) as caught:
        read(tmp_path, text)
    said = {problem.where: problem.what for problem in caught.value.problems}
    assert set(said) == {"row 1", "row 3", "row 4", "row 5"}
    assert "expected train or validate" in said["row 1"]
    assert "has 2 columns" in said["row 3"]


@pytest.mark.parametrize("text", ["", "\n\n", "raw,label,usage\n"])
def test_no_rows_are_an_error(tmp_path, text):
    with pytest.raises(ProblemsError, match="holds no rows"):
        read(tmp_path, text)


def test_a_missing_file_says_what_writes_it_and_no_text_is_no_crash(tmp_path):
    with pytest.raises(MissingDataError, match="make-datasplit"):
        read_datasplit(tmp_path / "none.csv")
    (tmp_path / "split.csv").write_bytes(b"\xff\xfe\x00train")
    with pytest.raises(ProblemsError, match="UTF-8"):
        read_datasplit(tmp_path / "split.csv")


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("d/x/x.zarr/recon-1/em", ("d/x/x.zarr", "recon-1/em")),
        ("d/x.zarr", ("d/x.zarr", "")),
        ("d/x.n5/em", ("d/x.n5", "em")),
        ("d/x.zarr.old/y.zarr/em", ("d/x.zarr.old/y.zarr", "em")),
        ("s3://bucket/x.zarr/em/", ("s3://bucket/x.zarr", "em")),
        ("C:\\d\\x.zarr\\em\\s0", ("C:\\d\\x.zarr", "em/s0")),
        ("d/plain", ("d/plain", "")),
    ],
)
def test_paths_are_split_at_the_store(path, parts):
    assert split_store(path) == parts
