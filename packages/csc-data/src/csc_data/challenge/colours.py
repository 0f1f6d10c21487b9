"""One colour for each class, whatever of it a viewer draws."""

from __future__ import annotations

import colorsys
import zlib

from csc_data.challenge.classes import label_classes

Colour = tuple[int, int, int]

_GOLDEN = 0.61803398875  # its multiples never come close to each other, however many there are
_SHADES = ((0.95, 0.75), (1.0, 0.5), (0.75, 0.85))


def class_colour(name: str) -> Colour:
    """Return the colour of a class, red, green and blue in 0..255; one that the challenge does not have has one too.

    >>> class_colour("mito") == class_colour("mito"), class_colour("mito") == class_colour("er")
    (True, False)
    """
    known = label_classes().get(name)
    number = known.id if known is not None else 100 + zlib.crc32(name.encode())
    value, saturation = _SHADES[number % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def as_hex(colour: Colour) -> str:
    """Return a colour as HTML writes it.

    >>> as_hex((255, 0, 16))
    '#ff0010'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)
