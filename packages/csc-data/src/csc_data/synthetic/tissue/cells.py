"""Cells, the clefts between them, and their nuclei."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csc_data.challenge import get_class
from csc_data.synthetic.tissue.anatomy import Anatomy
from csc_data.synthetic.tissue.canvas import Canvas, Field, Point, Window
from csc_data.synthetic.tissue.coarse import as_distance, slabs
from csc_data.synthetic.tissue.shapes import smooth_noise

ROUNDING_NM = 40.0
WARP_NM = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of the volume.

    Attributes
    ----------
    id : int
        From 1.
    centre : numpy.ndarray
        In nm from the volume's first corner.
    radius_nm : float
        Distance from the centre to the nearest side.
    """

    id: int
    centre: Point
    radius_nm: float


def draw_cells(canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> list[Cell]:
    """Fill the volume with cells, separated by clefts of varying width; return them.

    The cells are Voronoi cells of jittered grid points, with rounded edges and warped sides. The grid is placed
    so that a cleft passes near the volume's centre, whatever its size.
    """
    seeds = _place_seeds(canvas.extent, anatomy, rng)
    warp_seed = int(rng.integers(2**32))
    cells: list[Cell] = []
    for index, seed in enumerate(seeds):
        others = np.delete(seeds, index, axis=0)
        distances = np.linalg.norm(others - seed, axis=1)
        others = others[distances < 2.6 * anatomy.cell_diameter_nm]
        reach = anatomy.cell_diameter_nm * 1.1
        if np.any(seed + reach < 0) or np.any(seed - reach > canvas.extent):
            continue
        cell = Cell(id=len(cells) + 1, centre=seed, radius_nm=float(distances.min()) / 2)
        if _draw_cell(canvas, anatomy, cell, others, warp_seed):
            cells.append(cell)
    return cells


def _place_seeds(extent: Point, anatomy: Anatomy, rng: np.random.Generator) -> Point:
    spacing = anatomy.cell_diameter_nm
    # A side of the grid's cells goes through this point, off the centre so that a nucleus is near as well.
    side = extent * 0.5 + rng.uniform(0.1, 0.3, 3) * np.minimum(extent, spacing) * rng.choice((-1, 1), 3)
    phase = np.array([0.5, 0.5, 0.5]) * rng.uniform(0.2, 1.0, 3)
    phase[rng.integers(3)] = 0.5
    low = np.floor(-side / spacing - 2).astype(int)
    high = np.ceil((extent - side) / spacing + 2).astype(int)
    axes = [np.arange(b, e + 1) for b, e in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    jitter = rng.uniform(-0.17, 0.17, grid.shape)
    seeds: Point = side + (grid + phase + jitter) * spacing
    return seeds


def _draw_cell(canvas: Canvas, anatomy: Anatomy, cell: Cell, others: Point, warp_seed: int) -> bool:
    reach = anatomy.cell_diameter_nm * 1.1
    narrow, wide = anatomy.cell_gap_nm

    def depth_in_cell(window: Window) -> tuple[Field]:
        # One warp for all cells, so that neighbours keep fitting together.
        warp_rng = np.random.default_rng(warp_seed)
        axes = [
            axis + np.float32(WARP_NM) * smooth_noise(window, 520.0, warp_rng)
            for axis in (window.z, window.y, window.x)
        ]
        width = narrow + (wide - narrow) * np.clip(0.1 + 0.45 * smooth_noise(window, 600.0, warp_rng), 0, 1) ** 2
        total = np.zeros(window.shape, np.float32)
        for other in others:
            normal = other - cell.centre
            length = np.linalg.norm(normal)
            normal = (normal / length).astype(np.float32)
            middle = np.float32(normal @ ((other + cell.centre) / 2))
            plane = middle - (axes[0] * normal[0] + axes[1] * normal[1] + axes[2] * normal[2])
            total += np.exp(-np.clip(plane, -2000, 2000) / np.float32(ROUNDING_NM))
        return (as_distance(-np.float32(ROUNDING_NM) * np.log(total) - np.float32(0.5) * width),)

    found = False
    for window, (depth,) in slabs(canvas, cell.centre - reach, cell.centre + reach, depth_in_cell):
        inside = depth > 0
        if not inside.any():
            continue
        found = True
        canvas.cells[window.slices][inside] = cell.id
        canvas.paint(window, inside, "cyto")
        canvas.paint(window, inside & (depth <= anatomy.membrane_nm), "pm")
    return found


def draw_nucleus(canvas: Canvas, anatomy: Anatomy, cell: Cell, rng: np.random.Generator) -> None:
    """Draw the nucleus of a cell: envelope of two membranes, chromatin, nucleolus, pores."""
    radius = cell.radius_nm * rng.uniform(*anatomy.nucleus_share)
    axes = radius * rng.uniform(0.85, 1.15, 3)
    centre = cell.centre + rng.uniform(-0.12, 0.12, 3) * cell.radius_nm
    core = centre + rng.uniform(-0.3, 0.3, 3) * radius
    nucleus = canvas.new_id()
    membrane, cleft = anatomy.membrane_nm, 1.4 * anatomy.membrane_nm
    envelope = 2 * membrane + cleft
    pore_rng = np.random.default_rng(rng.integers(2**32))

    def fields(window: Window) -> tuple[Field, Field, Field]:
        scaled = [
            (axis - np.float32(c)) / np.float32(a)
            for axis, c, a in zip((window.z, window.y, window.x), centre, axes, strict=True)
        ]
        norm = np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2)
        depth = as_distance(radius * (1 - norm + np.float32(0.05) * smooth_noise(window, 1.3 * radius, rng)))
        clumps = smooth_noise(window, 170.0, rng, waves=10) + 1.6 * np.exp(-np.clip(depth - envelope, 0, None) / 45.0)
        ball = np.sqrt((window.z - core[0]) ** 2 + (window.y - core[1]) ** 2 + (window.x - core[2]) ** 2)
        nucleolus = 0.33 * radius * (1 + 0.15 * smooth_noise(window, 200.0, rng)) - ball
        return depth, clumps.astype(np.float32), nucleolus.astype(np.float32)

    reach = axes.max() * 1.3
    points = []
    for window, (depth, clumps, nucleolus) in slabs(canvas, centre - reach, centre + reach, fields):
        inside = (depth > 0) & (canvas.cells[window.slices] == cell.id)
        canvas.paint(window, inside, "ne_mem", nucleus)
        canvas.paint(window, inside & (depth > membrane) & (depth <= membrane + cleft), "ne_lum")
        interior = inside & (depth > envelope)
        canvas.paint(window, interior, "nucpl")
        canvas.paint(window, interior & (clumps > 0.0), "echrom")
        canvas.paint(window, interior & (clumps > 0.75), "hchrom")
        canvas.paint(window, interior & (nucleolus > 0), "nucleo")
        points.append(_sample_envelope(canvas, anatomy, window, depth, pore_rng))
    if points:
        _draw_pores(canvas, anatomy, np.concatenate(points), nucleus)


def _sample_envelope(canvas: Canvas, anatomy: Anatomy, window: Window, depth: Field, rng: np.random.Generator) -> Point:
    """Return random points in the middle of the envelope, in nm, as many as pores are due in the window."""
    middle = 1.7 * anatomy.membrane_nm
    half = 0.25 * max(canvas.voxel_size)
    index = np.argwhere((np.abs(depth - middle) <= half) & (canvas.objects[window.slices] > 0))
    area_um2 = len(index) * float(np.prod(canvas.voxel_size)) / (2 * half) * 1e-6
    count = min(len(index), int(rng.poisson(anatomy.pores * area_um2)))
    chosen = index[rng.choice(len(index), count, replace=False)] if count else index[:0]
    axes = (window.z.ravel(), window.y.ravel(), window.x.ravel())
    return np.stack([axis[chosen[:, i]] for i, axis in enumerate(axes)], axis=1).astype(np.float64)


def _draw_pores(canvas: Canvas, anatomy: Anatomy, points: Point, nucleus: int) -> None:
    envelope = ("ne_mem", "ne_lum")
    radius, spacing = 48.0, 130.0
    placed: list[Point] = []
    for point in points:
        if any(np.linalg.norm(point - other) < spacing for other in placed):
            continue
        window = canvas.window(point - radius, point + radius)
        if window is None:
            continue
        distance = np.sqrt((window.z - point[0]) ** 2 + (window.y - point[1]) ** 2 + (window.x - point[2]) ** 2)
        wall = (canvas.objects[window.slices] == nucleus) & np.isin(canvas.atoms[window.slices], _ids(envelope))
        if not (wall & (distance < radius / 2)).any():
            continue
        placed.append(point)
        pore = canvas.new_id()
        canvas.paint(window, wall & (distance < radius), "np_out", pore)
        canvas.paint(window, wall & (distance < radius / 2), "np_in", pore)


def _ids(names: tuple[str, ...]) -> list[int]:
    return [get_class(name).id for name in names]
