"""The record of finished blocks, and what becomes of output that is there."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.blocks import (
    BlockGrid,
    Ledger,
    check_finished,
    discard_record,
    prepare_output,
    run_blocks,
    unfinished_work,
)
from csc_data.blocks.ledger import append_line, finished_file
from csc_data.errors import ExistingOutputError, MissingDataError, UnreadableDataError

GRID = BlockGrid(shape=(8, 8, 8), block_shape=(4, 4, 4))
FINGERPRINT = {"source": "a", "grid": [8, 8, 8]}


def nothing(block):
    pass


def test_who_reads_learns_what_is_not_finished(tmp_path):
    assert unfinished_work(tmp_path) == unfinished_work(tmp_path / "nowhere") == ()
    ledger = Ledger(tmp_path / ".a.ledger", {"classes": ["er"]})
    ledger.start()
    assert unfinished_work(tmp_path) == ({"classes": ["er"]},)
    seen = []
    run_blocks(lambda block: seen.append(unfinished_work(tmp_path)), GRID, ledger=ledger)
    assert seen == [({"classes": ["er"]},)] * 8
    assert unfinished_work(tmp_path) == ()
    assert [path.name for path in tmp_path.iterdir()] == [".a.ledger"]
    again = Ledger(tmp_path / ".a.ledger", {"classes": ["er"]})
    assert again.read()
    assert again.finished == set(range(8))
    (tmp_path / "damaged.ledger").write_text("")
    assert unfinished_work(tmp_path) == ({},)


def test_what_is_half_written_is_refused_by_who_reads(tmp_path):
    ledger = Ledger(tmp_path / ".a.ledger", {"classes": ["er"]})
    check_finished(tmp_path / "er", "s3://bucket/er")
    ledger.start()
    check_finished(tmp_path / "mito", tmp_path / "nowhere" / "er", "s3://bucket/er")
    with pytest.raises(UnreadableDataError, match="er is not finished; run `csc predict` again"):
        check_finished(tmp_path / "mito", tmp_path / "er")
    Ledger(tmp_path / ".b.ledger", {"volumes": ["mito"]}).start()
    with pytest.raises(UnreadableDataError, match="mito is not finished"):
        check_finished(str(tmp_path / "mito"))
    with pytest.raises(UnreadableDataError, match="er_of_a_net is not finished"):
        check_finished(tmp_path / "er_of_a_net", class_name="er")
    run_blocks(nothing, GRID, ledger=ledger)
    check_finished(tmp_path / "er")
    (tmp_path / ".damaged.ledger").write_text("{", encoding="utf-8")
    with pytest.raises(UnreadableDataError, match="er is not finished; run what writes it again"):
        check_finished(tmp_path / "er")


@given(cut=st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_a_record_cut_off_anywhere_never_names_a_block_that_was_not_finished(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "ledger"
    order = [12, 345, 6, 7, 89, 10, 234]
    ledger = Ledger(path, {"a": 1})
    ledger.start()
    ledger.folder.mkdir()
    record = finished_file(ledger.folder, "one")
    record.touch()
    for index in order:
        append_line(record, str(index))
    whole = record.read_bytes()
    record.write_bytes(whole[: cut % (len(whole) + 1)])
    again = Ledger(path, {"a": 1})
    assert again.read()
    before = set(again.finished)
    assert before == set(order[: len(before)])
    append_line(record, "500")
    third = Ledger(path, {"a": 1})
    third.read()
    assert third.finished == before | {500}


def test_what_older_versions_recorded_in_one_file_is_read(tmp_path):
    path = tmp_path / "ledger"
    path.write_text(json.dumps(FINGERPRINT) + "\n0\n1\n5\n3")
    done = []
    ledger = Ledger(path, FINGERPRINT)
    assert not prepare_output(ledger, "resume", lambda: pytest.fail("it is there"))
    assert ledger.finished == {0, 1, 5}
    run_blocks(lambda block: done.append(block.index), GRID, ledger=ledger)
    assert done == [2, 3, 4, 6, 7]
    path.write_text(json.dumps(FINGERPRINT) + "\n" + "".join(f"{n}\n" for n in range(8)) + "complete\n")
    run_blocks(lambda block: pytest.fail("all is done"), GRID, ledger=Ledger(path, FINGERPRINT))


def test_a_record_of_other_work_is_refused_and_says_what_differs(tmp_path):
    Ledger(tmp_path / "ledger", {"checkpoint": "1" * 64, "grid": [1], "tta": False}).start()
    other = Ledger(tmp_path / "ledger", {"checkpoint": "2" * 64, "grid": (1,), "tta": "mirror", "halo": [3, 3, 3]})
    for ask in (
        other.read,
        lambda: prepare_output(other, "resume", list),
        lambda: run_blocks(nothing, GRID, ledger=other),
    ):
        words = r"\(another checkpoint; halo none then, \[3, 3, 3\] now; tta off then, mirror now\); overwrite it"
        with pytest.raises(ExistingOutputError, match=words):
            ask()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger"]  # nor is anything left of who looked


@pytest.mark.parametrize("text", ["", "{\n1\n", "[1, 2]\n", "3\n1\n"])
def test_a_damaged_record_is_an_error_not_an_empty_one(tmp_path, text):
    (tmp_path / "ledger").write_text(text)
    with pytest.raises(UnreadableDataError, match="overwrite the output"):
        Ledger(tmp_path / "ledger", FINGERPRINT).read()


def test_work_without_a_record_is_not_begun(tmp_path):
    with pytest.raises(MissingDataError, match="start again"):
        run_blocks(nothing, GRID, ledger=Ledger(tmp_path / "ledger", FINGERPRINT))


class Output:
    """An output folder, and how often it was created."""

    def __init__(self, folder):
        self.folder, self.created = folder / "out.zarr", 0
        self.ledger_path = folder / "ledger"

    def ledger(self):
        return Ledger(self.ledger_path, FINGERPRINT, outputs=[self.folder])

    def create(self):
        self.created += 1
        self.folder.mkdir(exist_ok=True)

    def prepare(self, existing):
        return prepare_output(self.ledger(), existing, self.create)


def fail_at(index):
    def work(block):
        if block.index == index:
            raise OSError("no room")

    return work


def test_output_that_is_there_is_resumed_refused_or_overwritten_as_asked(tmp_path):
    output = Output(tmp_path)
    assert output.prepare("refuse")
    with pytest.raises(RuntimeError, match="no room"):
        run_blocks(fail_at(3), GRID, ledger=output.ledger())
    assert not output.prepare("resume")
    ledger = output.ledger()
    assert not prepare_output(ledger, "resume", output.create)
    assert ledger.finished == {0, 1, 2}
    assert output.created == 1
    with pytest.raises(ExistingOutputError, match="holds output"):
        output.prepare("refuse")
    assert output.prepare("overwrite")
    assert output.created == 2
    ledger.read()
    assert ledger.finished == set()


def test_nothing_is_left_beside_output_that_was_finished_before(tmp_path):
    output = Output(tmp_path)
    output.prepare("resume")
    run_blocks(nothing, GRID, ledger=output.ledger())
    assert not output.prepare("resume")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger", "out.zarr"]


def test_output_of_another_program_is_left_alone_until_it_is_to_be_overwritten(tmp_path):
    output = Output(tmp_path)
    output.folder.mkdir()
    for _ in range(2):
        with pytest.raises(ExistingOutputError, match="another program"):
            output.prepare("resume")
    assert output.created == 0
    assert output.prepare("overwrite")


def test_output_that_could_not_be_created_is_created_by_the_next_run(tmp_path):
    output = Output(tmp_path)

    def half():
        output.create()
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        prepare_output(output.ledger(), "resume", half)
    assert output.prepare("resume")
    assert output.created == 2


def test_overwriting_is_refused_while_another_works(tmp_path):
    output = Output(tmp_path)
    output.prepare("resume")
    asked = []

    def work(block):
        if not asked:
            asked.append(block)
            with pytest.raises(ExistingOutputError, match=r"process \d+ on .* works on the output there; wait"):
                output.prepare("overwrite")
            with pytest.raises(ExistingOutputError, match="works on the output there"):
                discard_record(output.ledger())

    run_blocks(work, GRID, ledger=output.ledger())
    assert asked
    assert output.prepare("overwrite")
    discard_record(output.ledger())
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_what_killed_processes_left_half_written_is_removed(tmp_path):
    output = Output(tmp_path)
    output.prepare("resume")
    left = [output.folder / name for name in ("0.1.2.abc.partial", "zarr.json.12.part", "c.__lock")]
    whole = output.folder / "0.1.2"
    for path in (*left, whole):
        path.write_text("x")
    output.prepare("resume")
    assert all(path.exists() for path in left)  # somebody may write there now
    killed = output.ledger().folder / "elsewhere-1.alive"
    killed.write_text(json.dumps({"host": "elsewhere", "machine": "", "pid": 1, "started": ""}))
    os.utime(killed, (1_000_000_000, 1_000_000_000))
    output.prepare("resume")
    assert not any(path.exists() for path in left)
    left[0].write_text("x")
    run_blocks(nothing, GRID, ledger=output.ledger())
    assert not left[0].exists()
    assert whole.exists()
