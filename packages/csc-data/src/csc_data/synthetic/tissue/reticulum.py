"""The endoplasmic reticulum: sheets around the nucleus and a branching network of tubes."""

from __future__ import annotations

import numpy as np

from csc_data.challenge import get_class
from csc_data.synthetic.tissue.anatomy import Anatomy
from csc_data.synthetic.tissue.canvas import CYTO, Canvas, Field, Point, Window
from csc_data.synthetic.tissue.shapes import random_axes, random_path, smooth_noise, surroundings, tube_depth

ER_MEM, ER_LUM = get_class("er_mem").id, get_class("er_lum").id


def draw_er_tubes(canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator, *, attempts: int = 8) -> int:
    """Grow a network of tubes; return the number of branches.

    A branch starts at a node of an earlier one, or, one time in three, anywhere in the cytosol, so that every cell gets
    a network.
    """
    cytoplasm_um3 = np.count_nonzero(canvas.atoms == CYTO) * float(np.prod(canvas.voxel_size)) * 1e-9
    nodes: list[Point] = []
    branches = 0
    for _ in range(int(np.ceil(anatomy.er_branches * cytoplasm_um3))):
        for _ in range(attempts):
            start = nodes[rng.integers(len(nodes))] if nodes and rng.random() > 1 / 3 else None
            if start is None:
                start = rng.uniform(0, 1, 3) * canvas.extent
                if canvas.atom_at(start) != CYTO:
                    continue
            path = random_path(rng, start, rng.uniform(100.0, 320.0), step_nm=50.0, bend=0.3)
            if _draw_tube(canvas, anatomy, path, rng):
                inside = (path >= 0).all(axis=1) & (path < canvas.extent).all(axis=1)
                nodes.extend(path[inside])
                branches += 1
                break
    return branches


def _draw_tube(canvas: Canvas, anatomy: Anatomy, path: Point, rng: np.random.Generator) -> bool:
    if not np.isin(canvas.atoms_at(surroundings(path, anatomy.er_radius_nm)), (CYTO, ER_MEM, ER_LUM)).all():
        return False
    radii = anatomy.er_radius_nm * rng.uniform(0.88, 1.15, len(path))
    margin = radii.max() + anatomy.gap_nm + max(canvas.voxel_size)
    window = canvas.window(path.min(0) - margin, path.max(0) + margin)
    if window is None:
        return False
    depth, _ = tube_depth(canvas, window, path, radii)
    return _join(canvas, anatomy, window, depth)


def draw_er_sheet(canvas: Canvas, anatomy: Anatomy, place: Point, rng: np.random.Generator) -> bool:
    """Try to draw a few parallel, gently curved sheets around the place; each goes as far as there is room."""
    across, along, normal = random_axes(rng)
    radius = rng.uniform(*anatomy.er_sheet_radius_nm)
    spacing = 2 * anatomy.er_radius_nm + 2.2 * anatomy.gap_nm
    drawn = False
    for k in range(int(rng.integers(1, 4))):
        middle = place + normal * spacing * k
        rim_points = middle + radius * np.concatenate([across[None], along[None], -across[None], -along[None]])
        if not np.isin(canvas.atoms_at(surroundings(rim_points, 20.0)), (CYTO, ER_MEM, ER_LUM)).all():
            continue
        reach = np.full(3, radius + 60.0)
        window = canvas.window(middle - reach, middle + reach)
        if window is None:
            continue
        z, y, x = (axis - np.float32(c) for axis, c in zip((window.z, window.y, window.x), middle, strict=True))
        u, v, w = (z * np.float32(a[0]) + y * np.float32(a[1]) + x * np.float32(a[2]) for a in (across, along, normal))
        rim = np.sqrt(u * u + v * v)
        level = w + (rim / np.float32(radius)) ** 2 * np.float32(35.0)
        edge = np.float32(radius) * (1 + np.float32(0.12) * smooth_noise(window, 200.0, rng))
        depth = np.minimum(np.float32(0.85 * anatomy.er_radius_nm) - np.abs(level), edge - rim)
        drawn |= _join(canvas, anatomy, window, depth)
    return drawn


def _join(canvas: Canvas, anatomy: Anatomy, window: Window, depth: Field) -> bool:
    """Add a shape to the network: lumens merge where shapes meet; tell whether there was room."""
    atoms = canvas.atoms[window.slices]
    near = depth > -anatomy.gap_nm
    if not near.any() or not np.isin(atoms[near], (CYTO, ER_MEM, ER_LUM)).all():
        return False
    lumen = (depth > anatomy.membrane_nm) | (atoms == ER_LUM)
    wall = (depth > 0) & ~lumen
    canvas.paint(window, wall, "er_mem")
    canvas.paint(window, lumen, "er_lum")
    return True
