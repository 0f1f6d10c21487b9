"""Pictures of a view, with what their colours mean, by a browser without a window."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csc_data.view.pictures.browser import ScreenshotError, headless_browser
from csc_data.view.pictures.legend import legend_of
from csc_data.view.showing import View

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOptions:
    """How a picture is taken.

    Attributes
    ----------
    size : sequence of int
        Width and height in pixels.
    timeout : float
        Seconds to wait until all is drawn.
    state : mapping
        Of the viewer: its title and what its colours mean are written over a corner.
    """

    size: Sequence[int] = (1280, 960)
    timeout: float = 120.0
    state: Mapping[str, Any] = field(default_factory=dict)


def take_screenshot(
    view: View,
    path: str | os.PathLike[str],
    *,
    place: str = "0",
    size: Sequence[int] = (1280, 960),
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
    legend : bool
        Whether its title and what the colours mean are written over a corner.

    Raises
    ------
    MissingPackageError
        If selenium is not installed.
    ScreenshotError
        If there is no browser, or it does not draw in time.
    """
    state = json.loads(view.server.state_text(place, view.server.origin)) if legend else {}
    with headless_browser(size) as browser:
        wait_and_draw(browser, view.link(place), path, PictureOptions(size=size, state=state))


def wait_and_draw(browser: Any, link: str, path: str | os.PathLike[str], options: PictureOptions) -> None:
    """Write what a browser draws of a link as a PNG; see `take_screenshot`."""
    browser.get(link)
    deadline = time.monotonic() + options.timeout
    resized = calm = 0
    while calm < 2:  # ready twice: layers may still be on their way when it is so first
        if time.monotonic() > deadline:
            raise ScreenshotError(f"the browser has not drawn the view after {options.timeout:.0f} s")
        time.sleep(0.2)
        if not browser.execute_script(_READY):
            calm = 0
        elif resized < _MOST_RESIZES and _resize(browser, options.size):
            resized, calm = resized + 1, 0  # the bars may need another line now
        else:
            calm += 1
    state = options.state
    # Of four views the lower left one is that of all directions; else a scale bar lies there.
    written = (state.get("title", ""), legend_of(state), state.get("layout") != "4panel")
    picture = str(browser.execute_script(_PICTURE, *written)).partition(",")[2]
    Path(path).write_bytes(base64.b64decode(picture))


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
