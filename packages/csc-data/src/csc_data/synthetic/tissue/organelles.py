"""Organelles of the cytoplasm: each is tried at random places until it is free of all others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from csc_data.synthetic.tissue.anatomy import Anatomy, Range
from csc_data.synthetic.tissue.canvas import CYTO, Canvas, Point
from csc_data.synthetic.tissue.shapes import (
    SmoothNoise,
    ball_depth,
    random_axes,
    random_direction,
    random_path,
    smooth_noise,
    surroundings,
    tube_depth,
)

Draw = Callable[[Canvas, Anatomy, Point, np.random.Generator], bool]

ATTEMPTS = 24


def scatter(canvas: Canvas, anatomy: Anatomy, density: float, draw: Draw, rng: np.random.Generator) -> int:
    """Draw organelles at random places, in the number that the cytoplasm's volume asks for.

    Parameters
    ----------
    canvas, anatomy
        What to draw into, and the sizes.
    density : float
        Number per cubic micrometre of cytoplasm.
    draw : callable
        Tries to draw one at a place; tells whether there was room.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    int
        How many found room.
    """
    cytoplasm_um3 = np.count_nonzero(canvas.atoms == CYTO) * float(np.prod(canvas.voxel_size)) * 1e-9
    wanted = density * cytoplasm_um3
    count = int(wanted) + int(rng.random() < wanted % 1)
    placed = 0
    for _ in range(count):
        for _ in range(ATTEMPTS):
            place = rng.uniform(0, 1, 3) * canvas.extent
            if canvas.atom_at(place) == CYTO and draw(canvas, anatomy, place, rng):
                placed += 1
                break
    return placed


def draw_mito(canvas: Canvas, anatomy: Anatomy, place: Point, rng: np.random.Generator) -> bool:
    """Try to draw a mitochondrion that begins at the place: a bent tube with lamellar cristae."""
    length = rng.uniform(*anatomy.mito_length_nm)
    path = random_path(rng, place, length, step_nm=45.0, bend=0.2)
    radius = rng.uniform(*anatomy.mito_radius_nm)
    if np.any(canvas.atoms_at(surroundings(path, radius)) != CYTO):
        return False
    radii = radius * (1 + 0.12 * np.sin(rng.uniform(0, 6.3) + 0.9 * np.arange(len(path))))
    margin = radii.max() + anatomy.gap_nm + 2 * max(canvas.voxel_size)
    window = canvas.window(path.min(0) - margin, path.max(0) + margin)
    if window is None:
        return False
    depth, arc = tube_depth(canvas, window, path, radii)
    wobble = SmoothNoise.random(210.0, rng)
    near = depth > -anatomy.gap_nm - 12.0
    z, y, x = window.positions(near)
    depth[near] += np.float32(5.0) * wobble.at(z, y, x)
    if not canvas.is_free(window, depth > -anatomy.gap_nm):
        return False
    mito, membrane = canvas.new_id(), anatomy.membrane_nm
    canvas.paint(window, depth > 0, "mito_mem", mito)
    inside = depth > membrane
    canvas.paint(window, inside, "mito_lum", mito)
    # Lamellae across the tube, each open on one side: arc length plus a tilt, cut off by a smooth field.
    z, y, x = window.positions(inside)
    spacing = anatomy.crista_spacing_nm * rng.uniform(0.85, 1.2)
    tilt = (random_direction(rng) * rng.uniform(0.1, 0.7)).astype(np.float32)
    shift = z * tilt[0] + y * tilt[1] + x * tilt[2] + np.float32(13.0) * SmoothNoise.random(240.0, rng).at(z, y, x)
    phase = (arc[inside] + shift) / np.float32(spacing)
    lamella = np.abs(phase - np.rint(phase)) * np.float32(spacing) < 0.48 * membrane
    inside[inside] = lamella & (SmoothNoise.random(190.0, rng).at(z, y, x) <= 1.2)
    canvas.paint(window, inside, "mito_mem", mito)
    return True


def ball_drawer(radius_nm: Range, prefix: str, *, gap: float = 1.0, flatten: float = 0.15, wobble: float = 0.0) -> Draw:
    """Return the function that draws a round organelle of classes ``{prefix}_mem`` and ``{prefix}_lum``.

    Parameters
    ----------
    radius_nm : (float, float)
        Least and largest radius.
    prefix : str
        Name of the group class.
    gap : float
        Distance from other organelles, in units of the anatomy's gap.
    flatten : float
        Largest relative change of the three radii.
    wobble : float
        Unevenness of the surface as a share of the radius.
    """

    def draw(canvas: Canvas, anatomy: Anatomy, place: Point, rng: np.random.Generator) -> bool:
        radius = rng.uniform(*radius_nm)
        radii = radius * rng.uniform(1 - flatten, 1 + flatten, 3)
        margin = radii.max() * (1 + wobble) + gap * anatomy.gap_nm + 1
        window = canvas.window(place - margin, place + margin)
        if window is None:
            return False
        depth = ball_depth(window, place, radii)
        if wobble:
            depth += np.float32(wobble * radius / 2) * np.clip(smooth_noise(window, 2.2 * radius, rng), -2, 2)
        if not canvas.is_free(window, depth > -gap * anatomy.gap_nm):
            return False
        ball = canvas.new_id()
        canvas.paint(window, depth > 0, f"{prefix}_mem", ball)
        canvas.paint(window, depth > anatomy.membrane_nm, f"{prefix}_lum", ball)
        return True

    return draw


def draw_golgi(canvas: Canvas, anatomy: Anatomy, place: Point, rng: np.random.Generator) -> bool:
    """Try to draw a Golgi stack around the place: curved flat cisternae, the middle ones wider."""
    across, along, normal = random_axes(rng)
    radius, count = rng.uniform(*anatomy.golgi_radius_nm), int(rng.integers(4, 6))
    spokes = np.array([(0.7, 0.6), (0.7, -0.6), (-0.7, 0.6), (-0.7, -0.6), (0.0, 0.6), (0.7, 0.0)])
    spots = np.concatenate([share * radius * spokes for share in (0.0, 0.5, 0.95)])
    probe = place + spots @ np.stack([across, along])
    if np.any(canvas.atoms_at(surroundings(probe, 80.0)) != CYTO):
        return False
    height, spacing = 2.6 * anatomy.membrane_nm, 3.6 * anatomy.membrane_nm
    reach = np.full(3, radius + count * spacing / 2)
    window = canvas.window(place - reach, place + reach)
    if window is None:
        return False
    z, y, x = (axis - np.float32(c) for axis, c in zip((window.z, window.y, window.x), place, strict=True))
    u, v, w = (z * np.float32(a[0]) + y * np.float32(a[1]) + x * np.float32(a[2]) for a in (across, along, normal))
    rim = np.sqrt(u * u + (v * np.float32(1.25)) ** 2)
    level = w + (rim / np.float32(radius)) ** 2 * np.float32(45.0) + np.float32(6.0) * smooth_noise(window, 230.0, rng)
    stack = np.full(window.shape, -1e9, np.float32)
    for k in range(count):
        position = k - (count - 1) / 2
        edge = radius * (1 - 0.09 * position**2) * rng.uniform(0.85, 1.0)
        # Cisternae swell towards their rims, as real ones do.
        half = height / 2 * (1 + 0.5 * np.clip(rim / edge - 0.6, 0, 0.4))
        stack = np.maximum(stack, np.minimum(half - np.abs(level - position * spacing), (edge - rim)))
    if not canvas.is_free(window, stack > -anatomy.gap_nm):
        return False
    golgi = canvas.new_id()
    canvas.paint(window, stack > 0, "golgi_mem", golgi)
    canvas.paint(window, stack > 0.7 * anatomy.membrane_nm, "golgi_lum", golgi)
    return True


def draw_microtubule(canvas: Canvas, anatomy: Anatomy, place: Point, rng: np.random.Generator) -> bool:
    """Try to draw a microtubule that begins at the place: a thin, nearly straight tube."""
    path = random_path(rng, place, rng.uniform(300.0, 900.0), step_nm=100.0, bend=0.05)
    if np.any(canvas.atoms_at(surroundings(path, anatomy.gap_nm)) != CYTO):
        return False
    radius = max(anatomy.microtubule_radius_nm, 0.8 * max(canvas.voxel_size))
    margin = radius + anatomy.gap_nm + max(canvas.voxel_size)
    window = canvas.window(path.min(0) - margin, path.max(0) + margin)
    if window is None:
        return False
    depth, _ = tube_depth(canvas, window, path, np.full(len(path), radius))
    if not canvas.is_free(window, depth > -0.5 * anatomy.gap_nm):
        return False
    tube = canvas.new_id()
    canvas.paint(window, depth > 0, "mt_out", tube)
    canvas.paint(window, depth > 0.55 * radius, "mt_in", tube)
    return True


def draw_glycogen(canvas: Canvas, anatomy: Anatomy, place: Point, rng: np.random.Generator) -> bool:
    """Try to draw a rosette of glycogen: a dark, lumpy grain without a lumen, about as large as a vesicle."""
    radius = rng.uniform(*anatomy.glycogen_radius_nm)
    margin = 1.6 * radius + anatomy.gap_nm
    window = canvas.window(place - margin, place + margin)
    if window is None:
        return False
    depth = ball_depth(window, place, radius * rng.uniform(0.85, 1.15, 3))
    for _ in range(2):
        lump = place + random_direction(rng) * 0.7 * radius
        depth = np.maximum(depth, ball_depth(window, lump, np.full(3, 0.6 * radius)))
    if not canvas.is_free(window, depth > -anatomy.gap_nm):
        return False
    canvas.paint(window, depth > 0, "glyco")
    return True
