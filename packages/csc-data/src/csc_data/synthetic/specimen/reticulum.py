"""The endoplasmic reticulum and the ribosomes: what fills the cytoplasm between the organelles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from csc_data.challenge import get_class
from csc_data.synthetic.specimen.boxes import CYTO, Canvas, Field
from csc_data.synthetic.specimen.noise import SmoothNoise, derive, hash_places, mix, unit
from csc_data.synthetic.specimen.organelles import layers
from csc_data.synthetic.specimen.placing import Organelle

SHEET_NM, TUBE_NM = 58.0, 31.0
"""Thickness of a sheet, radius of a tube: both are 60 to 100 nm across (Shibata et al. 2006, Cell 126:435)."""
GAP_NM = 14.0
RIBOSOME_NM = 12.5
"""Radius: 25 to 30 nm across (MBoC)."""
RIBOSOME_SPACING_NM = 37.0
"""Edge of the cube that has one place for a ribosome: 20000 per um3 at most, of which about half are taken. Cells have
millions (MBoC) in 1000 to 2000 um3 of cytoplasm; so this is at the dense end, and how dense is a guess."""


def draw_reticulum(canvas: Canvas, key: int, exits: Sequence[Organelle]) -> Field:
    """Draw sheets and tubes wherever nothing else is; return the depth in them.

    Parameters
    ----------
    canvas : Canvas
        With all organelles; distances from them keep the reticulum off.
    key : int
    exits : sequence of Organelle
        The exit sites: around each the reticulum is a knot of thin tubes, of classes of its own.
    """
    depth = np.maximum(_sheets(canvas, key), _tubes(canvas, derive(key, 3), 165.0, TUBE_NM))
    site = np.full(canvas.box.shape, np.float32(-1e4))
    for organelle in exits:
        window = canvas.around(organelle.centre, organelle.radius + 60.0)
        if window is not None:
            part = site[window.slices]
            np.maximum(part, np.float32(organelle.radius) - window.distance(), out=part)
    in_site = site > 0
    if in_site.any():
        knots = _tubes(canvas, derive(key, 4), 120.0, 25.0)
        depth = np.where(in_site, np.maximum(depth, np.minimum(knots, site)), depth)
    depth = np.minimum(depth, canvas.clearance - np.float32(GAP_NM))
    window = canvas.window(canvas.box.low, canvas.box.low, canvas.box.high)
    assert window is not None
    inside = canvas.enclose(window, depth, layers("er", 176.0, thickness_nm=10.0, grey=70.0))
    inside &= in_site
    for old, new in (("er_mem", "eres_mem"), ("er_lum", "eres_lum")):
        canvas.atoms[inside & (canvas.atoms == get_class(old).id)] = get_class(new).id
    drawn: Field = depth
    return drawn


def _sheets(canvas: Canvas, key: int) -> Field:
    """Return the depth in sheets: level sets of a smooth function, in parts of the cytoplasm."""
    axes = canvas.box.axes
    zone = SmoothNoise(derive(key, 1), 620.0)
    ragged = np.float32(0.3) * SmoothNoise(derive(key, 7), 150.0).on(axes)
    place = (zone.on(axes) + ragged - np.float32(0.95)) * np.float32(420.0)
    if not (place > -SHEET_NM).any():
        return place
    level, slope = _with_slope(canvas, SmoothNoise(derive(key, 2), 1900.0))
    step = np.float32(0.125)
    across = np.abs(level - np.rint(level / step) * step) / np.maximum(slope, np.float32(2.5e-4))
    sheet = np.float32(SHEET_NM / 2) - across
    # Where the function is flat a sheet would be thick.
    flat = (slope - np.float32(3.6e-4)) * np.float32(6e5)
    depth: Field = np.minimum(np.minimum(sheet, place), flat)
    return depth


def _tubes(canvas: Canvas, key: int, spacing_nm: float, radius: float) -> Field:
    """Return the depth in tubes: where two smooth functions are both 0."""
    square: Field | None = None
    for number in range(2):
        level, slope = _with_slope(canvas, SmoothNoise(derive(key, number), spacing_nm))
        level /= np.maximum(slope, np.float32(0.35 / spacing_nm))
        level *= level
        square = level if square is None else square + level
    assert square is not None
    depth: Field = np.float32(radius) - np.sqrt(square)
    return depth


def _with_slope(canvas: Canvas, noise: SmoothNoise) -> tuple[Field, Field]:
    axes = canvas.box.axes
    square = noise.on(axes, 0) ** 2
    for axis in (1, 2):
        square += noise.on(axes, axis) ** 2
    return noise.on(axes), np.sqrt(square)


def draw_ribosomes(canvas: Canvas, key: int, reticulum: Field, *, labelled: bool) -> None:
    """Draw ribosomes in the cytosol, denser on membranes of the reticulum, and those of mitochondria.

    Those whose middle is outside of the canvas are missing, so a canvas needs a margin of `RIBOSOME_NM`.

    Parameters
    ----------
    canvas : Canvas
    key : int
    reticulum : numpy.ndarray
        Depth in the reticulum.
    labelled : bool
        Whether those of the cytosol are the class ``ribo``; else they are cytosol, as annotators have it.
    """
    low, high = canvas.box.low, canvas.box.high
    spacing = RIBOSOME_SPACING_NM
    ranges = [
        np.arange(int(np.floor(b / spacing)), int(np.floor(e / spacing)) + 1) for b, e in zip(low, high, strict=True)
    ]
    lots = hash_places(derive(key, 5), *ranges)
    places = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float64)
    lots = lots.ravel()
    offsets = [unit(mix(lots + np.uint32(number))) for number in (0x51ED270B, 0x2F9B4D77, 0x6A09E667)]
    middles = (places + np.stack(offsets, axis=1).astype(np.float64)) * spacing
    size, begin = np.array(canvas.box.voxel_size), np.array(canvas.box.begin)
    index = np.floor((middles - np.array(canvas.box.origin)) / size).astype(np.int64) - begin
    inside = ((index >= 0) & (index < np.array(canvas.box.shape))).all(axis=1)
    middles, index, chance = middles[inside], index[inside], unit(mix(lots[inside] + np.uint32(0x1B873593)))
    here = tuple(index.T)
    atom, room = canvas.atoms[here], canvas.clearance[here]
    # Those of the reticulum sit on its membranes; others lie in clusters, and not in what is drawn.
    density = SmoothNoise(derive(key, 6), 130.0).at(middles)
    share = np.where(reticulum[here] > -26.0, 0.95, np.clip(0.5 + 0.3 * density, 0.08, 0.95))
    cytosolic = (atom == CYTO) & (room > RIBOSOME_NM - 2.0) & (chance < share)
    mitochondrial = (atom == get_class("mito_lum").id) & (chance < 0.05)
    _spots(canvas, middles[cytosolic], index[cytosolic], RIBOSOME_NM, get_class("ribo").id if labelled else CYTO)
    _spots(canvas, middles[mitochondrial], index[mitochondrial], 10.5, get_class("mito_ribo").id)


def _spots(canvas: Canvas, middles: np.ndarray, index: np.ndarray, radius: float, atom: int) -> None:
    """Draw dark balls where the voxels are of the class that their middles are in."""
    size, shape = np.array(canvas.box.voxel_size), np.array(canvas.box.shape)
    begin, origin = np.array(canvas.box.begin), np.array(canvas.box.origin)
    reach = np.ceil(radius / size).astype(int)
    own = canvas.atoms[tuple(index.T)]
    for step in np.ndindex(*(2 * reach + 1)):
        voxel = index + (np.array(step) - reach)
        apart = np.sqrt(((origin + (begin + voxel + 0.5) * size - middles) ** 2).sum(1))
        depth = radius - apart
        there = (depth > -float(size.mean()) / 2) & ((voxel >= 0) & (voxel < shape)).all(axis=1)
        places = tuple(voxel[there].T)
        near, same = depth[there], canvas.atoms[places]
        fits = (same == own[there]) | (same == atom)
        places = tuple(axis[fits] for axis in places)
        cover = canvas.cover(near[fits].astype(np.float32))
        grey = np.float32(164.0) - np.float32(98.0) * cover
        canvas.grey[places] = np.minimum(canvas.grey[places], grey)
        drawn = near[fits] > 0
        canvas.atoms[tuple(axis[drawn] for axis in places)] = atom
