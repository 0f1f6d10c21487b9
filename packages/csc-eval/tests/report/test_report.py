"""The report is one page that needs nothing beside it, and shows what went wrong."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest

import csc_eval
from csc_data.errors import MissingPackageError
from csc_eval.report import ReportOptions, Shown, worst_labels, write_report

pytest.importorskip("jinja2")
Image = pytest.importorskip("PIL.Image")

PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}
HOSTILE = "<script>alert(1)<"  # a folder's name: no slash


@pytest.fixture
def scored(write_array, tmp_path):
    truth = np.zeros((10, 24, 24), np.uint8)
    truth[2:6, 3:9, 3:12] = 1
    truth[5:9, 12:20, 10:20] = 2
    wrong = np.roll(truth, 2, 2)
    wrong[wrong == 1] = 0
    for name in ("mito", "er", HOSTILE):
        write_array(tmp_path / f"t.zarr/crop1/{name}", truth, attributes=PLACE)
        write_array(tmp_path / f"s.zarr/crop1/{name}", truth if name == "er" else wrong, attributes=PLACE)
    write_array(tmp_path / "t.zarr/crop1/er_mask", np.ones_like(truth), attributes=PLACE)
    write_array(tmp_path / "raw.zarr/s0", (truth * 60 + 40).astype(np.uint8), attributes=PLACE)
    paths = {"submission": tmp_path / "s.zarr", "truth": tmp_path / "t.zarr"}
    rules = ("leaderboard-2026-06", "definition-2026-06")
    return csc_eval.score_submission(*paths.values(), rules=rules), paths, tmp_path


def pictures(text):
    """Return the pictures of a page as RGB arrays."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")) for one in found]


def test_the_page_is_self_contained_and_names_what_was_scored(scored):
    result, paths, folder = scored
    options = ReportOptions(raw={"crop1": str(folder / "raw.zarr/s0")})
    text = write_report(result, folder / "out/report.html", options=options, **paths).read_text()
    assert not re.findall(r"""(?:src|href)=['"]?(?!["']?data:)""", text)
    assert not re.findall(r"@import|url\(", text)
    assert str(folder / "s.zarr") in text
    assert str(folder / "t.zarr") in text
    assert result.scored.time in text
    assert f"{result.overall_score:.4f}" in text
    assert "definition-2026-06" in text
    assert "3 labels of 1 crop, and 1 mask, which the portal takes for labels" in text
    assert "4 of 3" not in text


def test_names_are_escaped(scored):
    result, paths, folder = scored
    (folder / f"s.zarr/crop1/{HOSTILE}/.zarray").write_text("{}")  # it fails, and the message names it
    for scores in (result, csc_eval.score_submission(*paths.values())):
        text = write_report(scores, folder / "r.html", **paths).read_text()
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;" in text
    assert text.count("<script>") == 1  # our own


def test_worst_objects_are_listed_with_their_places_and_pictures(scored):
    result, paths, folder = scored
    options = ReportOptions(show=[("crop1", "mito")])
    text = write_report(result, folder / "r.html", options=options, **paths).read_text()
    found = pictures(text)
    assert len(found) == 2  # its planes, and the object that was missed
    assert "objects: 1 missed" in text
    assert "16, 40, 56" in text
    assert "voxel 2, 5, 7" in text
    planes = text.split('aria-label="plane of crop1 / mito"')[0].rsplit("--count:", 1)[1].split('"')[0]
    assert found[0].shape == (24 * int(planes), 24, 3)
    fewer = replace(options, shown=Shown(objects=0))
    assert len(pictures(write_report(result, folder / "r.html", options=fewer, **paths).read_text())) == 1


def test_hits_misses_false_alarms_and_outlines_have_their_colours():
    from csc_eval.report.pictures import BOTH, PREDICTION, TRUTH, as_pixels, encode

    truth, prediction = np.zeros((2, 20, 20), int)
    truth[2:12, 2:12] = 1
    prediction[2:12, 2:18] = 1
    pixels = as_pixels(truth, prediction, None)
    picture = pictures(f'src="{encode(pixels, on_raw=False)}"')[0]
    assert tuple(picture[5, 2]) == BOTH
    assert tuple(picture[5, 11]) == TRUTH
    assert tuple(picture[5, 17]) == PREDICTION
    background, hit, false = (tuple(picture[place]) for place in ((0, 0), (5, 5), (5, 14)))
    missed = tuple(pictures(f'src="{encode(as_pixels(prediction, truth, None), on_raw=False)}"')[0][5, 14])
    assert len({background, hit, false, missed}) == 4


def test_pages_with_more_labels_have_smaller_pictures(scored):
    result, paths, folder = scored
    sizes = []
    for room in (10**6, 300):
        options = ReportOptions(show=[("crop1", "mito")], shown=Shown(page_bytes=room))
        text = write_report(result, folder / "r.html", options=options, **paths).read_text()
        sizes.append(pictures(text)[0].shape[0])
    assert sizes[1] < sizes[0]


def test_a_score_by_a_quirk_says_so_and_is_not_drawn(write_array, tmp_path):
    truth = np.zeros((6, 20, 20), np.uint8)
    truth[1, 1, 1] = 1
    noise = truth.copy()
    noise[::2, ::2, ::2] = 1
    for name, one in (("mito", noise), ("er", truth * 0)):
        write_array(tmp_path / f"t.zarr/crop1/{name}", truth if name == "mito" else one, attributes=PLACE)
        write_array(tmp_path / f"s.zarr/crop1/{name}", one, attributes=PLACE)
    paths = {"submission": tmp_path / "s.zarr", "truth": tmp_path / "t.zarr"}
    result = csc_eval.score_submission(*paths.values())
    assert result.combined.classes["mito"].score == 1.0
    assert worst_labels(result) == [("crop1", "mito")]
    text = write_report(result, tmp_path / "r.html", **paths).read_text()
    assert "<circle" not in text
    assert text.count("1 not drawn") == 2
    assert "mito: counts as 1" in text
    assert "too many predicted objects to be matched: it counts as nothing" in text
    assert "crop1 / mito: not counted" in text


def test_only_what_went_wrong_is_shown_worst_first(scored):
    result, paths, folder = scored
    assert [name for _, name in worst_labels(result)] == [HOSTILE, "mito"]
    options = ReportOptions(labels=1)
    text = write_report(result, folder / "r.html", options=options, **paths).read_text()
    assert text.count("<summary>") == 2  # the table of all labels, and one label
    assert "1 more labels are not shown" in text


def test_without_the_extra_the_error_says_what_to_install(monkeypatch, scored):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(MissingPackageError, match=r"csc-eval\[report\]"):
        write_report(scored[0], "x.html", **scored[1])


def test_the_command_finds_the_raw_of_test_crops(write_array, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from csc_eval.command.options import evaluate
    from csc_eval.report import page

    place = {"voxel_size": [4.0] * 3, "translation": [800.0, 1700.0, 10400.0]}
    truth = np.zeros((6, 20, 20), np.uint8)
    truth[1:5, 4:12, 4:12] = 1
    write_array(tmp_path / "ground_truth.zarr/crop559/mito", truth, attributes=place)
    write_array(tmp_path / "submission.zarr/crop559/mito", np.roll(truth, 3, 1), attributes=place)
    raw = tmp_path / "jrc_fly-vnc-1/jrc_fly-vnc-1.zarr/recon-1/em/fibsem-uint8"
    write_array(raw / "s0", truth * 50 + 9, attributes=place)
    (raw / ".zgroup").write_text('{"zarr_format": 2}')
    seen = []
    real = page.write_report
    monkeypatch.setattr(page, "write_report", lambda *given, **more: seen.append(more) or real(*given, **more))
    done = CliRunner().invoke(evaluate, ["--data", str(tmp_path), "--report", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    assert "1 label in" in done.output
    assert seen[0]["options"].raw["crop559"] == str(raw)
    assert "crop557" not in seen[0]["options"].raw  # of a data set that is not there
    assert "crop559 / mito" in (tmp_path / "r.html").read_text()
