"""Reports and the list of places in a real browser, on a desk and on a phone. Skipped where there is no Chromium."""

import time
from contextlib import ExitStack

import numpy as np
import pytest

import csc_eval
from csc_cli.commands.visualize.finding import Wanted
from csc_cli.commands.visualize.worst import open_worst
from csc_data.formats.writing import create_array
from csc_data.view import View
from csc_data.view.pictures.browser import ScreenshotError, headless_browser
from csc_eval.report import write_report
from csc_train.report import write_run_report

pytestmark = pytest.mark.slow
PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}
LONG = "a_class_with_quite_a_long_name_that_somebody_made_up_<b>"


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(headless_browser((1280, 900)))
        except ScreenshotError as error:
            pytest.skip(str(error))
        yield started


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Score a submission with merged, missed and false objects in three crops; return its result and where it lies."""
    folder = tmp_path_factory.mktemp("scored")
    truth = np.zeros((12, 40, 40), np.uint8)
    truth[2:9, 4:20, 4:18] = 1
    truth[2:9, 4:20, 20:36] = 2
    truth[3:7, 28:36, 4:12] = 3
    wrong = np.zeros_like(truth)
    wrong[2:9, 4:20, 4:36] = 1
    wrong[9:, 30:, 30:] = 2
    for crop in ("crop1", "crop2", "crop3"):
        for name in ("mito", "er", LONG):
            for store, values in (("t.zarr", truth), ("s.zarr", wrong)):
                path = folder / store / crop / name
                array = create_array(path, shape=truth.shape, dtype="u1", chunks=truth.shape, attributes=PLACE)
                array[...] = values
    metrics = csc_eval.METRICS
    result = csc_eval.score_submission(folder / "s.zarr", folder / "t.zarr", metrics=metrics)
    logs = folder / "tensorboard" / "net"
    logs.mkdir(parents=True)
    rows = "".join(f"{n},{n},{1 / n},0.1,9,1,{1 / n},{n / 9}\n" for n in range(1, 9))
    (logs / "metrics.csv").write_text(
        f"epoch,step,loss,learning_rate,seconds,loading_seconds,validation_loss,iou\n{rows}"
    )
    csc_eval.write_results(result, logs / "result.json")
    return result, folder


def pages(scored, folder):
    """Write the page of a score, that of a run, and that of two runs."""
    result, where = scored
    logs = where / "tensorboard" / "net"
    yield write_report(result, folder / "score.html", submission=where / "s.zarr", truth=where / "t.zarr")
    yield write_run_report([logs], folder / "run.html")[0]
    yield write_run_report([logs, logs], folder / "compared.html")[0]


def severe(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize("width", [1280, 360])
def test_pages_fit_their_window_and_log_no_error(browser, scored, tmp_path, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for page in pages(scored, tmp_path):
        browser.get(page.as_uri())
        for details in browser.find_elements("css selector", "details"):
            browser.execute_script("arguments[0].open = true", details)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, page.name
        drawn = "return [...document.images].every(image => image.complete && image.naturalWidth > 0)"
        assert browser.execute_script(drawn), page.name
        fits = "return [...document.querySelectorAll('.places')].every(each => each.scrollWidth <= each.clientWidth)"
        assert browser.execute_script(fits), page.name  # an error's place and sizes are seen without a move of the hand
        assert severe(browser) == [], page.name


def test_the_slider_leads_through_the_planes(browser, scored, tmp_path):
    browser.get(next(pages(scored, tmp_path)).as_uri())
    planes = browser.find_element("css selector", ".planes")

    def shown():
        said = [line.text for line in planes.find_elements("css selector", "li") if line.is_displayed()]
        move = "return new DOMMatrix(getComputedStyle(arguments[0].querySelector('img')).transform).f"
        return said, browser.execute_script(move, planes)

    (before,), top = shown()
    slider = planes.find_element("css selector", "input")
    assert browser.execute_script("return Number(arguments[0].value)", slider) > 0  # it begins with the worst
    browser.execute_script(
        "arguments[0].value = 0; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))", slider
    )
    (after,), moved = shown()
    assert after.startswith("z 0 of 12")
    assert before != after
    assert top < moved == 0


def test_pages_are_dark_where_people_want_it(browser, scored, tmp_path):
    browser.get(next(pages(scored, tmp_path)).as_uri())
    colours = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        script = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
        colours.append(browser.execute_script(script))
    light = [[sum(map(int, rgb[4:-1].split(","))) for rgb in pair] for pair in colours]
    assert light[0][0] < 200 < 600 < light[0][1]
    assert light[1][1] < 200 < 600 < light[1][0]


def test_a_click_goes_to_a_place(browser, scored):
    result = scored[1] / "tensorboard/net/result_extended.json"
    only = Wanted(crops=("crop1",), classes=("mito",))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    with View() as view, open_worst(str(result), (None, None), only, {}, print) as labels:
        for label in labels:
            view.add_later(label.title, label.open)
        browser.get(view.url)
        link = "return document.querySelector('iframe')?.contentWindow.location.href.split('#!')[1]"
        deadline = time.monotonic() + 60
        while not browser.find_elements("css selector", "nav li a") and time.monotonic() < deadline:
            time.sleep(0.2)
        spots = browser.find_elements("css selector", "nav li a")
        assert [spot.text.split(":")[0] for spot in spots] == ["merged of 2", "false", "missed"]
        before = browser.execute_script(link)
        spots[1].click()
        while browser.execute_script(link) == before and time.monotonic() < deadline:
            time.sleep(0.1)
        spots[1].click()  # and again: it stays there
        position = "return JSON.parse(decodeURIComponent(document.querySelector('iframe').contentWindow.location.hash.slice(2))).position"  # noqa: E501
        x, y, z = browser.execute_script(position)
        assert (x >= 240, y >= 240, z >= 72) == (True, True, True)  # the false object lies in that corner
        assert [spot.get_attribute("aria-current") is not None for spot in spots] == [False, True, False]
