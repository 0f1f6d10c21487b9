"""What `csc visualize` finds, how it draws it, and what it says of what it cannot show."""

import dataclasses
import json
import os
import signal
import threading
import time
import urllib.parse
import urllib.request
import zipfile

import numpy as np
import pytest

from csc_cli.commands.visualize.comparing import compare_crop
from csc_cli.commands.visualize.finding import Wanted, crops_meant, find_shown, say_missing
from csc_cli.commands.visualize.kinds import KINDS
from csc_cli.commands.visualize.opening import open_crop
from csc_data.challenge.test_crops import TestCrop, write_test_crops
from csc_data.config.user_config import load_config
from csc_data.errors import MissingDataError, UnreadableDataError
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid
from csc_data.splits.search import CropTemplates
from csc_data.view.differences import MISSED
from csc_data.volumes import write_multiscale
from csc_data.volumes.stored_values import StoredValues

GRID = Grid(voxel_size=(8, 8, 8), translation=(80, 80, 80), shape=(4, 4, 4))
RAW = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(24, 24, 24))


def write(path, grid=GRID, dtype="u1", attributes=None, value=1):
    write_multiscale(path, [np.full(grid.shape, value, dtype)], [grid], chunks=(4, 4, 4), attributes=attributes)


def write_label(path, **attributes):
    array = create_array(path, shape=GRID.shape, dtype="u1", chunks=(4, 4, 4), attributes=attributes)
    array[...] = np.ones(GRID.shape, "u1")


@pytest.fixture
def data(tmp_path):
    """A data folder with an annotated crop, a test crop, and results of both."""
    root = tmp_path / "data"
    write(root / "jrc_a/jrc_a.zarr/recon-1/em/fibsem-uint8", RAW, value=7)
    for name in ("mito", "mito_mem", "er"):
        write(root / "jrc_a/jrc_a.zarr/recon-1/labels/groundtruth/crop1" / name)
    write_label(root / "ground_truth.zarr/crop9/er", voxel_size=[8] * 3, translation=[80] * 3)
    for crop in ("crop1", "crop9"):
        write(
            root / "predictions/jrc_a.zarr" / crop / "er",
            attributes=StoredValues(kind="probability", one=255).to_attributes(),
        )
    write(root / "processed/jrc_a.zarr/crop9/mito", dtype="u2")
    write_label(root / "submission.zarr/crop9/er")
    tests = [
        TestCrop(
            id=9, dataset="jrc_a", voxel_size=(8, 8, 8), translation=(80, 80, 80), shape=(4, 4, 4), classes=("er",)
        )
    ]
    write_test_crops(root / "test_crop_manifest.csv", tests)
    return root


def shown_of(data, **wanted):
    return find_shown(load_config(data=data), Wanted(**wanted), print)


def names(crop, lines=None):
    layers = open_crop(crop, (lines if lines is not None else []).append)
    return [layer.name for layer in layers]


def test_affinities_are_shown_where_they_are_named(data):
    name = "er_affinity_-1_0_0"
    write(data / "predictions/jrc_a.zarr/crop9" / name)
    config = load_config(data=data)
    for classes, expected in [(None, {"er"}), (["er*"], {"er", name}), ([name], {name})]:
        (shown,) = find_shown(config, Wanted(crops=("crop9",), classes=classes, kinds=("predictions",)), print)
        assert shown.classes() == expected


def test_everything_that_is_there_is_found(data):
    first, second = shown_of(data)
    assert (first.label, second.label) == ("jrc_a/crop1", "jrc_a/crop9")
    assert names(first) == ["raw", "mito_mem (truth)", "mito (truth)", "er (truth)", "er (predictions)"]
    assert names(second) == ["raw", "er (truth)", "er (predictions)", "mito (processed)", "er (submission)"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"crops": ("9",)}, {"jrc_a/crop9"}),
        ({"crops": ("crop?",), "datasets": ("jrc_*",)}, {"jrc_a/crop1", "jrc_a/crop9"}),
        ({"kinds": ("processed",)}, {"jrc_a/crop9"}),
        ({"classes": ("mito_*",)}, {"jrc_a/crop1"}),
    ],
)
def test_names_ids_and_patterns_choose(data, wanted, expected):
    assert {crop.label for crop in shown_of(data, **wanted)} == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["test"], {"jrc_a/crop9"}),
        (["test", "1"], {"jrc_a/crop1", "jrc_a/crop9"}),
        (["all"], {"jrc_a/crop1", "jrc_a/crop9"}),
    ],
)
def test_words_of_the_official_command_stand_for_crops(data, words, expected):
    assert {crop.label for crop in shown_of(data, crops=crops_meant(words, load_config(data=data)))} == expected


def test_parts_stand_for_their_group(data):
    (crop,) = shown_of(data, classes=("mito",), parts=True, kinds=("gt",))
    assert names(crop) == ["raw", "mito_mem (truth)"]


def test_each_is_drawn_as_what_it_is(data):
    first, second = (open_crop(crop, print) for crop in shown_of(data))
    kinds = {layer.name: layer.kind for layer in [*first, *second]}
    assert kinds["raw"] == "raw"
    assert kinds["er (predictions)"] == "probability"
    assert kinds["er (truth)"] == "mask"
    assert kinds["mito (truth)"] == kinds["mito (processed)"] == "instances"
    assert [layer.visible for layer in second] == [True, True, False, False, False]
    colours = {layer.colour for layer in [*first, *second] if layer.class_name == "er"}
    assert len(colours) == 1


@pytest.mark.parametrize("by_path", [False, True])
def test_all_of_a_volume_is_shown_with_what_was_predicted_for_all_of_it(data, run, monkeypatch, by_path):
    write(data / "predictions/jrc_a.zarr/whole/er", RAW, attributes=StoredValues(kind="probability").to_attributes())
    write(data / "processed/jrc_a.zarr/whole/er", RAW)
    served = []
    monkeypatch.setattr(
        "csc_cli.commands.visualize.command._serve", lambda view, scenes, options: served.extend(scenes)
    )
    raw = str(data / "jrc_a/jrc_a.zarr/recon-1/em/fibsem-uint8")
    result = run("visualize", "--data", str(data), "--volume", raw if by_path else "jrc_a")
    assert result.exit_code == 0, result.output
    [(title, opened)] = served
    assert (title, [layer.name for layer in opened().layers]) == (
        "jrc_a",
        ["raw", "er (predictions)", "er (processed)"],
    )
    assert opened().roi == RAW.bounds


def test_what_a_submission_does_not_say_is_as_in_its_crop(data):
    layers = {layer.name: layer for layer in open_crop(shown_of(data)[1], print)}
    assert layers["er (submission)"].volume.levels[0].grid == GRID
    assert layers["er (truth)"].volume.levels[0].grid == GRID


def test_a_zip_is_read_where_it_lies(data, tmp_path):
    folder = data / "submission.zarr"
    with zipfile.ZipFile(tmp_path / "sub.zip", "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))
    (crop,) = find_shown(
        load_config(data=data), Wanted(kinds=("submission",)), print, submission=str(tmp_path / "sub.zip")
    )
    layers = open_crop(crop, print)
    assert [layer.name for layer in layers] == ["raw", "er (submission)"]
    assert layers[1].volume.path.startswith(str(tmp_path / "sub.zip"))


def test_a_broken_volume_is_a_line_and_the_rest_is_shown(data):
    (data / "predictions/jrc_a.zarr/crop9/er/s0/.zarray").write_text("{")
    lines = []
    assert names(shown_of(data)[1], lines) == ["raw", "er (truth)", "mito (processed)", "er (submission)"]
    (line,) = lines
    assert line.startswith("jrc_a/crop9, er (predictions): ")


def test_a_crop_without_raw_says_so(data):
    lines = []
    (data / "jrc_a/jrc_a.zarr/recon-1/em").rename(data / "elsewhere")
    assert names(shown_of(data)[1], lines)[0] == "er (truth)"
    assert "raw" in lines[0]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"classes": ("er", "mitto")}, "there is nothing of the class 'mitto'; known are er"),
        ({"crops": ("9", "8")}, "there is nothing of the crop '8'"),
        ({"datasets": ("jrc_a", "jrc_q*")}, "there is nothing of the data set 'jrc_q*'"),
    ],
)
def test_what_is_not_there_is_a_line(data, asked, line):
    wanted = Wanted(**asked)
    (said,) = say_missing(find_shown(load_config(data=data), wanted, print), wanted)
    assert said.startswith(line)


def test_nothing_at_all_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(MissingDataError, match="csc fetch-data"):
        find_shown(load_config(data=tmp_path), Wanted(), print)
    assert set(KINDS) == {"gt", "predictions", "processed", "submission"}


def test_two_kinds_stand_side_by_side_with_what_differs(data):
    (crop,) = shown_of(data, crops=("9",), kinds=("gt", "predictions"))
    scene = compare_crop(crop, ("gt", "predictions"), print)
    difference = "er: missed, false, agreed"
    assert scene.panes == [["raw", "er (truth)"], ["raw", "er (predictions)"], ["raw", difference]]
    array = next(layer for layer in scene.layers if layer.name == difference).volume.levels[0].array
    assert np.unique(array[:, :, :]).tolist() == [MISSED]  # 1 of 255 is no probability to speak of


def test_what_one_side_lacks_is_said(data):
    lines = []
    (crop, _) = shown_of(data, kinds=("gt", "predictions"))
    compare_crop(crop, ("gt", "predictions"), lines.append)
    assert lines == ["jrc_a/crop1: there is no mito_mem, mito among its predictions"]
    (crop,) = shown_of(data, crops=("9",), kinds=("gt", "processed"))
    with pytest.raises(MissingDataError, match="no class of which there are truth and processed"):
        compare_crop(crop, ("gt", "processed"), print)


def test_it_prints_a_link_serves_and_ends_when_it_is_told(data, run, capsys):
    """The handlers of signals belong to the main thread, so the browser is the other one."""
    seen = {}

    def browser():
        for _ in range(200):
            seen["text"] = seen.get("text", "") + capsys.readouterr().out
            link = next((line for line in seen["text"].splitlines() if line.startswith("http://")), None)
            if link:
                break
            time.sleep(0.05)
        try:
            with urllib.request.urlopen(link + "state/1", timeout=30) as answer:
                seen["state"] = json.load(answer)
            source = seen["state"]["layers"][1]["source"]
            address = source[0]["url"].partition("://")[2]
            with urllib.request.urlopen(address + ".zattrs", timeout=30) as answer:
                seen["group"] = json.load(answer)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    from csc_cli.main import main

    thread = threading.Thread(target=browser)
    thread.start()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["csc", "visualize", "--data", str(data), "--no-browser"])
        with pytest.raises(SystemExit) as ended:
            main()
    thread.join()
    assert ended.value.code in (0, None)
    assert signal.getsignal(signal.SIGTERM) is before
    assert [layer["name"] for layer in seen["state"]["layers"]][:2] == ["raw", "er (truth)"]
    scale, place = seen["group"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"], place["translation"]) == ([8.0] * 3, [80.0] * 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["-k", "truth"], "there is no kind 'truth'"), (["--bind", "300.1.1.1"], "cannot listen on 300.1.1.1"),
     (["--data", "nowhere"], "nowhere holds no"), (["--compare", "gt", "truth"], "give two kinds"),
     (["--compare", "gt", "elsewhere"], "nothing called 'elsewhere'"), (["--size", "big"], "1280x960"),
     (["--state", "nowhere.json", "--screenshot", "x.png"], "nowhere.json")],
)  # fmt: skip
def test_mistakes_are_one_line(data, run, arguments, said):
    result = run("visualize", "--data", str(data), "--no-browser", *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.output.splitlines()[-1]


@pytest.fixture
def in_bucket(served, tmp_path, run):
    """A data folder that holds predictions alone, of a crop whose raw and annotations are in the bucket."""
    run("config", "set", "endpoint", served[0])
    write(tmp_path / "data/predictions/jrc_x.zarr/crop1/er")
    return served


def states(output):
    """Return the states in the links to the public viewer, by what stands before them."""
    lines = [line.partition(": https://neuroglancer-demo.appspot.com/#!") for line in output.splitlines()]
    return {name: json.loads(urllib.parse.unquote(state)) for name, _, state in lines if state}


def test_links_to_the_public_viewer_name_what_is_in_the_bucket(in_bucket, run, tmp_path):
    result = run("visualize", "--data", str(tmp_path / "data"), "--url-only", "-C", "mito,er")
    assert result.exit_code == 0
    assert "left out: er (predictions)" in result.output
    (state,) = states(result.output).values()
    place = f"zarr://{in_bucket[0]}/janelia-cosem-datasets/jrc_x/jrc_x.zarr/recon-1"
    sources = {layer["name"]: layer["source"][0]["url"] for layer in state["layers"]}
    labels = f"{place}/labels/groundtruth/crop1"
    assert sources == {
        "raw": f"{place}/em/fibsem-uint8",
        "mito (truth)": f"{labels}/mito",
        "er (truth)": f"{labels}/er",
    }
    assert state["position"] == [96.0, 96.0, 96.0]
    assert state["title"] == "jrc_x/crop1"


def test_the_public_viewer_gets_nothing_of_the_disk(data, run, served):
    run("config", "set", "endpoint", served[0])
    result = run("visualize", "--data", str(data), "--url-only", "-d", "jrc_a", "-k", "predictions")
    assert result.exit_code == 1
    assert "leave --url-only out" in result.output.splitlines()[-1]


def test_what_the_bucket_has_stands_beside_what_is_on_the_disk(in_bucket, tmp_path):
    config = load_config(data=tmp_path / "data")
    (crop,) = find_shown(config, Wanted(), print, templates=CropTemplates.in_bucket(config))
    assert names(crop) == ["raw", "mito (truth)", "er (truth)", "er (predictions)"]


def test_a_dead_bucket_is_a_line_and_the_rest_is_shown(data):
    config = load_config(data=data)
    templates = dataclasses.replace(CropTemplates.in_bucket(config), endpoint="http://127.0.0.1:9")
    lines = []
    shown = find_shown(config, Wanted(), lines.append, templates=templates)
    (line,) = lines
    assert line.startswith("truth: no connection to http://127.0.0.1:9")
    assert {crop.label for crop in shown} == {"jrc_a/crop1", "jrc_a/crop9"}


def test_raw_that_no_bucket_has_is_a_line_and_the_rest_is_shown(data, run, served):
    run("config", "set", "raw", "s3://nowhere/{dataset}")
    run("config", "set", "endpoint", served[0])
    lines = []
    assert names(shown_of(data)[1], lines)[0] == "er (truth)"
    (line,) = lines
    assert line.startswith("jrc_a/crop9, raw: s3://nowhere/jrc_a")


def test_a_submission_that_cannot_be_read_is_a_line_unless_it_was_named(data):
    (data / "submission.zip").write_bytes(b"no zip")
    lines = []
    found = find_shown(load_config(data=data), Wanted(), lines.append)
    assert [line.partition(":")[0] for line in lines] == ["submission"]
    assert len(found) == 2
    with pytest.raises(UnreadableDataError, match="not a zip"):
        find_shown(load_config(data=data), Wanted(), print, submission=str(data / "submission.zip"))
    with pytest.raises(MissingDataError, match="does not exist"):
        find_shown(load_config(data=data), Wanted(), print, submission=str(data / "elsewhere.zip"))
