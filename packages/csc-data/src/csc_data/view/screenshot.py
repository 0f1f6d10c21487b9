"""Pictures of a view, by a browser without a window (extra ``screenshot``, and Chromium or Chrome)."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from csc_data.errors import CscError, import_extra
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
  picture.getContext("2d").drawImage(viewer.display.canvas, left, top, width, height, 0, 0, width, height);
  return picture.toDataURL("image/png");
"""
)


class ScreenshotError(CscError):
    """No picture could be taken."""


def take_screenshot(
    view: View,
    path: str | os.PathLike[str],
    *,
    place: str = "0",
    size: Sequence[int] = (1280, 960),
    timeout: float = 120.0,
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

    Raises
    ------
    MissingPackageError
        If selenium is not installed.
    ScreenshotError
        If there is no browser, or it does not draw in time.
    """
    with headless_browser(size) as browser:
        wait_and_draw(browser, view.link(place), path, size, timeout)


def wait_and_draw(
    browser: Any, link: str, path: str | os.PathLike[str], size: Sequence[int], timeout: float = 120.0
) -> None:
    """Write what a browser draws of a link as a PNG; see `take_screenshot`."""
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
    picture = str(browser.execute_script(_PICTURE)).partition(",")[2]
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
