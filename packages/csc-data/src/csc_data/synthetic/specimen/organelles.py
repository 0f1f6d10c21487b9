"""Organelles as they are drawn: balls with what is in them, and mitochondria."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from csc_data.challenge import get_class
from csc_data.synthetic.specimen.boxes import FAR, Canvas, Field, Layers, Point, Window
from csc_data.synthetic.specimen.noise import SmoothNoise
from csc_data.synthetic.specimen.placing import Organelle

MEMBRANE_NM = 11.0
"""A membrane is 5 nm thick (MBoC); stained it looks about twice as thick in a scanning microscope (a guess)."""
MEMBRANE_GREY = 62.0
REACH = 40.0  # nm around an organelle in which others are told of it


def layers(prefix: str, lumen_grey: float, *, thickness_nm: float = MEMBRANE_NM, grey: float = MEMBRANE_GREY) -> Layers:
    """Return how the classes ``{prefix}_mem`` and ``{prefix}_lum`` look."""
    return Layers(
        membrane=get_class(f"{prefix}_mem").id,
        lumen=get_class(f"{prefix}_lum").id,
        thickness_nm=thickness_nm,
        membrane_grey=grey,
        lumen_grey=lumen_grey,
    )


def _ball(canvas: Canvas, organelle: Organelle, uneven: float, rng: np.random.Generator) -> tuple[Window, Field] | None:
    """Return a window and the depth in a ball that is a bit flat, and uneven by a share of its radius."""
    centre, radius = organelle.centre, organelle.radius
    window = canvas.around(centre, radius + REACH)
    if window is None:
        return None
    z, y, x = rng.uniform(1.0, 1.0 + 2 * uneven, 3)
    scaled = Window(
        window.slices, window.z * np.float32(z), window.y * np.float32(y), window.x * np.float32(x), window.axes
    )
    depth = np.float32(radius) - scaled.distance()
    if uneven > 0.05:
        noise = SmoothNoise(organelle.key, 0.7 * radius).on(window.axes)
        depth -= np.float32(uneven * radius * 0.5) * np.abs(noise)
    return window, depth


def draw_vesicle(canvas: Canvas, organelle: Organelle) -> None:
    """Draw a vesicle."""
    rng = np.random.default_rng([organelle.key, 1])
    if (found := _ball(canvas, organelle, 0.04, rng)) is not None:
        canvas.enclose(*found, layers("ves", rng.uniform(120, 185)), organelle.number)


def draw_droplet(canvas: Canvas, organelle: Organelle) -> None:
    """Draw a lipid droplet: even, with a single layer of lipids around it."""
    rng = np.random.default_rng([organelle.key, 2])
    if (found := _ball(canvas, organelle, 0.03, rng)) is not None:
        look = layers("ld", rng.uniform(112, 136), thickness_nm=8.0, grey=78.0)
        canvas.enclose(*found, look, organelle.number)


def draw_peroxisome(canvas: Canvas, organelle: Organelle) -> None:
    """Draw a peroxisome: dense and even; every third with a denser core."""
    rng = np.random.default_rng([organelle.key, 3])
    if (found := _ball(canvas, organelle, 0.06, rng)) is None:
        return
    window, depth = found
    grey = rng.uniform(98, 116)
    inside = canvas.enclose(window, depth, layers("perox", grey), organelle.number)
    if rng.random() < 1 / 3:
        core = inside & (depth > 0.55 * organelle.radius)
        canvas.grey[window.slices][core] -= np.float32(26.0)


def draw_endosome(canvas: Canvas, organelle: Organelle) -> None:
    """Draw an endosome: light, with small vesicles inside of it."""
    rng = np.random.default_rng([organelle.key, 4])
    if (found := _ball(canvas, organelle, 0.10, rng)) is None:
        return
    window, depth = found
    inside = canvas.enclose(window, depth, layers("endo", rng.uniform(164, 186)), organelle.number)
    grey = canvas.grey[window.slices]
    room = 0.72 * organelle.radius
    for _ in range(int(rng.integers(4, 6 + int(organelle.radius / 14)))):
        place = organelle.centre + _in_ball(rng) * room
        radius = rng.uniform(20.0, 34.0)
        small = canvas.around(place, radius + 12.0)
        if small is None:
            continue
        ring = np.abs(small.distance() - np.float32(radius - 5.0)) < 5.0
        part = tuple(
            slice(s.start - w.start, s.stop - w.start) for s, w in zip(small.slices, window.slices, strict=True)
        )
        ring &= inside[part] & (depth[part] > 20.0)
        grey[part][ring] = 92.0


def draw_lysosome(canvas: Canvas, organelle: Organelle) -> None:
    """Draw a lysosome: dark, with lumps and, every other one, whorls of membrane."""
    rng = np.random.default_rng([organelle.key, 5])
    if (found := _ball(canvas, organelle, 0.16, rng)) is None:
        return
    window, depth = found
    base = rng.uniform(84, 116)
    inside = canvas.enclose(window, depth, layers("lyso", base), organelle.number) & (depth > 14.0)
    lumps = np.float32(20.0) * SmoothNoise(organelle.key + 1, 46.0).on(window.axes)
    if rng.random() < 0.5:
        rings = depth * np.float32(1 / 30.0) + np.float32(0.5) * SmoothNoise(organelle.key + 2, 90.0).on(window.axes)
        whorls = np.abs(rings - np.rint(rings)) < 0.2
        lumps += np.where(whorls, np.float32(-26.0), np.float32(20.0))
    grey = canvas.grey[window.slices]
    grey[inside] = np.clip(grey + lumps, 44.0, 176.0)[inside]


def tube_depth(window: Window, centre: Point, path: Point, radius: float) -> Field:
    """Return the depth in a tube around a line of points, round at its ends."""
    best: Field | None = None
    for first, last in zip(path[:-1] - centre, path[1:] - centre, strict=True):
        axis = last - first
        length = float(axis @ axis)
        z, y, x = (place - np.float32(part) for place, part in zip((window.z, window.y, window.x), first, strict=True))
        share = ((z * np.float32(axis[0]) + y * np.float32(axis[1])) + x * np.float32(axis[2])) * np.float32(1 / length)
        np.clip(share, 0, 1, out=share)
        square = (z - share * np.float32(axis[0])) ** 2
        square += (y - share * np.float32(axis[1])) ** 2
        square += (x - share * np.float32(axis[2])) ** 2
        best = square if best is None else np.minimum(best, square)
    assert best is not None
    depth: Field = np.float32(radius) - np.sqrt(best)
    return depth


def draw_mitochondrion(canvas: Canvas, organelle: Organelle) -> None:
    """Draw a mitochondrion: two membranes close together, and cristae across a dense matrix."""
    rng = np.random.default_rng([organelle.key, 6])
    path, radius = organelle.path, organelle.radius
    window = canvas.window(organelle.centre, path.min(0) - radius - REACH, path.max(0) + radius + REACH)
    if window is None:
        return
    depth = tube_depth(window, organelle.centre, path, radius)
    depth -= np.float32(0.09 * radius) * np.abs(SmoothNoise(organelle.key, 0.9 * radius).on(window.axes))
    np.maximum(depth, np.float32(-FAR), out=depth)
    matrix = rng.uniform(112, 132)
    inside = canvas.enclose(window, depth, layers("mito", matrix, thickness_nm=20.0), organelle.number)
    inner = inside & (depth > 20.0)
    if not inner.any():
        return
    grey = canvas.grey[window.slices]
    # A thin light line between the outer and the inner membrane.
    grey[inside & (np.abs(depth - 11.0) < 2.2)] += np.float32(30.0)
    chord = path[-1] - path[0]
    chord = chord / np.sqrt(chord @ chord)
    chord = chord + rng.standard_normal(3) * 0.22
    spacing = rng.uniform(58.0, 92.0)
    bent = np.float32(0.32) * SmoothNoise(organelle.key + 1, 190.0).on(window.axes)
    phase = window.along(chord) * np.float32(1 / spacing) + bent
    lamella = np.abs(phase - np.rint(phase)) * np.float32(spacing)
    open_here = SmoothNoise(organelle.key + 2, 110.0).on(window.axes) < 0.75
    crista = inner & (lamella < 12.0) & open_here
    canvas.atoms[window.slices][crista] = get_class("mito_mem").id
    dark = canvas.cover(np.float32(12.0) - lamella) * np.where(lamella < 3.5, np.float32(0.55), np.float32(1))
    shaded = grey + (np.float32(MEMBRANE_GREY + 6) - grey) * dark
    np.copyto(grey, shaded, where=crista)


def _in_ball(rng: np.random.Generator) -> Point:
    direction = rng.standard_normal(3)
    place: Point = direction / np.sqrt(direction @ direction) * rng.random() ** (1 / 3)
    return place


Draw = Callable[[Canvas, Organelle], None]
