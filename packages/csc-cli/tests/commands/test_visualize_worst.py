"""`csc visualize --from-result`: the worst labels first, each with the places where it is wrong."""

import json
import urllib.request

import numpy as np
import pytest
from click.testing import CliRunner

import csc_eval
from csc_cli.commands.visualize.finding import Wanted
from csc_cli.commands.visualize.worst import open_worst
from csc_cli.main import csc
from csc_data.errors import CscError, MissingDataError
from csc_data.formats.writing import create_array
from csc_data.view import View

PLACE = {"voxel_size": [8.0] * 3, "translation": [80.0] * 3}


@pytest.fixture
def scored(tmp_path):
    """Write a truth and a submission, score it, and return the extended result."""
    truth = np.zeros((8, 24, 24), np.uint8)
    truth[2:6, 2:10, 2:10] = 1
    truth[2:6, 2:10, 12:20] = 2
    merged = np.zeros_like(truth)
    merged[2:6, 2:10, 2:20] = 1
    merged[7, 20:, 20:] = 2
    for store, values in (("t.zarr", truth), ("s.zarr", merged)):
        for name in ("mito", "er"):
            path = tmp_path / store / "crop7" / name
            create_array(path, shape=truth.shape, dtype="u1", chunks=(8, 8, 8), attributes=PLACE)[...] = values
    create_array(tmp_path / "raw/s0", shape=truth.shape, dtype="u1", chunks=(8, 8, 8), attributes=PLACE)[...] = 9
    result = csc_eval.score_submission(tmp_path / "s.zarr", tmp_path / "t.zarr")
    return csc_eval.write_results(result, tmp_path / "result.json")[1]


def test_places_are_listed_worst_labels_first(scored):
    lines = []
    raw = {"crop7": str(scored.parent / "raw/s0")}
    with open_worst(str(scored), (None, None), Wanted(), raw, lines.append) as labels:
        scenes = {label.title.split()[0]: label.open() for label in labels}
        scores = [float(label.title.split()[-1]) for label in labels]
    assert scores == sorted(scores)
    assert lines == []
    scene = scenes["crop7/mito"]
    assert [layer.name for layer in scene.layers] == [
        "raw", "mito (truth)", "mito (submission)", "mito: missed, false, agreed",
    ]  # fmt: skip
    assert [spot.title for spot in scene.spots] == ["merged of 2: 256 voxels, IoU 0.44", "false: 16 voxels"]
    seam, false = (spot.roi for spot in scene.spots)
    # Between the two, at x 11 of the voxels; the other one in its corner.
    assert (seam.begin[2] + seam.end[2]) / 2 == pytest.approx(80 + 8 * 11, abs=8)
    assert (false.begin[0] + false.end[0]) / 2 == 80 + 8 * 7
    assert {spot.title.split(":")[0] for spot in scenes["crop7/er"].spots} == {"false alarms"}


def test_the_page_gets_places_once_somebody_looks(scored):
    with View() as view, open_worst(str(scored), (None, None), Wanted(), {}, print) as labels:
        for label in labels:
            view.add_later(label.title, label.open)

        def ask(path):
            with urllib.request.urlopen(f"{view.url}{path}") as answer:
                return json.loads(answer.read())

        number = next(n for n, label in enumerate(labels) if "mito" in label.title)
        assert ask(f"spots/{number}") == []
        state = ask(f"state/{number}")
        spots = ask(f"spots/{number}")
        assert [spot["title"] for spot in spots][1] == "false: 16 voxels"
        assert spots[1]["position"][2] == 80 + 8 * 7  # x, y, z
        assert set(spots[1]) - {"title"} <= set(state)


def test_crops_and_classes_are_chosen_and_what_is_not_there_is_said(scored):
    with open_worst(str(scored), (None, None), Wanted(classes=("er",)), {}, print) as labels:
        assert [label.title.split()[0] for label in labels] == ["crop7/er"]
    with (
        pytest.raises(MissingDataError, match="no label"),
        open_worst(str(scored), (None, None), Wanted(crops=("8",)), {}, print),
    ):
        pass
    (scored.parent / "s.zarr").rename(scored.parent / "moved.zarr")
    with pytest.raises(CscError), open_worst(str(scored), (None, None), Wanted(), {}, print):
        pass
    moved = str(scored.parent / "moved.zarr"), None
    with open_worst(str(scored), moved, Wanted(), {}, print) as labels:
        assert len(labels) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from-result", "nowhere.json"], "there is no file nowhere.json"),
        (["--from-result", "x", "--compare", "gt", "predictions"], "give one"),
        (["-t", "x"], "--truth goes with --from-result"),
    ],
)
def test_wrong_use_is_said(tmp_path, arguments, words):
    done = CliRunner().invoke(csc, ["visualize", "--data", str(tmp_path), "--no-browser", *arguments])
    assert done.exit_code in (1, 2)
    assert words in done.output
