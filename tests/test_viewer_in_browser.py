"""The viewer in a real browser: pixels lie where the data say. Skipped, and said so, where there is no Chromium."""

import functools
import http.server
import shutil
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from csc_cli.commands.visualize.finding import Wanted, find_shown
from csc_cli.commands.visualize.opening import open_crop
from csc_data.challenge.colours import class_colour
from csc_data.config.user_config import Config
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid, Roi
from csc_data.view import BlockWorker, Layer, array_layer, live_volume, open_layer, show, take_screenshot
from csc_data.view.pictures.browser import ScreenshotError, headless_browser
from csc_data.view.pictures.screenshot import PictureOptions, wait_and_draw
from csc_data.volumes import open_volume, write_multiscale
from csc_train import TrainSettings, predict
from csc_train.prediction import LiveNetwork

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or shutil.which("chromedriver") is None, reason="there is no Chromium"),
]
SIZE = 400
VOXEL = 8
PIXELS = 10  # of a voxel
CLASSES = ("er", "mito")
N = 32  # voxels along each axis; the middle is a corner between eight of them


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; WebGL is computed by its processor."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(headless_browser((SIZE, SIZE)))
        except ScreenshotError as error:
            pytest.skip(str(error))
        yield started


def picture(browser, view, tmp_path):
    """Open the first place in one pane at a voxel a few pixels wide, and return its pixels, (y, x, rgb)."""
    state = next(iter(view.states.values()))
    state.layout = "xy"
    state.cross_section_scale = VOXEL / PIXELS
    state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
    target = tmp_path / "picture.png"
    wait_and_draw(browser, view.link("0"), target, PictureOptions(size=(SIZE, SIZE)))
    browser.get("about:blank")  # it would miss the server when that ends
    pixels = np.asarray(Image.open(target).convert("RGB")).astype(int)
    assert pixels.shape[:2] == (SIZE, SIZE)
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [entry["message"] for entry in severe if "404" not in entry["message"]] == []
    return pixels


def voxel(pixels, y, x):
    """Return the colour in the middle of a voxel of the plane, counted from the middle of the picture."""
    height, width = pixels.shape[:2]
    return pixels[int(height / 2 + (y + 0.5) * PIXELS), int(width / 2 + (x + 0.5) * PIXELS)]


def assert_corner(pixels, what):
    """Compare within one voxel on all sides of a corner in the middle, from which on there is something."""
    inside = voxel(pixels, 0, 0)
    assert inside.max() > 60, what
    for y, x in ((0, 1), (1, 0), (3, 3)):
        np.testing.assert_allclose(voxel(pixels, y, x), inside, atol=3, err_msg=what)
    for y, x in ((-1, 0), (0, -1), (-1, -1), (-3, 2)):
        assert np.abs(voxel(pixels, y, x) - inside).max() > 40, (what, y, x)


@pytest.fixture
def corner():
    """Values that begin right in the middle of a grid, the grid, and a box that puts a voxel's corner in the middle."""
    grid = Grid(voxel_size=(VOXEL,) * 3, translation=(1000, 2000, 3000), shape=(N,) * 3)
    half = N // 2
    values = np.zeros(grid.shape, "u1")
    values[half:, half:, half:] = 200
    z, y, x = (t + (half - 0.5) * VOXEL for t in grid.translation)
    return values, grid, Roi((z - 96, y - 100, x - 100), (z + 104, y + 100, x + 100))


def test_raw_masks_and_probabilities_lie_where_the_data_say(browser, tmp_path, corner):
    values, grid, roi = corner
    write_multiscale(tmp_path / "stored", [values], [grid], chunks=(8, 8, 8))
    as_probability = array_layer(
        (values / 200).astype("f4"), "p", "probability", voxel_size=grid.voxel_size, translation=grid.translation
    )
    layers = [
        open_layer(tmp_path / "stored", "raw", "raw"),
        open_layer(tmp_path / "stored", "mask", "mask", class_name="er"),
        as_probability,
    ]
    for layer in layers:
        with show([layer], roi=roi) as view:
            assert_corner(picture(browser, view, tmp_path), layer.name)


def test_a_screenshot_says_what_its_colours_mean(tmp_path, corner):
    values, grid, roi = corner
    layers = [
        array_layer(values, f"{name} (truth)", "mask", class_name=name, voxel_size=grid.voxel_size) for name in CLASSES
    ]
    swatches = []
    for legend in (True, False):
        with show(layers, roi=roi) as view:
            take_screenshot(view, tmp_path / "picture.png", size=(SIZE, SIZE), legend=legend)
        pixels = np.asarray(Image.open(tmp_path / "picture.png").convert("RGB")).astype(int)
        column = pixels[SIZE // 2 :, 22]  # through the swatches
        swatches.append([(np.abs(column - class_colour(name)).max(1) <= 2).sum() for name in CLASSES])
    assert swatches == [[12, 12], [0, 0]]


def test_a_submission_is_drawn_out_of_its_zip(browser, tmp_path, corner):
    """Its arrays are no OME-Zarr: they lie where csc-eval puts them."""
    values, grid, roi = corner
    array = create_array(
        tmp_path / "submission.zarr/crop9/er", shape=grid.shape, dtype="u1", chunks=(16, 16, 16),
        attributes={"voxel_size": grid.voxel_size, "translation": grid.translation},
    )  # fmt: skip
    array[...] = values
    archive = shutil.make_archive(str(tmp_path / "handed-in"), "zip", tmp_path, "submission.zarr")
    shutil.rmtree(tmp_path / "submission.zarr")
    (crop,) = find_shown(Config(data=str(tmp_path)), Wanted(), print, submission=archive)
    with show(open_crop(crop, print), roi=roi) as view:
        assert_corner(picture(browser, view, tmp_path), "zip")


def test_data_in_a_bucket_go_to_the_browser_directly(browser, tmp_path, corner):
    values, grid, roi = corner
    write_multiscale(tmp_path / "bucket/er", [values], [grid], chunks=(8, 8, 8))
    asked = []

    class Bucket(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            self.send_header("Access-Control-Allow-Origin", "*")  # as public buckets do
            super().end_headers()

        def log_message(self, *_):
            asked.append((self.path, self.headers.get("Origin")))

    serve = functools.partial(Bucket, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            volume = open_volume("s3://bucket/er", endpoint=f"http://127.0.0.1:{server.server_address[1]}")
            with show([Layer(name="er", kind="mask", volume=volume, class_name="er")], roi=roi) as view:
                assert_corner(picture(browser, view, tmp_path), "bucket")
                assert {origin for path, origin in asked if path.startswith("/bucket/er/s0/")} >= {view.server.origin}
        finally:
            server.shutdown()
            thread.join()


def test_what_a_network_says_is_drawn_as_what_predict_writes(browser, tmp_path):
    """Both are drawn; nothing of what is live was computed before the browser asked."""
    config = Config(data=str(tmp_path))
    grid = Grid(voxel_size=(VOXEL,) * 3, translation=(1000, 2000, 3000), shape=(N,) * 3)
    values = np.random.default_rng(0).integers(0, 256, (4, 4, 4), "u1").repeat(8, 0).repeat(8, 1).repeat(8, 2)
    raw = config.path("raw", dataset="a")
    write_multiscale(raw, [values], [grid], chunks=(16, 16, 16))
    settings = TrainSettings(
        classes=["mito", "er"],
        model=GivesRawBack(),
        input_array_info={"shape": (16, 16, 16), "scale": (VOXEL,) * 3},
    )
    options = {"checkpoint": "untrained", "device": "cpu"}
    predict(settings, config=config, volume="a", **options)
    network, drawn = LiveNetwork(settings, **options), []
    written = open_volume(config.path("predictions", dataset="a", crop="whole", class_name="er"))
    where = {"voxel_size": grid.voxel_size, "translation": grid.translation}
    black = array_layer(np.zeros(grid.shape, "u1"), "black", "raw", **where)
    with BlockWorker(drawn.append) as worker:
        live = live_volume(worker, network.on(open_volume(raw)), 1, "live")
        for volume in (live, written):
            layer = Layer(name="er", kind="probability", volume=volume, class_name="er", values=network.meanings["er"])
            with show([black, layer], roi=written.levels[0].grid.bounds) as view:
                drawn.append(picture(browser, view, tmp_path))
    ours, theirs = drawn
    np.testing.assert_array_equal(ours, theirs)
    assert len(np.unique(theirs.reshape(-1, 3), axis=0)) > 8
    middle = values[N // 2, N // 2, N // 2], values[N // 2, N // 2 - 1, N // 2]
    brightness = voxel(ours, 0, 0).max(), voxel(ours, -1, 0).max()
    assert (brightness[0] < brightness[1]) == (middle[0] > middle[1])  # er is what raw is not


class GivesRawBack(nn.Module):
    """Of two classes the first is as likely as raw is bright, and the second as it is dark."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        logit = torch.logit(x.clamp(1e-3, 1 - 1e-3)) * self.weight
        return torch.cat([logit, -logit], dim=1)


def test_the_page_with_several_places_lists_them(browser, tmp_path):
    layer = array_layer(np.full((8, 8, 8), 9, "u1"), "raw", "raw", voxel_size=(8, 8, 8))
    with show([layer], title="one place") as view:
        view.add([layer], title="another <place>")
        browser.get(view.url)
        deadline = time.monotonic() + 60
        while not browser.find_elements("css selector", "iframe") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert [a.text for a in browser.find_elements("css selector", "nav a")] == ["one place", "another <place>"]
        assert "/v/view/#!" in browser.find_element("css selector", "iframe").get_attribute("src")
