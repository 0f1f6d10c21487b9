"""One colour for each class, whatever draws it: viewer, previews, reports, TensorBoard."""

from __future__ import annotations

import colorsys
import zlib
from functools import cache

from csc_data.challenge.classes import ClassTable, label_classes

Colour = tuple[int, int, int]

# Okabe and Ito's palette less black (https://jfly.uni-koeln.de/color), and then always the colour that is farthest from
# those before it in OKLab, as people see it and as those without red or green cones do (Machado et al., IEEE TVCG 15,
# 2009): so the first few are told apart best.
_TABLE = bytes.fromhex("""
e69f00 56b4e9 009e73 f0e442 0072b2 d55e00 cc79a7 96003c 78ffff 0000ff 8778ff 69d2a5 4b3c96 5affa5 875a78 964b00 a5d2ff
d20fc3 ff4b69 b4d269 782d69 5a00c3 ff78d2 d2004b 4b69e1 ffb4d2 b4b469 ffff00 c369d2 3c5a96 7896ff d2ffd2 d2871e a56996
961e00 78b496 ffb400 96874b 1e695a f0ff87 2d4bff 96e1a5 a5f0d2 d20078 f0e187 b4004b 78c3ff 69a5c3 2d00e1 69870f 00e1d2
c37878 5a3ce1 693cb4 4bf0f0 f000b4 7887e1 e13c96 2d69ff c3c387 a52d96 3ce12d 69a53c 78c3b4 8769d2 a51e2d 781e87 962d78
e19696 00ff69 c31e1e 0fc34b 008796 87a5ff
""")
_FIRST = tuple(
    "mito er nuc ves ld pm ecs golgi endo lyso mt ne perox np chrom cyto eres cell vim ribo".split()  # noqa: SIM905
)
"""Classes that are mostly drawn together; the others follow in the order of their ids."""

_GOLDEN = 0.61803398875  # its multiples never come close to each other, however many there are


def class_colour(name: str, known: ClassTable | None = None) -> Colour:
    """Return the colour of a class, red, green and blue in 0..255; one that nobody knows has one too.

    >>> class_colour("mito"), class_colour("mito") == class_colour("er")
    ((230, 159, 0), False)
    """
    if known is not None and name in known and (own := known[name].colour):
        return from_hex(own)
    number = _numbers().get(name)
    if number is not None and 3 * number < len(_TABLE):
        red, green, blue = _TABLE[3 * number : 3 * number + 3]
        return red, green, blue
    hue = zlib.crc32(name.encode()) * _GOLDEN % 1
    r, g, b = colorsys.hsv_to_rgb(hue, 0.6, 1.0)
    return round(255 * r), round(255 * g), round(255 * b)


@cache
def _numbers() -> dict[str, int]:
    others = sorted((entry.id, name) for name, entry in label_classes().items() if name not in _FIRST)
    return {name: number for number, name in enumerate([*_FIRST, *(name for _, name in others)])}


def as_hex(colour: Colour) -> str:
    """Return a colour as HTML writes it.

    >>> as_hex((255, 0, 16))
    '#ff0010'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


def from_hex(text: str) -> Colour:
    """Return a colour that HTML writes so.

    >>> from_hex("#ff0010")
    (255, 0, 16)
    """
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue
