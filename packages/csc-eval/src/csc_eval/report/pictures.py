"""Pictures of planes as PNG: raw, what was hit, missed and made up, and the outlines of truth and prediction."""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np
import numpy.typing as npt

from csc_eval.voxels.arrays import Array

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

# Okabe and Ito's palette, which colour-blind people can tell apart: https://jfly.uni-koeln.de/color
HIT, MISS, FALSE_ALARM = (0, 114, 178), (230, 159, 0), (204, 121, 167)
TRUTH, PREDICTION, BOTH = (240, 228, 66), (86, 180, 233), (255, 255, 255)
_BACKGROUND = 26
_GREYS = 48
_TINTS: tuple[Colour | None, ...] = (None, HIT, MISS, FALSE_ALARM)
_SHARE = 0.35  # of the tint over raw


def as_pixels(truth: Array, prediction: Array, grey: Pixels | None) -> Pixels:
    """Return planes as numbers of the palette, of the same shape (..., y, x).

    Parameters
    ----------
    truth, prediction : array
        Numbers of objects, or masks; 0 is nothing.
    grey : uint8 array, or None
        Raw, below 48.

    Examples
    --------
    >>> truth, prediction = np.zeros((3, 3), int), np.zeros((3, 3), int)
    >>> truth[1, 1] = 1
    >>> pixels = as_pixels(truth, prediction, None)
    >>> bool(pixels[1, 1] > 0), int(pixels[0, 0])
    (True, 0)
    """
    greys = 1 if grey is None else _GREYS
    t, p = truth > 0, prediction > 0
    tint = t.view(np.uint8) * np.uint8(2) + p.view(np.uint8) * np.uint8(3) - (t & p).view(np.uint8) * np.uint8(4)
    pixels: Pixels = tint * np.uint8(greys)
    if grey is not None:
        pixels += grey
    first = np.uint8(len(_TINTS) * greys)
    of_truth, of_prediction = outlines(truth), outlines(prediction)
    pixels[of_truth] = first
    pixels[of_prediction] = first + 1
    pixels[of_truth & of_prediction] = first + 2
    return pixels


def outlines(labels: Array) -> npt.NDArray[np.bool_]:
    """Tell which pixels of an object have something else beside them, in the last two axes.

    Examples
    --------
    >>> outlines(np.array([[1, 1, 1], [1, 1, 1], [0, 0, 0]])).astype(int).tolist()
    [[0, 0, 0], [1, 1, 1], [0, 0, 0]]
    """
    border = np.zeros(labels.shape, bool)
    rows, columns = labels[..., 1:, :] != labels[..., :-1, :], labels[..., 1:] != labels[..., :-1]
    border[..., 1:, :] |= rows
    border[..., :-1, :] |= rows
    border[..., 1:] |= columns
    border[..., :-1] |= columns
    return border & (labels > 0)


def as_grey(raw: Array, limits: tuple[float, float]) -> Pixels:
    """Bring raw to the greys of the palette.

    Examples
    --------
    >>> grey = as_grey(np.array([[0, 50, 200]]), (50, 100))
    >>> bool(grey[0, 0] == grey[0, 1] == 0), bool(grey[0, 2] == grey.max())
    (True, True)
    """
    low, high = limits
    scaled = (raw.astype(np.float32) - low) * ((_GREYS - 1) / max(high - low, 1e-9))
    grey: Pixels = np.clip(scaled, 0, _GREYS - 1).astype(np.uint8)
    return grey


def encode(pixels: Pixels, *, on_raw: bool) -> str:
    """Return a picture as the address of an image."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.putpalette(_palette(on_raw=on_raw))
    stream = io.BytesIO()
    picture.save(stream, format="PNG", compress_level=4 if on_raw else 1)  # most of the time of a page is spent here
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


@cache
def _palette(*, on_raw: bool) -> bytes:
    colours: list[Colour] = []
    for tint in _TINTS:
        greys = np.linspace(0, 235, _GREYS) if on_raw else np.array([_BACKGROUND])
        for grey in greys.tolist():
            share = 0.0 if tint is None else _SHARE if on_raw else 0.75
            red, green, blue = tint or (0, 0, 0)
            mixed = [round(grey * (1 - share) + part * share) for part in (red, green, blue)]
            colours.append((mixed[0], mixed[1], mixed[2]))
    return bytes(part for colour in (*colours, TRUTH, PREDICTION, BOTH) for part in colour)
