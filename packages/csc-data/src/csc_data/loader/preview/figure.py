"""Panels and legend of a preview, painted pixel by pixel: no line is blurred, moved or lost by scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from csc_data.challenge.classes import ClassTable
from csc_data.challenge.colours import Colour, class_colour

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

_DASHES = (0, 8, 3)
"""Length in pixels of the dashes of the first, second and third seven classes; 0 for an unbroken line.

Of more colours than seven some are near to each other for some people: dashes tell them apart as well."""

_SAME_DASH = 7
_SIZE = 384
_GAP = 12
_LINE = 18
_FONT = 14
_RINGS = 3  # at most so many outlines that meet are drawn side by side
_HATCH = 12
_BACKGROUND = (255, 255, 255)
_INK = (20, 20, 20)

Plane = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A plane of a sample; raw and targets have the same centre.

    Attributes
    ----------
    raw : ndarray of float32
        Shape (y, x).
    raw_scale, target_scale : tuple of float
        nm of a voxel along y and x.
    targets : ndarray of float32
        Above 0 present, else absent, NaN unknown; shape (C, y, x).
    caption : tuple of str
        Lines above it.
    """

    raw: Plane
    raw_scale: tuple[float, float]
    targets: Plane
    target_scale: tuple[float, float]
    caption: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Style:
    """How a class is outlined."""

    colour: Colour
    dash: int


def choose_styles(classes: Sequence[str], table: ClassTable | None = None) -> dict[str, Style]:
    """Return the style of each class: the colour that it has everywhere, and a dash by its place among them."""
    return {
        name: Style(class_colour(name, table), _DASHES[number // _SAME_DASH % len(_DASHES)])
        for number, name in enumerate(classes)
    }


def compose_figure(
    title: str, styles: Mapping[str, Style], panels: Sequence[Panel], *, columns: int = 4, size: int = _SIZE
) -> Image.Image:
    """Return the figure of panels, row by row, below a title and a legend.

    Parameters
    ----------
    title : str
    styles : mapping of str to Style
        The targets' channels, in their order, and how each is outlined.
    panels : sequence of Panel
        At least one, all of the same sizes.
    columns : int
    size : int
        Pixels that the longer edge of a panel has about.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_FONT)
    classes = tuple(styles)
    shown = [name for c, name in enumerate(classes) if any((panel.targets[c] > 0).any() for panel in panels)]
    low, high = np.percentile(np.concatenate([panel.raw.reshape(-1) for panel in panels]), (0.5, 99.5))
    pictures = [paint_panel(panel, classes, styles, (float(low), float(high)), size) for panel in panels]
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    caption = _LINE * len(panels[0].caption) + 3
    total = max(columns * (width + _GAP) + _GAP, 560)
    entries = [(name, styles[name]) for name in classes if name in shown]
    top = _legend(None, title, entries, total, font)
    image = Image.new("RGB", (total, top + rows * (caption + height + _GAP)), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    _legend(image, title, entries, total, font)
    for number, (panel, picture) in enumerate(zip(panels, pictures, strict=True)):
        x = _GAP + number % columns * (width + _GAP)
        y = top + number // columns * (caption + height + _GAP)
        for line, text in enumerate(panel.caption):
            draw.text((x, y + line * _LINE), _shortened(text, width, font), fill=_INK, font=font)
        image.paste(Image.fromarray(picture), (x, y + caption))
    return image


def _legend(
    image: Image.Image | None,
    title: str,
    entries: Sequence[tuple[str, Style]],
    width: int,
    font: FreeTypeFont | ImageFont,
) -> int:
    """Draw title and legend, or only measure them; return the height."""
    from PIL import Image, ImageDraw

    draw = None if image is None else ImageDraw.Draw(image)
    if draw is not None:
        draw.text((_GAP, _GAP), _shortened(title, width - 2 * _GAP, font), fill=_INK, font=font)
    x, y = _GAP, _GAP + _LINE + 4
    swatch = 30
    for name, style in [*entries, ("unknown", None)]:
        length = swatch + 8 + int(font.getlength(name))
        if x > _GAP and x + length > width - _GAP:
            x, y = _GAP, y + _LINE
        if image is not None and draw is not None:
            box = np.full((_FONT, swatch, 3), 128, dtype=np.uint8)
            if style is None:
                _hatch(box, np.ones(box.shape[:2], dtype=bool))
            else:
                line = np.zeros(box.shape[:2], dtype=bool)
                line[5:9] = True
                box[line & _dashed(line.shape, style)] = style.colour
            image.paste(Image.fromarray(box), (x, y + 2))
            draw.text((x + swatch + 6, y), name, fill=_INK, font=font)
        x += length + 18
    return y + _LINE + _GAP


def _shortened(text: str, width: int, font: FreeTypeFont | ImageFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def paint_panel(
    panel: Panel, classes: Sequence[str], styles: Mapping[str, Style], limits: tuple[float, float], size: int = _SIZE
) -> Pixels:
    """Return a panel as RGB, shape (y, x, 3).

    Each pixel is that of the voxel it lies in, of raw and of the targets alike, by its distance in nm from the centre.
    """
    finest = min(panel.raw_scale)
    extent = [n * v for n, v in zip(panel.raw.shape, panel.raw_scale, strict=True)]
    factor = max(1, int(size * finest / max(extent)))  # pixels of the smaller edge of a voxel
    step = max(finest / factor, max(extent) / (2 * size))
    sizes = [max(1, round(e / step)) for e in extent]
    offsets = [(np.arange(n) - (n - 1) / 2) * step for n in sizes]
    rows, columns = (_voxels(o, v, n)[0] for o, v, n in zip(offsets, panel.raw_scale, panel.raw.shape, strict=True))
    raw = panel.raw[np.ix_(rows, columns)]
    low, high = limits
    grey = np.clip((raw - low) / max(high - low, 1e-9), 0, 1) * 255
    picture = np.repeat(np.rint(grey).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    found = [_voxels(o, v, n) for o, v, n in zip(offsets, panel.target_scale, panel.targets.shape[1:], strict=True)]
    within = found[0][1][:, np.newaxis] & found[1][1]
    targets = np.where(within, panel.targets[:, found[0][0]][:, :, found[1][0]], np.float32(np.nan))
    _paint_unknown(picture, ~np.isnan(targets), within, classes, styles)
    thickness = min(3, max(1, factor // 3))
    _paint_outlines(picture, targets, classes, styles, thickness)
    _frame(picture, within)
    return picture


def _voxels(offsets: npt.NDArray[np.float64], scale: float, count: int) -> tuple[npt.NDArray[np.int64], Mask]:
    """Return the voxel in which each nm offset from the centre of an axis lies, and whether there is one."""
    index = np.floor(offsets / scale + count / 2 + 1e-9).astype(np.int64)
    return np.clip(index, 0, count - 1), (index >= 0) & (index < count)


def _paint_unknown(
    picture: Pixels, known: Mask, within: Mask, classes: Sequence[str], styles: Mapping[str, Style]
) -> None:
    """Darken and hatch what is unknown in all classes; hatch what is unknown in one class in its colour."""
    nobody = ~known.any(axis=0) & within
    picture[nobody] //= 2
    _hatch(picture, nobody)
    for channel, name in enumerate(classes):
        unknown = ~known[channel] & within & ~nobody
        if name in styles and known[channel].any() and unknown.any():
            lines = unknown & (_diagonal(unknown.shape) % (2 * _HATCH) == 2 * channel % (2 * _HATCH))
            picture[lines] = styles[name].colour


def _hatch(picture: Pixels, mask: Mask) -> None:
    picture[mask & (_diagonal(mask.shape) % _HATCH < 2)] = 200


def _diagonal(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    y, x = np.indices(shape)
    diagonal: npt.NDArray[np.int64] = x + y
    return diagonal


def _dashed(shape: tuple[int, ...], style: Style) -> Mask:
    if not style.dash:
        return np.ones(shape, dtype=bool)
    dashes: Mask = _diagonal(shape) // style.dash % 2 == 0
    return dashes


def _paint_outlines(
    picture: Pixels, targets: Plane, classes: Sequence[str], styles: Mapping[str, Style], thickness: int
) -> None:
    """Outline each class on its own side of the border; further in where there is an outline already."""
    from scipy import ndimage

    taken = np.zeros(picture.shape[:2], dtype=bool)
    for channel, name in enumerate(classes):
        present, absent = targets[channel] > 0, targets[channel] <= 0  # neither where it is unknown
        if name not in styles or not present.any() or not absent.any():
            continue
        depth = ndimage.distance_transform_cdt(~absent, metric="chessboard")
        rings = [present & (depth > ring * thickness) & (depth <= (ring + 1) * thickness) for ring in range(_RINGS)]
        outline = rings[0] & ~taken
        blocked = rings[0] & taken
        for ring in rings[1:]:
            if not blocked.any():
                break
            beside = ring & ndimage.binary_dilation(blocked, np.ones((3, 3)), iterations=thickness)
            outline |= beside & ~taken
            blocked = beside & taken
        taken |= outline
        picture[outline & _dashed(outline.shape, styles[name])] = styles[name].colour


def _frame(picture: Pixels, within: Mask) -> None:
    """Frame the targets where they are smaller than raw."""
    if within.all() or not within.any():
        return
    y, x = (np.flatnonzero(within.any(axis=axis)) for axis in (1, 0))
    picture[y[[0, -1]], x[0] : x[-1] + 1] = 255
    picture[y[0] : y[-1] + 1, x[[0, -1]]] = 255
