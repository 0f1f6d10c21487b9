import csv

import pytest

from csc_train.training.hooks.metrics_table import MetricsTable


@pytest.fixture
def table(tmp_path):
    def read():
        with (tmp_path / "logs" / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return read


def epochs(rows):
    return [row["epoch"] for row in rows]


def test_each_epoch_has_a_row(begin, table):
    run = begin(MetricsTable()).start()
    run.epoch(iou=0.1 + 0.2)
    run.epoch()
    first, second = table()
    assert list(first) == [
        *("epoch", "step", "loss", "learning_rate", "seconds", "loading_seconds"),
        *("validation_loss", "iou", "dice", "iou/mito", "iou/er"),
    ]
    assert (first["epoch"], first["step"], second["epoch"], second["step"]) == ("1", "4", "2", "8")
    assert float(first["iou"]) == 0.1 + 0.2  # all digits
    assert first["iou/er"] == ""  # a score that does not exist


def test_a_run_that_goes_on_replaces_the_rows_of_epochs_it_does_again(begin, table):
    run = begin(MetricsTable()).start()
    for iou in (0.1, 0.2, 0.3):
        run.epoch(iou=iou)
    again = begin(MetricsTable()).goes_on_from(1).start()
    assert epochs(table()) == ["1"]
    again.epoch(iou=0.5)
    assert [(row["epoch"], row["iou"]) for row in table()] == [("1", "0.1"), ("2", "0.5")]


def test_a_score_may_come_later_than_others(begin, table):
    run = begin(MetricsTable()).start()
    run.epoch()
    run.epoch(score=0.25)
    assert [row["score"] for row in table()] == ["", "0.25"]


@pytest.mark.parametrize(
    "damage", [lambda t: t[:-9], lambda t: t[:-1], lambda t: t + "4,16,0.1", lambda t: t + "\0" * 9]
)
def test_a_damaged_last_line_is_left_out(begin, table, tmp_path, damage):
    run = begin(MetricsTable()).start()
    for _ in range(3):
        run.epoch()
    file = tmp_path / "logs" / "metrics.csv"
    file.write_text(damage(file.read_text()))
    begin(MetricsTable()).goes_on_from(2).start().epoch()
    assert epochs(table()) == ["1", "2", "3"]


def test_a_new_run_has_a_new_table(begin, table):
    begin(MetricsTable()).start().epoch()
    begin(MetricsTable()).start().epoch(iou=0.9)
    assert [row["iou"] for row in table()] == ["0.9"]
