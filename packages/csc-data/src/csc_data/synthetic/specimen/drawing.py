"""A specimen: cells without an end, of which any box can be drawn by itself."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from csc_data.challenge import get_class, label_classes
from csc_data.geometry import Shape, Triple
from csc_data.synthetic.specimen.boxes import FAR, Box, Canvas, Field, Point
from csc_data.synthetic.specimen.cells import SPACING_NM, Cells, nucleus_depth_at
from csc_data.synthetic.specimen.kinds import KINDS
from csc_data.synthetic.specimen.noise import SmoothNoise, derive
from csc_data.synthetic.specimen.nucleus import draw_nucleus, pore_places
from csc_data.synthetic.specimen.organelles import (
    MEMBRANE_GREY,
    MEMBRANE_NM,
    Draw,
    draw_droplet,
    draw_endosome,
    draw_lysosome,
    draw_mitochondrion,
    draw_peroxisome,
    draw_vesicle,
)
from csc_data.synthetic.specimen.placing import Organelle, Places
from csc_data.synthetic.specimen.reticulum import RIBOSOME_NM, draw_reticulum, draw_ribosomes
from csc_data.synthetic.specimen.stacks_and_tubes import (
    draw_centriole,
    draw_exit_site,
    draw_golgi,
    draw_microtubules,
)

TRIED_PLACES = 8
SMALL_NM = 1500.0
_DRAW: dict[str, Draw] = {
    "centriole": draw_centriole,
    "golgi": draw_golgi,
    "mito": draw_mitochondrion,
    "lyso": draw_lysosome,
    "endo": draw_endosome,
    "ld": draw_droplet,
    "perox": draw_peroxisome,
    "eres": draw_exit_site,
    "mt": draw_microtubules,
    "ves": draw_vesicle,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """Cells that touch, as far as one looks; a volume is a box of it.

    Attributes
    ----------
    seed : int
        Another seed is another specimen.
    shape : tuple of int
        Voxels of the volume.
    voxel_size : tuple of float
        nm, z, y, x.
    origin : tuple of float
        Where the corner of its voxel 0 lies in the specimen, in nm.
    ribosomes : bool
        Whether those of the cytosol are labelled ``ribo``; else they are cytosol.
    """

    seed: int
    shape: Shape
    voxel_size: Triple
    origin: Triple
    ribosomes: bool = False
    _parts: tuple[Cells, Places] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cells = Cells(derive(self.seed, 1))
        (lz, ly, lx), (hz, hy, hx) = self.box.low.tolist(), self.box.high.tolist()
        object.__setattr__(self, "_parts", (cells, Places(derive(self.seed, 2), cells, (lz, ly, lx), (hz, hy, hx))))

    @property
    def box(self) -> Box:
        """All voxels of the volume."""
        return Box(begin=(0, 0, 0), shape=self.shape, voxel_size=self.voxel_size, origin=self.origin)

    @property
    def margin(self) -> Shape:
        """Voxels at the border of a drawn box that lack what begins outside of it."""
        z, y, x = (int(np.ceil((RIBOSOME_NM + 1.0) / v)) for v in self.voxel_size)
        return z, y, x

    def draw(self, box: Box) -> Canvas:
        """Draw a box; all but its outermost voxels (`margin`) are as in any other box that has them."""
        cells, places = self._parts
        canvas = Canvas.blank(box)
        self._draw_cells(canvas, cells)
        exits: list[Organelle] = []
        for organelle in places.within(box):
            _DRAW[organelle.kind](canvas, organelle)
            if organelle.kind == "eres":
                exits.append(organelle)
        key = derive(self.seed, 3)
        if (canvas.clearance > 0).any():
            depth = draw_reticulum(canvas, key, exits)
            draw_ribosomes(canvas, key, depth, labelled=self.ribosomes)
        _add_grain(canvas, derive(self.seed, 4))
        return canvas

    def _draw_cells(self, canvas: Canvas, cells: Cells) -> None:
        owner, depth, near = cells.depth(canvas.box)
        numbers = np.array([self._cell_number(cell.index) for cell in near], np.uint16)
        inside = depth > 0
        canvas.cells[...] = np.where(inside, numbers[owner], np.uint16(0))
        canvas.atoms[~inside] = get_class("ecs").id
        canvas.atoms[inside & (depth <= MEMBRANE_NM)] = get_class("pm").id
        cover = canvas.cover(-depth)
        canvas.grey += (np.float32(188.0) - canvas.grey) * cover
        membrane = canvas.cover(np.float32(MEMBRANE_NM / 2) - np.abs(depth - np.float32(MEMBRANE_NM / 2)))
        canvas.grey += (np.float32(MEMBRANE_GREY) - canvas.grey) * membrane
        np.minimum(np.float32(FAR), depth - np.float32(MEMBRANE_NM), out=canvas.clearance)
        for cell in near:
            pores = _pores(cells, cell.index)
            draw_nucleus(canvas, cell, self._cell_number(cell.index), pores)

    def _cell_number(self, index: Sequence[int]) -> int:
        """Return the number of a cell, from 1 for the first that may be in the volume."""
        first = np.floor(self.box.low / SPACING_NM).astype(int) - 2
        counts = np.floor(self.box.high / SPACING_NM).astype(int) + 3 - first
        z, y, x = np.array(index) - first
        return int(1 + (z * counts[1] + y) * counts[2] + x)


def choose_origin(seed: int, shape: Shape, voxel_size: Triple) -> Triple:
    """Return where a volume shows most: near a centrosome, wherever there are most kinds of organelles.

    A volume smaller than `SMALL_NM` has room for few; its middle lies on the envelope of a nucleus.

    Parameters
    ----------
    seed : int
    shape : tuple of int
        Voxels.
    voxel_size : tuple of float
        nm.

    Returns
    -------
    tuple of float
        The corner of voxel 0 in the specimen, nm.

    Examples
    --------
    >>> len(choose_origin(1, (8, 8, 8), (8.0, 8.0, 8.0)))
    3
    """
    cells, places = Specimen(seed=seed, shape=(1, 1, 1), voxel_size=voxel_size, origin=(0.0, 0.0, 0.0))._parts
    cell = cells.cell((0, 0, 0))
    rng = np.random.default_rng([derive(seed, 5)])
    size = np.array(shape) * np.array(voxel_size)
    if size.max() < SMALL_NM:
        surface = cell.centre + cell.pole / np.sqrt(((cell.pole / cell.axes) ** 2).sum())
        surface = surface + cell.pole * (nucleus_depth_at(cell, surface[None])[0])
        z, y, x = np.floor(surface - size / 2).tolist()
        return z, y, x
    best: tuple[int, Point] | None = None
    for number in range(TRIED_PLACES):
        away = cell.pole * 240.0 * number + rng.uniform(-1.0, 1.0, 3) * 100.0 * number
        corner = cell.centrosome + away - size / 2
        z, y, x = (float(v) for v in np.floor(corner))
        box = Box(begin=(0, 0, 0), shape=shape, voxel_size=voxel_size, origin=(z, y, x))
        score = len({organelle.kind for organelle in places.within(box, KINDS[:-1])})
        points = np.array([z, y, x]) + rng.random((300, 3)) * size
        nucleus, cytoplasm = nucleus_depth_at(cell, points), cells.owner_at(points)[1]
        score += 3 * (nucleus.min() < -300 < 300 < nucleus.max()) + 3 * bool((cytoplasm < 60).any())
        if best is None or score > best[0]:
            best = score, np.array([z, y, x])
        if score >= len(KINDS) - 1 + 6:
            break
    assert best is not None
    z, y, x = best[1].tolist()
    return z, y, x


@functools.lru_cache(maxsize=64)
def _pores(cells: Cells, index: tuple[int, int, int]) -> Point:
    return pore_places(cells.cell(index))


@functools.cache
def _grain() -> Field:
    """Return how grainy each class is, in grey values."""
    amplitudes = np.full(256, 4.0, np.float32)
    calm = {"ld_lum": 1.0, "ecs": 3.0, "er_lum": 2.5, "ves_lum": 3.0, "perox_lum": 3.0, "ld_mem": 2.0}
    rough = {"cyto": 7.0, "ribo": 7.0, "mito_lum": 8.0, "lyso_lum": 8.0, "nucleo": 9.0, "hchrom": 9.0, "nucpl": 6.0}
    for name, value in {**calm, **rough}.items():
        amplitudes[label_classes()[name].id] = value
    return amplitudes


def _add_grain(canvas: Canvas, key: int) -> None:
    axes = canvas.box.axes
    texture = SmoothNoise(derive(key, 1), 11.0).on(axes)
    texture += np.float32(0.8) * SmoothNoise(derive(key, 2), 38.0).on(axes)
    canvas.grey += _grain()[canvas.atoms] * texture
