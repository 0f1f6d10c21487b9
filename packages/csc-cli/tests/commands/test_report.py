"""`csc report`: options in, a page out, and what is missing said."""

import pytest
from click.testing import CliRunner

from csc_cli.main import csc

pytest.importorskip("jinja2")
METRICS = "epoch,step,loss,learning_rate,seconds,loading_seconds,validation_loss,iou\n1,9,0.5,0.1,9,1,0.6,0.7\n"


@pytest.fixture
def ask(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(METRICS)

    def call(*arguments):
        return CliRunner().invoke(csc, ["report", "--data", str(tmp_path), *map(str, arguments)])

    return call


def test_a_page_of_a_run(ask, tmp_path):
    done = ask(tmp_path / "one", "-o", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    assert "run.json is not there" in done.output
    assert f"wrote {tmp_path / 'r.html'}" in done.output
    assert "0.7000" in (tmp_path / "r.html").read_text()


def test_several_runs_are_compared(ask, tmp_path):
    done = ask(tmp_path / "one", tmp_path / "other", "-o", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    assert "one: run.json is not there" in done.output
    assert "<h1>one and other</h1>" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "Missing argument"),
        (("nowhere",), 1, "there is nothing at nowhere"),
        (("one", "other", "--result", "x.json"), 2, "of one run"),
        (("one", "--result", "x.json"), 1, "there is no file x.json"),
        (("one", "-o", "other"), 1, "other is a folder"),
        (("one", "-o", "one/metrics.csv/r.html"), 1, "nothing can be written"),
        ((".",), 1, "holds several runs"),
    ],
)
def test_wrong_use_is_said(ask, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    done = ask(*arguments)
    assert done.exit_code == code, done.output
    assert words in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
