"""Golgi stacks with the vesicles around them, exit sites' vesicles, bundles of microtubules, and centrioles."""

from __future__ import annotations

import dataclasses

import numpy as np

from csc_data.challenge import get_class
from csc_data.synthetic.specimen.boxes import CYTO, Canvas, Layers, Point
from csc_data.synthetic.specimen.kinds import CENTRIOLE_NM
from csc_data.synthetic.specimen.noise import SmoothNoise
from csc_data.synthetic.specimen.organelles import REACH, draw_vesicle, layers, tube_depth
from csc_data.synthetic.specimen.placing import Organelle

CISTERNA_NM, CISTERNA_SPACING_NM = 34.0, 60.0
"""Thickness, and from one to the next: a guess, so that gaps show at 8 nm; 20 to 30 nm and 45 nm are common."""
MICROTUBULE_NM = (12.5, 7.5)
"""Outer and inner radius (MBoC: 25 nm across; the inside is about 15 nm)."""


def _axes(rng: np.random.Generator) -> tuple[Point, Point, Point]:
    """Return three directions at right angles."""
    first, second = rng.standard_normal((2, 3))
    first /= np.sqrt(first @ first)
    second -= first * (first @ second)
    second /= np.sqrt(second @ second)
    return first, second, np.cross(first, second)


def draw_golgi(canvas: Canvas, organelle: Organelle) -> None:
    """Draw a stack of curved cisternae, wider at their rims, with holes; vesicles lie around it."""
    rng = np.random.default_rng([organelle.key, 7])
    normal, across, along = _axes(rng)
    window = canvas.around(organelle.centre, organelle.radius + REACH)
    count = int(rng.integers(4, 8))
    curve = rng.uniform(0.12, 0.3)
    stretch = rng.uniform(1.0, 1.35)
    edges = 0.72 * organelle.radius * rng.uniform(0.8, 1.0, count)
    if window is not None:
        u, v, w = window.along(across), window.along(along) * np.float32(stretch), window.along(normal)
        rim = np.sqrt(u * u + v * v)
        level = w + rim * rim * np.float32(curve / organelle.radius)
        level += np.float32(9.0) * SmoothNoise(organelle.key, 170.0).on(window.axes)
        holes = SmoothNoise(organelle.key + 1, 85.0).on(window.axes)
        rim += np.float32(28.0) * SmoothNoise(organelle.key + 2, 120.0).on(window.axes)
        stack = np.full(rim.shape, np.float32(-1e4))
        for number, edge in enumerate(edges):
            position = (number - (count - 1) / 2) * CISTERNA_SPACING_NM - curve * 0.25 * organelle.radius
            share = rim * np.float32(1 / edge)
            half = np.float32(CISTERNA_NM / 2) + np.float32(9.0) * np.clip(share * 3 - 2, 0, 1)
            flat = half - np.abs(level - np.float32(position))
            flat = np.minimum(flat, np.float32(edge) - rim)
            # Holes are in the outer half, as between the tubes that a cisterna ends in.
            flat = np.minimum(flat, (np.float32(1.55) - holes) * 50 + np.clip(0.6 - share, 0, 1) * 200)
            np.maximum(stack, flat, out=stack)
        canvas.enclose(window, stack, layers("golgi", 150.0, thickness_nm=9.5, grey=66.0), organelle.number)
    _draw_vesicles(canvas, organelle, np.array([0.84, 0.98]), 40)


def draw_exit_site(canvas: Canvas, organelle: Organelle) -> None:
    """Draw the vesicles of an exit site; its reticulum is drawn with the rest of it."""
    _draw_vesicles(canvas, organelle, np.array([0.1, 0.8]), 10)


def _draw_vesicles(canvas: Canvas, organelle: Organelle, share: Point, most: int) -> None:
    """Draw vesicles around the middle, at shares of the radius; those that would meet are left out."""
    rng = np.random.default_rng([organelle.key, 8])
    placed: list[tuple[Point, float]] = []
    for _ in range(most):
        direction = rng.standard_normal(3)
        direction /= np.sqrt(direction @ direction)
        place = organelle.centre + direction * organelle.radius * rng.uniform(*share)
        radius = rng.uniform(24.0, 36.0)
        if any(np.sqrt(((place - other) ** 2).sum()) < radius + size + 14.0 for other, size in placed):
            continue
        placed.append((place, radius))
    for number, (place, radius) in enumerate(placed, start=1):
        draw_vesicle(
            canvas,
            dataclasses.replace(
                organelle,
                kind="ves",
                path=place[None],
                radius=radius,
                number=organelle.number + number,
                key=organelle.key + number,
            ),
        )


def draw_microtubules(canvas: Canvas, organelle: Organelle) -> None:
    """Draw a bundle: tubes side by side, each a bit shorter than the bundle."""
    rng = np.random.default_rng([organelle.key, 9])
    path = organelle.path
    chord = path[-1] - path[0]
    chord /= np.sqrt(chord @ chord)
    side = rng.standard_normal(3)
    side -= chord * (side @ chord)
    side /= np.sqrt(side @ side)
    other = np.cross(chord, side)
    coarse = max(canvas.box.voxel_size)
    outer = max(MICROTUBULE_NM[0], 0.8 * coarse)
    look = Layers(
        membrane=get_class("mt_out").id,
        lumen=get_class("mt_in").id,
        thickness_nm=outer - max(MICROTUBULE_NM[1], 0.52 * coarse),
        membrane_grey=66.0,
        lumen_grey=150.0,
    )
    spread = organelle.radius - outer - 2.0
    step = 44.0 if outer < 14.0 else 3.4 * outer
    spots = [np.zeros(2)] + [spread_to(k, step) for k in range(6)]
    for number, spot in enumerate(spots[: int(rng.integers(3, 8))]):
        if np.sqrt(spot @ spot) > spread:
            continue
        ends = sorted(rng.integers(0, 4, 2))
        tube = path[int(ends[0]) : len(path) - int(ends[1])] + side * spot[0] + other * spot[1]
        _draw_tube(canvas, tube, outer, look, organelle.number + number)


def spread_to(number: int, step: float) -> Point:
    """Return one of six places around a middle."""
    return step * np.array([(1, 0), (0.5, 0.866), (-0.5, 0.866), (-1, 0), (-0.5, -0.866), (0.5, -0.866)][number])


def _draw_tube(canvas: Canvas, path: Point, radius: float, look: Layers, number: int) -> None:
    """Draw a thin tube piece by piece, each in a small window."""
    margin = radius + 16.0
    middle = path[len(path) // 2]
    for start in range(0, len(path) - 1, 2):
        # Two segments more on each side, so that where pieces meet both know of all that is near.
        piece = path[max(0, start - 1) : start + 4]
        own = path[start : start + 3]
        window = canvas.window(middle, own.min(0) - margin, own.max(0) + margin)
        if window is not None:
            canvas.enclose(window, tube_depth(window, middle, piece, radius), look, number)


def draw_centriole(canvas: Canvas, organelle: Organelle) -> None:
    """Draw a centriole: nine blades around a light middle; the mother (its key is even) has appendages at one end."""
    window = canvas.window(
        organelle.centre, organelle.path.min(0) - organelle.radius, organelle.path.max(0) + organelle.radius
    )
    if window is None:
        return
    rng = np.random.default_rng([organelle.key, 10])
    axis = organelle.path[-1] - organelle.path[0]
    axis /= np.sqrt(axis @ axis)
    radius, length = CENTRIOLE_NM
    side = rng.standard_normal(3)
    side -= axis * (side @ axis)
    side /= np.sqrt(side @ side)
    w, u, v = window.along(axis), window.along(side), window.along(np.cross(axis, side))
    out = np.sqrt(u * u + v * v)
    barrel = np.minimum(np.float32(length / 2) - np.abs(w), np.float32(radius) - out)
    blade = np.full(out.shape, np.float32(-1e4))
    fin = np.full(out.shape, np.float32(-1e4))
    for number in range(9):
        angle = 2 * np.pi * number / 9
        along = u * np.float32(np.cos(angle)) + v * np.float32(np.sin(angle))
        aside = v * np.float32(np.cos(angle)) - u * np.float32(np.sin(angle))
        # Triplets lie slanting in the wall.
        slant = aside - (along - np.float32(radius - 20.0)) * np.float32(0.8)
        blade = np.maximum(blade, np.where(along > 0, np.float32(14.0) - np.abs(slant), np.float32(-1e4)))
        fin = np.maximum(fin, np.where(along > 0, np.float32(13.0) - np.abs(aside), np.float32(-1e4)))
    wall = np.minimum(np.minimum(blade, barrel), out - np.float32(radius - 44.0))
    atoms, grey = canvas.atoms[window.slices], canvas.grey[window.slices]
    free = atoms == CYTO
    atoms[free & (barrel > 0)] = get_class("cent").id
    np.copyto(grey, grey + (np.float32(58.0) - grey) * canvas.cover(wall), where=free)
    canvas.keep_off(window, barrel)
    if organelle.key % 2:
        return
    for name, place, reach in (("cent_dapp", length / 2 - 32.0, 62.0), ("cent_sdapp", length / 2 - 112.0, 84.0)):
        height = np.float32(15.0) - np.abs(w - np.float32(place))
        part = np.minimum(
            np.minimum(fin, height), np.minimum(out - np.float32(radius), np.float32(radius + reach) - out)
        )
        there = (atoms == CYTO) & (part > 0)
        atoms[there] = get_class(name).id
        np.copyto(grey, grey + (np.float32(84.0) - grey) * canvas.cover(part), where=there)
        canvas.keep_off(window, part)
