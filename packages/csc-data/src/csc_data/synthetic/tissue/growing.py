"""Synthetic tissue as arrays: an image, the atomic class of every voxel, and which object it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csc_data.challenge import get_class, label_classes
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Triple, as_shape, as_triple
from csc_data.synthetic.imaging import Imaging, render
from csc_data.synthetic.tissue import organelles, reticulum
from csc_data.synthetic.tissue.anatomy import Anatomy
from csc_data.synthetic.tissue.canvas import Canvas
from csc_data.synthetic.tissue.cells import draw_cells, draw_nucleus


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """A synthetic volume.

    Attributes
    ----------
    voxel_size : tuple of float
        nm, z, y, x.
    raw : numpy.ndarray of uint8
        The image, membranes dark.
    atoms : numpy.ndarray of uint8
        Id of the atomic class of each voxel; every voxel has one.
    objects : numpy.ndarray of uint32
        Id of the organelle, unique over all classes; 0 in cytosol, reticulum, membranes of cells, and outside of cells.
    cells : numpy.ndarray of uint16
        Id of the cell; 0 in extracellular space.
    """

    voxel_size: Triple
    raw: npt.NDArray[np.uint8]
    atoms: npt.NDArray[np.uint8]
    objects: npt.NDArray[np.uint32]
    cells: npt.NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels per axis."""
        return self.atoms.shape

    def mask(self, class_name: str) -> npt.NDArray[np.bool_]:
        """Return where a class is; a group class is where any of its parts is.

        Raises
        ------
        UnknownClassError
            If the challenge has no such class.
        """
        table = np.zeros(256, bool)
        table[sorted(get_class(class_name).atoms)] = True
        return table[self.atoms]

    def instances(self, class_name: str) -> npt.NDArray[np.uint32]:
        """Return the id of the object of a class at each voxel, 0 elsewhere.

        Raises
        ------
        InvalidArgumentError
            If the challenge does not score the class as instances.
        """
        entry = get_class(class_name)
        if not entry.instance:
            raise InvalidArgumentError(f"{class_name} has no instances; the challenge scores it as semantic class")
        mask = self.mask(class_name)
        # A nucleus holds its pores, which are objects of their own, and there is one in a cell.
        owner = self.cells if class_name in ("cell", "nuc") else self.objects
        return np.where(mask, owner, 0).astype(np.uint32)

    def label(self, class_name: str) -> npt.NDArray[np.uint32] | npt.NDArray[np.uint8]:
        """Return a class as the challenge annotates it: instance ids (uint32), or 0 and 1 (uint8)."""
        if get_class(class_name).instance:
            return self.instances(class_name)
        return self.mask(class_name).astype(np.uint8)

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes that occur, groups included, in the order of their ids."""
        present = set(np.flatnonzero(np.bincount(self.atoms.ravel(), minlength=256)).tolist())
        return tuple(name for name, entry in label_classes().items() if entry.atoms & present)

    def crop(self, window: tuple[slice, slice, slice]) -> Tissue:
        """Return a box of it; ids stay those of the whole."""
        return Tissue(
            voxel_size=self.voxel_size,
            raw=self.raw[window],
            atoms=self.atoms[window],
            objects=self.objects[window],
            cells=self.cells[window],
        )


def generate_tissue(
    shape: Sequence[int],
    voxel_size: Sequence[float] = (8.0, 8.0, 8.0),
    *,
    seed: int = 0,
    anatomy: Anatomy | None = None,
    imaging: Imaging | None = None,
) -> Tissue:
    """Make synthetic tissue: cells with their organelles, and their image.

    Parameters
    ----------
    shape : sequence of int
        Voxels per axis, z, y, x.
    voxel_size : sequence of float
        nm per voxel, z, y, x.
    seed : int
        At least 0. The same seed, sizes and versions of numpy and scipy give the same bytes.
    anatomy : Anatomy, optional
        Sizes and numbers of organelles.
    imaging : Imaging, optional
        Contrast, texture and noise.

    Returns
    -------
    Tissue
        Image, classes and objects.

    Raises
    ------
    InvalidArgumentError
        If a size or the seed cannot be.
    """
    size, spacing = as_shape(shape), as_triple(voxel_size, "voxel_size")
    if min(size) < 1 or min(spacing) <= 0 or seed < 0:
        raise InvalidArgumentError(
            f"shape, voxel_size and seed must be positive, got {size}, {spacing} nm and seed {seed}"
        )
    sizes = anatomy or Anatomy()
    canvas = Canvas.blank(size, spacing)
    _draw(canvas, sizes, seed)
    raw = render(canvas, imaging or Imaging(), seed)
    return Tissue(voxel_size=spacing, raw=raw, atoms=canvas.atoms, objects=canvas.objects, cells=canvas.cells)


def _draw(canvas: Canvas, anatomy: Anatomy, seed: int) -> None:
    """Draw everything, large things first, as they need the most room."""
    streams = iter(np.random.SeedSequence(seed).spawn(16))

    def rng() -> np.random.Generator:
        return np.random.default_rng(next(streams))

    cells = draw_cells(canvas, anatomy, rng())
    nucleus_rng = rng()
    for cell in cells:
        draw_nucleus(canvas, anatomy, cell, nucleus_rng)
    ball = organelles.ball_drawer
    plan = (
        (anatomy.golgis, organelles.draw_golgi),
        (anatomy.mitos, organelles.draw_mito),
        (anatomy.lysosomes, ball(anatomy.lysosome_radius_nm, "lyso", wobble=0.12)),
        (anatomy.endosomes, ball(anatomy.endosome_radius_nm, "endo", wobble=0.06)),
        (anatomy.droplets, ball(anatomy.droplet_radius_nm, "ld", flatten=0.04)),
        (anatomy.peroxisomes, ball(anatomy.peroxisome_radius_nm, "perox", flatten=0.1)),
        (anatomy.er_sheets, reticulum.draw_er_sheet),
    )
    for density, draw in plan:
        organelles.scatter(canvas, anatomy, density, draw, rng())
    reticulum.draw_er_tubes(canvas, anatomy, rng())
    organelles.scatter(canvas, anatomy, anatomy.microtubules, organelles.draw_microtubule, rng())
    vesicle = ball(anatomy.vesicle_radius_nm, "ves", gap=1.3, flatten=0.08)
    organelles.scatter(canvas, anatomy, anatomy.vesicles, vesicle, rng())
    organelles.scatter(canvas, anatomy, anatomy.glycogen, organelles.draw_glycogen, rng())
