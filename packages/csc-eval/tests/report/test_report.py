"""The report is one page that needs nothing beside it, and shows what went wrong."""

import re

import numpy as np
import pytest

import csc_eval
from csc_eval.report import page as report

pytest.importorskip("matplotlib")

PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}


@pytest.fixture
def scored(write_array, tmp_path):
    truth = np.zeros((10, 24, 24), np.uint8)
    truth[2:6, 3:9, 3:12] = 1
    truth[5:9, 12:20, 10:20] = 2
    wrong = np.roll(truth, 2, 2)
    for name in ("mito", "er", "<script>"):
        write_array(tmp_path / f"t.zarr/crop1/{name}", truth, attributes=PLACE)
        write_array(tmp_path / f"s.zarr/crop1/{name}", truth if name == "er" else wrong, attributes=PLACE)
    (tmp_path / "s.zarr/crop1/<script>/.zarray").write_text("{}")
    write_array(tmp_path / "raw.zarr/s0", (truth * 60 + 40).astype(np.uint8), attributes=PLACE)
    paths = {"submission": tmp_path / "s.zarr", "truth": tmp_path / "t.zarr"}
    rules = ("leaderboard-2026-06", "definition-2026-06")
    return csc_eval.score_submission(*paths.values(), rules=rules), paths, tmp_path


def test_the_page_is_self_contained(scored):
    result, paths, folder = scored
    page = report.write_report(result, folder / "out/report.html", raw={"crop1": str(folder / "raw.zarr/s0")}, **paths)
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)=['"](?!data:)""", text)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert text.count("data:image/png;base64,") == 2
    assert "crop1 / mito" in text
    assert f"{result.overall_score:.4f}" in text
    assert "definition-2026-06" in text


def test_only_what_went_wrong_is_shown_worst_first(scored):
    result, paths, folder = scored
    assert report.worst_labels(result) == [("crop1", "mito")]
    page = report.write_report(result, folder / "r.html", show=[("crop1", "er")], **paths).read_text()
    assert "crop1 / er: 1.000" in page


def test_hits_misses_and_false_alarms_have_their_colours():
    from csc_eval.report.figures import FALSE_ALARM, HIT, MISS, _compared

    picture = _compared(np.array([[1, 1, 0, 0]]), np.array([[1, 0, 1, 0]]), None)
    for pixel, colour in zip(picture[0], (HIT, MISS, FALSE_ALARM), strict=False):
        assert pixel.tolist() == pytest.approx(colour)
    assert len(set(map(tuple, picture[0].round(3).tolist()))) == 4


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch, scored):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(report.ReportError, match=r"csc-eval\[report\]"):
        report.write_report(scored[0], "x.html", **scored[1])


def test_the_command_finds_the_raw_of_test_crops(write_array, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from csc_eval.command.options import evaluate

    place = {"voxel_size": [4.0] * 3, "translation": [800.0, 1700.0, 10400.0]}
    truth = np.zeros((6, 20, 20), np.uint8)
    truth[1:5, 4:12, 4:12] = 1
    write_array(tmp_path / "ground_truth.zarr/crop559/mito", truth, attributes=place)
    write_array(tmp_path / "submission.zarr/crop559/mito", np.roll(truth, 3, 1), attributes=place)
    raw = tmp_path / "jrc_fly-vnc-1/jrc_fly-vnc-1.zarr/recon-1/em/fibsem-uint8"
    write_array(raw / "s0", truth * 50 + 9, attributes=place)
    (raw / ".zgroup").write_text('{"zarr_format": 2}')
    seen = []
    monkeypatch.setattr(report, "write_report", lambda *_, raw, **__: seen.append(raw) or tmp_path / "r.html")
    done = CliRunner().invoke(evaluate, ["--data", str(tmp_path), "--report", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    assert seen[0]["crop559"] == str(raw)
    assert "crop557" not in seen[0]  # of a data set that is not there
    monkeypatch.undo()
    done = CliRunner().invoke(evaluate, ["--data", str(tmp_path), "--report", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    assert "crop559 / mito" in (tmp_path / "r.html").read_text()
