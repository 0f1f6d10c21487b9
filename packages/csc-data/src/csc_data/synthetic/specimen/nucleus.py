"""The nucleus: an envelope of two membranes with pores, chromatin of four kinds, and nucleoli."""

from __future__ import annotations

import numpy as np

from csc_data.challenge import get_class
from csc_data.synthetic.specimen.boxes import CYTO, FAR, Canvas, Field, Mask, Point, Window
from csc_data.synthetic.specimen.cells import Cell, nucleus_depth, nucleus_depth_at
from csc_data.synthetic.specimen.noise import SmoothNoise, derive

MEMBRANE_NM, CLEFT_NM = 11.0, 24.0
ENVELOPE_NM = 2 * MEMBRANE_NM + CLEFT_NM
"""Two membranes and a cleft of 20 to 40 nm between them (MBoC)."""
PORES_PER_UM2 = 9.0
"""HeLa cells have 2000 to 3000 on 300 um2, about 10 (Maul and Deaven 1977, J Cell Biol 73:748)."""
PORE_NM = (54.0, 47.0, 21.0)
"""Radii: of the hole in the envelope (about 100 nm across, MBoC), of the ring in it, and of the channel."""
BORDER_NM = 110.0
"""How deep the dense chromatin at the envelope and at nucleoli is: a guess."""
_IDS = 1 << 13
_FIRST_ID = 1 << 30


def draw_nucleus(canvas: Canvas, cell: Cell, number: int, pores: Point) -> None:
    """Draw what a box holds of the nucleus of a cell.

    Parameters
    ----------
    canvas : Canvas
        With the cell, and nothing in it.
    cell : Cell
    number : int
        Of the cell in the volume, from 1.
    pores : numpy.ndarray
        From `pore_places`.
    """
    low, high = canvas.box.low, canvas.box.high
    reach = float(cell.axes.max()) + 950.0
    nearest = np.clip(cell.centre, low, high)
    if np.sqrt(((nearest - cell.centre) ** 2).sum()) > reach:
        return
    depth = nucleus_depth(cell, canvas.box.axes)
    np.clip(depth, np.float32(-FAR), np.float32(2000.0), out=depth)
    np.minimum(canvas.clearance, -depth, out=canvas.clearance)
    inside: Mask = (depth > 0) & (canvas.atoms == CYTO)
    if inside.any():
        _draw_chromatin(canvas, cell, depth, inside)
        _draw_envelope(canvas, depth, inside)
    near = ((pores > low - 130.0) & (pores < high + 130.0)).all(axis=1)
    for index in np.flatnonzero(near):
        place = pores[index]
        window = canvas.around(place, 100.0)
        if window is not None:
            normal = cell.centre - place
            slope = place / cell.axes**2 - cell.centre / cell.axes**2
            normal = -slope / np.sqrt(slope @ slope)
            _draw_pore(canvas, window, normal, _FIRST_ID + number * _IDS + int(index))


def _draw_envelope(canvas: Canvas, depth: Field, inside: Mask) -> None:
    shell = inside & (depth <= ENVELOPE_NM)
    cleft = shell & (depth > MEMBRANE_NM) & (depth <= MEMBRANE_NM + CLEFT_NM)
    canvas.atoms[shell] = get_class("ne_mem").id
    canvas.atoms[cleft] = get_class("ne_lum").id
    grey = canvas.grey
    for start in (0.0, MEMBRANE_NM + CLEFT_NM):
        cover = canvas.cover(np.float32(MEMBRANE_NM / 2) - np.abs(depth - np.float32(start + MEMBRANE_NM / 2)))
        np.copyto(grey, grey + (np.float32(62.0) - grey) * cover, where=cover > 0)
    light = canvas.cover(np.float32(CLEFT_NM / 2) - np.abs(depth - np.float32(ENVELOPE_NM / 2)))
    np.copyto(grey, grey + (np.float32(178.0) - grey) * light, where=cleft)


def _draw_chromatin(canvas: Canvas, cell: Cell, depth: Field, inside: Mask) -> None:
    axes, key = canvas.box.axes, cell.key
    nucleolus = _nucleolus_depth(canvas, cell)
    density = np.float32(0.72) * SmoothNoise(derive(key, 30), 230.0).on(axes)
    density += np.float32(0.5) * SmoothNoise(derive(key, 31), 95.0).on(axes)
    # Denser at the envelope and around nucleoli.
    rim = np.clip(1 - np.abs(depth - np.float32(ENVELOPE_NM)) * np.float32(1 / BORDER_NM), 0, 1)
    around = np.clip(1 + nucleolus * np.float32(1 / BORDER_NM), 0, 1)
    density += np.float32(1.25) * rim + np.float32(1.0) * around * (nucleolus < 0)
    at_nucleolus = nucleolus > -BORDER_NM
    dense, loose = density > 1.15, density > 0.25
    atoms = np.full(depth.shape, get_class("nucpl").id, np.uint8)
    atoms[loose] = get_class("echrom").id
    atoms[loose & at_nucleolus] = get_class("nechrom").id
    atoms[dense] = get_class("hchrom").id
    atoms[dense & at_nucleolus] = get_class("nhchrom").id
    atoms[nucleolus > 0] = get_class("nucleo").id
    canvas.atoms[inside] = atoms[inside]
    grey = np.float32(166.0) - np.float32(20.0) * np.clip(density * 4 - 0.5, 0, 1)
    grey -= np.float32(46.0) * np.clip(density * 4 - np.float32(4.1), 0, 1)
    grains = SmoothNoise(derive(key, 32), 26.0).on(axes)
    fibres = SmoothNoise(derive(key, 33), 70.0).on(axes)
    grey += np.float32(7.0) * grains
    in_nucleolus = np.float32(96.0) + np.float32(13.0) * grains + np.float32(15.0) * fibres
    share = canvas.cover(nucleolus * np.float32(0.25))
    grey += (in_nucleolus - grey) * share
    np.copyto(canvas.grey, grey, where=inside)


def _nucleolus_depth(canvas: Canvas, cell: Cell) -> Field:
    """Return how deep voxels lie in one of the cell's nucleoli, at least minus `FAR`."""
    rng = np.random.default_rng([cell.key, 6])
    depth = np.full(canvas.box.shape, np.float32(-FAR))
    for _ in range(int(rng.integers(1, 4))):
        direction = rng.standard_normal(3)
        direction /= np.sqrt(direction @ direction)
        middle = cell.centre + direction * cell.axes * rng.uniform(0.1, 0.5)
        radius = rng.uniform(0.18, 0.3) * float(cell.axes.min())
        low, high = canvas.box.low, canvas.box.high
        if np.sqrt(((np.clip(middle, low, high) - middle) ** 2).sum()) > radius * 1.75 + FAR:
            continue
        window = canvas.window(middle, middle - 2 * radius - FAR, middle + 2 * radius + FAR)
        if window is None:
            continue
        own = np.float32(radius) - window.distance()
        own += np.float32(0.16 * radius) * SmoothNoise(derive(cell.key, 34), 420.0).on(window.axes)
        part = depth[window.slices]
        np.maximum(part, own, out=part)
    return depth


def pore_places(cell: Cell) -> Point:
    """Return the middles of the pores of a nucleus in nm, shape (n, 3): spread evenly, each a bit off its place."""
    radius = float(np.mean(cell.axes))
    count = int(PORES_PER_UM2 * 4 * np.pi * (radius / 1000) ** 2)
    rng = np.random.default_rng([cell.key, 7])
    number = np.arange(count) + 0.5
    height, angle = 1 - 2 * number / count, np.pi * (1 + 5**0.5) * number
    flat = np.sqrt(1 - height**2)
    directions = np.stack([height, flat * np.sin(angle), flat * np.cos(angle)], axis=1)
    directions += rng.normal(0, 60.0 / radius, directions.shape)
    kept = rng.random(count) < 0.85
    directions = directions[kept] / np.sqrt((directions[kept] ** 2).sum(1, keepdims=True))
    places: Point = cell.centre + directions * cell.axes
    for _ in range(5):
        error = nucleus_depth_at(cell, places) - ENVELOPE_NM / 2
        places = places + directions * error[:, None]
    return places


def _draw_pore(canvas: Canvas, window: Window, normal: Point, number: int) -> None:
    """Draw a pore: both membranes join at its edge; a ring of protein lies in it, with a channel in its middle."""
    hole, ring, channel = PORE_NM
    height = np.abs(window.along(normal))
    out = np.sqrt(np.maximum(window.distance() ** 2 - height * height, 0))
    atoms, grey = canvas.atoms[window.slices], canvas.grey[window.slices]
    envelope = (atoms == get_class("ne_mem").id) | (atoms == get_class("ne_lum").id)
    if not envelope.any():
        return
    ids = {name: get_class(name).id for name in ("ne_mem", "np_out", "np_in", "cyto", "nucpl")}
    half = ENVELOPE_NM / 2
    edge = envelope & (out < hole) & (out >= ring)
    atoms[edge] = ids["ne_mem"]
    grey[edge] = 66.0
    # The ring stands out a bit on both sides.
    body = (out < ring) & (height < half + 12.0) & (atoms != get_class("pm").id) & (atoms != get_class("ecs").id)
    middle = body & (out < channel)
    grey[body] = (np.float32(108.0) + np.float32(24.0) * np.clip(height * np.float32(1 / half) - 0.4, 0, 1))[body]
    atoms[body] = ids["np_out"]
    atoms[middle] = ids["np_in"]
    grey[middle] = 124.0
    canvas.objects[window.slices][body] = number
    # Chromatin keeps away from pores.
    free = (out < ring + 14.0) & (height < half + 80.0) & ~body
    chromatin = np.isin(atoms, [get_class(name).id for name in ("hchrom", "echrom", "nhchrom", "nechrom")])
    atoms[free & chromatin] = ids["nucpl"]
    grey[free & chromatin] = 164.0
