"""A browser without a window (extra ``screenshot``, and Chromium or Chrome)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from csc_data.errors import CscError, import_extra

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class ScreenshotError(CscError):
    """No picture could be taken."""


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
