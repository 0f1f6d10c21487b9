"""Pictures of a view, by a browser without a window (extra ``screenshot``, and Chromium or Chrome)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from csc_data.errors import CscError, import_extra
from csc_data.view.legend import legend_of
from csc_data.view.showing import View

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_MOST_RESIZES = 3
_READY = "return window.viewer !== undefined && viewer.isReady()"
_DRAWN = """
  const found = document.querySelectorAll(".neuroglancer-rendered-data-panel");
  const panels = [...found].map(p => p.getBoundingClientRect());
  const [left, top] = [Math.min(...panels.map(p => p.left)), Math.min(...panels.map(p => p.top))];
  const [width, height] = [Math.max(...panels.map(p => p.right)) - left, Math.max(...panels.map(p => p.bottom)) - top];
"""
"""Where the views are on the page, without the bars above them."""
_SIZE = _DRAWN + "return [width, height]"
_PICTURE = (
    _DRAWN
    + """
  viewer.display.draw();
  const picture = document.createElement("canvas");
  [picture.width, picture.height] = [width, height];
  const pen = picture.getContext("2d");
  pen.drawImage(viewer.display.canvas, left, top, width, height, 0, 0, width, height);
  const [title, entries, high] = arguments;
  const lines = [...(title ? [[title, null]] : []), ...entries];
  const [row, edge, swatch] = [20, 8, 12];
  pen.font = "14px sans-serif";
  pen.textBaseline = "middle";
  const longest = Math.max(0, ...lines.map(([name]) => pen.measureText(name).width));
  const begin = high ? edge : height - 2 * edge - row * lines.length;
  pen.fillStyle = "rgba(0, 0, 0, 0.7)";
  if (lines.length) pen.fillRect(edge, begin, longest + swatch + 3 * edge, row * lines.length + edge);
  lines.forEach(([name, colour], number) => {
    const middle = begin + edge / 2 + row * (number + 0.5);
    if (colour) {
      pen.fillStyle = colour;
      pen.fillRect(2 * edge, middle - swatch / 2, swatch, swatch);
    } else if (colour === "") {  // each object has its own
      ["#e69f00", "#56b4e9", "#009e73", "#cc79a7"].forEach((each, part) => {
        pen.fillStyle = each;
        pen.fillRect(2 * edge + (part % 2) * swatch / 2, middle - swatch / 2 + (part >> 1) * swatch / 2, 6, 6);
      });
    }
    pen.fillStyle = "white";
    pen.fillText(name, colour === null ? 2 * edge : 3 * edge + swatch, middle);
  });
  return picture.toDataURL("image/png");
"""
)
"""What is drawn, and over its lower, or upper, left corner a title and what the colours mean."""


class ScreenshotError(CscError):
    """No picture could be taken."""


def take_screenshot(
    view: View,
    path: str | os.PathLike[str],
    *,
    place: str = "0",
    size: Sequence[int] = (1280, 960),
    timeout: float = 120.0,
    legend: bool = True,
) -> None:
    """Write a PNG of what a browser draws of a place, once all that is visible has arrived.

    Parameters
    ----------
    view : View
    path : path-like
        The PNG.
    place : str
        Which of its places, counted from "0".
    size : sequence of int
        Width and height in pixels.
    timeout : float
        Seconds to wait.
    legend : bool
        Whether its title and what the colours mean are written over a corner.

    Raises
    ------
    MissingPackageError
        If selenium is not installed.
    ScreenshotError
        If there is no browser, or it does not draw in time.
    """
    state = json.loads(view.server.state_text(place, view.server.origin))
    with headless_browser(size) as browser:
        wait_and_draw(browser, view.link(place), path, size, timeout, state if legend else {})


def wait_and_draw(
    browser: Any,
    link: str,
    path: str | os.PathLike[str],
    size: Sequence[int],
    timeout: float = 120.0,
    state: Mapping[str, Any] | None = None,
) -> None:
    """Write what a browser draws of a link as a PNG, with the legend of a state; see `take_screenshot`."""
    browser.get(link)
    deadline = time.monotonic() + timeout
    resized = calm = 0
    while calm < 2:  # ready twice: layers may still be on their way when it is so first
        if time.monotonic() > deadline:
            raise ScreenshotError(f"the browser has not drawn the view after {timeout:.0f} s")
        time.sleep(0.2)
        if not browser.execute_script(_READY):
            calm = 0
        elif resized < _MOST_RESIZES and _resize(browser, size):
            resized, calm = resized + 1, 0  # the bars may need another line now
        else:
            calm += 1
    state = state or {}
    # Of four views the lower left one is that of all directions; else a scale bar lies there.
    written = (state.get("title", ""), legend_of(state), state.get("layout") != "4panel")
    picture = str(browser.execute_script(_PICTURE, *written)).partition(",")[2]
    Path(path).write_bytes(base64.b64decode(picture))


@contextmanager
def headless_browser(size: Sequence[int]) -> Iterator[Any]:
    """Start a browser without a window; WebGL is computed by its processor.

    Raises
    ------
    MissingPackageError
        If selenium is not installed.
    ScreenshotError
        If there is no browser, or it does not start.
    """
    webdriver = import_extra("selenium.webdriver", "a picture of a view", "csc-data[screenshot]")
    webdriver_error = import_extra("selenium.common", "it", "csc-data[screenshot]").WebDriverException
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:  # selenium would fetch one from the internet
        raise ScreenshotError(
            "there is no Chromium or Chrome with its chromedriver on the PATH: apt install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",  # what it opens is ours alone, and as root there is none
        "--disable-dev-shm-usage",  # containers have little of it
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--force-device-scale-factor=1",
        f"--window-size={size[0]},{size[1] + 200}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Chromium leaves folders where its temporary files are.
    with tempfile.TemporaryDirectory(prefix="csc-browser-", ignore_cleanup_errors=True) as scratch:
        service = webdriver.ChromeService(driver, env={**os.environ, "TMPDIR": scratch})
        try:
            browser = webdriver.Chrome(options=options, service=service)
        except webdriver_error as error:
            raise ScreenshotError(f"{program} does not start: {error.msg}") from error
        try:
            yield browser
        except webdriver_error as error:
            raise ScreenshotError(f"{program} ended or did not understand: {error.msg}") from error
        finally:
            browser.quit()


def _resize(browser: Any, size: Sequence[int]) -> bool:
    """Give the drawing its size: the viewer's bars above it take some of the window. Tell whether it had another."""
    drawn = browser.execute_script(_SIZE)
    if list(drawn) == list(size):
        return False
    window = browser.execute_script("return [window.innerWidth, window.innerHeight]")
    width, height = (round(size[i] + window[i] - drawn[i]) for i in range(2))
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return True
