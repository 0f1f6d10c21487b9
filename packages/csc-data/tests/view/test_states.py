"""What a viewer is told of layers: where they lie, how they are drawn, and what differs between two."""

import json

import numpy as np
import pytest

from csc_data.challenge.colours import as_hex, class_colour
from csc_data.errors import InvalidArgumentError, UnreadableDataError
from csc_data.geometry import Roi
from csc_data.view import Scene, array_layer, difference_layer, show, state_of
from csc_data.view.differences import AGREED, DIFFERENCE_COLOURS, FALSE, MISSED
from csc_data.view.pictures.legend import legend_of
from csc_data.view.serving.server import parse_range
from csc_data.volumes.stored_values import StoredValues

SHAPE = (6, 6, 6)


def layer(array=None, name="x", kind="mask", **more):
    given = np.ones(SHAPE, "u1") if array is None else array
    return array_layer(given, name, kind, **{"voxel_size": (8, 8, 8), **more})


def drawn(*layers, **more):
    return state_of(layers, lambda one: f"zarr2://{one.name}", **more).to_json()


def test_a_view_is_in_nm_at_the_middle_of_what_is_looked_at():
    state = drawn(layer(translation=(4, 4, 4)))
    assert state["dimensions"] == {axis: [1e-9, "m"] for axis in "xyz"}
    assert state["position"] == [24, 24, 24]
    assert drawn(layer(), roi=Roi((0, 10, 20), (2, 12, 22)))["position"] == [21, 11, 1]


def test_one_colour_stands_for_a_class_whatever_is_shown_of_it():
    colour = as_hex(class_colour("mito"))
    mask, probability = layer(name="a", class_name="mito"), layer(name="b", kind="probability", class_name="mito")
    state = drawn(mask, probability)
    assert state["layers"][0]["segmentDefaultColor"] == colour
    assert colour in state["layers"][1]["shader"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "toNormalized(getDataValue())"),
        (StoredValues(kind="probability", one=255), "/ 255.0"),
        (StoredValues(kind="logit"), "exp(-float(toRaw(getDataValue())) / 1.0)"),
    ],
)
def test_a_shader_makes_a_probability_of_what_is_stored(values, said):
    assert said in drawn(layer(kind="probability", values=values))["layers"][0]["shader"]


def test_a_legend_names_what_is_drawn_in_colour_and_how():
    truth, mine = layer(name="er (truth)", class_name="er"), layer(name="er", kind="probability", class_name="er")
    difference = difference_layer(truth, mine, "er: missed, false, agreed")
    objects, hidden, raw = layer(name="mito", kind="instances"), layer(name="x", visible=False), layer(kind="raw")
    state, er = drawn(raw, truth, mine, objects, hidden, difference), as_hex(class_colour("er"))
    sides = {"missed": MISSED, "false": FALSE, "agreed": AGREED}
    assert legend_of(state) == [
        *[("er (truth)", er), ("er", er), ("mito", "")],
        *((f"er: {word}", as_hex(DIFFERENCE_COLOURS[side])) for word, side in sides.items()),
    ]
    state["layers"][1]["visible"] = False
    state["layers"][2]["shaderControls"] = {"colour": "#123456"}
    assert legend_of(state)[:2] == [("er", "#123456"), ("mito", "")]


def test_contrast_comes_from_the_data():
    values = np.full(SHAPE, 100, "u2")
    values[3:] = 300
    assert "range=[100.0, 300.0]" in drawn(layer(values, kind="raw"))["layers"][0]["shader"]
    flat = drawn(layer(np.zeros(SHAPE, "u1"), kind="raw"))["layers"][0]["shader"]
    assert "range=[0.0, 255.0]" in flat


def test_layers_that_wait_are_listed_and_not_drawn():
    state = drawn(layer(name="a"), layer(name="b", visible=False))
    assert [entry.get("archived", False) for entry in state["layers"]] == [False, True]


def test_nothing_to_show_is_an_error():
    with pytest.raises(InvalidArgumentError, match="no layer"):
        drawn()


def test_a_difference_is_what_one_has_and_the_other_has_not():
    first, second = np.zeros(SHAPE, "u2"), np.zeros(SHAPE, "f4")
    first[:4], second[2:] = 7, 0.8
    found = difference_layer(layer(first, kind="instances"), layer(second, kind="probability"), "d")
    array = found.volume.levels[0].array
    assert array[:, :1, :1].ravel().tolist() == [MISSED, MISSED, AGREED, AGREED, FALSE, FALSE]
    assert array[4:9, 1:2, 5:6].shape == (2, 1, 1)


def test_a_difference_is_read_where_the_other_volume_lies():
    """Of another voxel size, and beginning elsewhere: nearest voxels count, and beyond it there is nothing."""
    first = layer(np.ones(SHAPE, "u1"))
    second = layer(np.ones((2, 6, 6), "u1"), voxel_size=(16, 8, 8), translation=(12, 0, 0))
    found = difference_layer(first, second, "d").volume.levels[0].array[:, :1, :1].ravel()
    assert found.tolist() == [MISSED, AGREED, AGREED, AGREED, AGREED, MISSED]


def test_thresholds_are_those_of_what_is_stored():
    values = np.array([127, 128], "u1").reshape(2, 1, 1)
    ours = layer(np.ones((2, 1, 1), "u1"))
    stored = layer(values, kind="probability", values=StoredValues(kind="probability", one=255))
    assert difference_layer(ours, stored, "d").volume.levels[0].array[:, :1, :1].ravel().tolist() == [MISSED, AGREED]


def test_a_saved_view_is_restored_with_the_sources_of_this_run(tmp_path):
    with show([layer(name="a"), layer(name="b")]) as view:
        saved = json.loads(view.server.state_text("0", "http://then"))
        saved["position"] = [1, 2, 3]
        saved["layers"][1]["visible"] = False
        del saved["layers"][0]
        (tmp_path / "state.json").write_text(json.dumps(saved))
        view.restore(tmp_path / "state.json")
        now = json.loads(view.server.state_text("0", "http://now"))
    assert now["position"] == [1, 2, 3]
    assert [entry["name"] for entry in now["layers"]] == ["a", "b"]
    assert now["layers"][1]["visible"] is False
    assert "http://now/" in json.dumps(now)
    assert "http://then" not in json.dumps(now)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"layers": 3}'])
def test_a_file_that_is_no_view_is_refused(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with show([layer()]) as view, pytest.raises(UnreadableDataError, match=r"state\.json"):
        view.restore(tmp_path / "state.json")


def test_views_side_by_side_name_their_layers():
    with show([layer(name="a")]) as view:
        view.add_later("two", lambda: Scene(layers=[layer(name="a"), layer(name="b")], panes=[["a"], ["b"]]))
        state = json.loads(view.server.state_text("1", "http://x"))
    assert state["layout"]["type"] == "row"
    assert [pane["layers"] for pane in state["layout"]["children"]] == [["a"], ["b"]]


def test_a_notebook_shows_the_view():
    with show([layer()]) as view:
        assert f'src="{view.url}"' in view._repr_html_()


@pytest.mark.parametrize("text", [None, "", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "x=0-1"])
def test_other_ranges_are_the_whole(text):
    assert parse_range(text) is None


def test_where_a_saved_view_looks_holds_at_its_own_place_alone(tmp_path):
    with show([layer(name="a")], title="crop1") as view:
        view.add([layer(name="a", translation=(800, 800, 800))], title="crop2")
        saved = {
            "title": "crop2",
            "position": [1, 2, 3],
            "layers": [{"name": "a", "visible": False}],
            "showAxisLines": 0,
        }
        (tmp_path / "state.json").write_text(json.dumps(saved))
        assert view.restore(tmp_path / "state.json") == "1"
        first, second = (json.loads(view.server.state_text(name, "http://now")) for name in "01")
    assert (first["title"], first["position"]) == ("crop1", [20, 20, 20])
    assert (second["title"], second["position"]) == ("crop2", [1, 2, 3])
    assert [entry["layers"][0]["visible"] for entry in (first, second)] == [False, False]


def test_a_view_written_by_hand_names_what_differs_alone(tmp_path):
    with show([layer(name="a", class_name="mito")]) as view:
        before = json.loads(view.server.state_text("0", "http://x"))
        (tmp_path / "state.json").write_text('{"layers": [{"name": "a", "selectedAlpha": 0.9}]}')
        view.restore(tmp_path / "state.json")
        (now,) = json.loads(view.server.state_text("0", "http://x"))["layers"]
    assert now == {**before["layers"][0], "selectedAlpha": 0.9}


def test_what_a_saved_view_holds_is_what_it_began_with(tmp_path):
    """It goes through a file and back, and nothing is lost."""
    with show([layer(name="a"), layer(name="b", kind="raw")], title="here") as view:
        before = view.server.state_text("0", "http://x")
        (tmp_path / "state.json").write_text(before)
        view.restore(tmp_path / "state.json")
        assert json.loads(view.server.state_text("0", "http://x")) == json.loads(before)
