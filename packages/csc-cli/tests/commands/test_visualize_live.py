"""`csc visualize --live`: what a network says of what is shown, as `csc predict` would write it."""

import json

import numpy as np
import pytest

from csc_cli.commands.visualize.command import _scene_of
from csc_cli.commands.visualize.finding import Wanted, find_shown, find_volume
from csc_cli.commands.visualize.live import open_live
from csc_data.errors import InvalidArgumentError
from csc_data.splits.search import CropTemplates
from csc_data.view import View
from csc_data.volumes import open_volume
from csc_train import predict


@pytest.fixture
def experiment(world):
    """The experiment of the world, whose network gives raw back, and its opposite."""
    return str(world.experiment)


def every(name):
    return True


def test_a_browser_gets_the_numbers_of_predict(world, experiment):
    predict(experiment, config=world.config, volume="a")
    with View() as view, open_live(experiment, None, every, print) as live:
        view.add_later("x", _scene_of(find_volume("a", CropTemplates.below(world.config)), None, live))
        state = json.loads(view.server.state_text("0", f"http://127.0.0.1:{view.server.port}"))
        shown = {layer["name"]: layer for layer in state["layers"]}
        assert list(shown) == ["raw", "mito (live)", "er (live)"]
        for name in ("mito", "er"):
            volume = open_volume(shown[f"{name} (live)"]["source"][0]["url"].partition("://")[2])
            written = open_volume(world.config.path("predictions", dataset="a", crop="whole", class_name=name))
            assert volume.levels[0].grid == written.levels[0].grid
            assert np.ptp(written.levels[0].array[...]) > 100
            np.testing.assert_array_equal(volume.levels[0].array[...], written.levels[0].array[...])
        assert "/ 255.0" in shown["er (live)"]["shader"]


def test_of_a_crop_the_network_is_drawn_over_raw_and_the_rest_waits(world, experiment):
    predict(experiment, ["1"], config=world.config)
    crop, *_ = find_shown(world.config, Wanted(), print)
    with open_live(experiment, None, lambda name: name == "er", print) as live:
        scene = _scene_of(crop, None, live)()
    layers = {layer.name: layer for layer in scene.layers}
    assert [name for name, layer in layers.items() if layer.visible] == ["raw", "er (live)"]
    assert layers["er (live)"].colour == layers["er (predictions)"].colour
    assert scene.roi == layers["er (predictions)"].roi  # not all of raw, though the network is shown on all of it
    assert layers["er (live)"].roi.contains(scene.roi)


def test_a_class_that_the_network_does_not_know_is_said(world, experiment):
    with (
        pytest.raises(InvalidArgumentError, match="it knows mito, er"),
        open_live(experiment, None, lambda _: False, print),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--live", "nowhere.pth", "--volume", "a"], "there is no checkpoint or experiment file nowhere.pth"),
        (["--volume", "b"], "b, raw: "),
        (["--live", "x.pth", "--url-only"], "leave --live or --url-only out"),
        (["--viewer", "napari", "--screenshot", "x.png"], "leave --viewer out"),
        (["--live", "x.pth", "--compare", "gt", "predictions"], "leave --live and --volume out"),
    ],
)
def test_mistakes_are_one_line(world, run, arguments, said):
    result = run("visualize", "--data", world.config.data, "--no-browser", *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.output.splitlines()[-1]
