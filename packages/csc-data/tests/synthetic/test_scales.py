import numpy as np

from csc_data.synthetic import Tissue
from csc_data.synthetic.scales import halve_tissue


def test_majority_wins_and_brings_its_object():
    atoms = np.full((2, 2, 2), 35, np.uint8)
    atoms[0, 0] = 9
    atoms[0, 1, 0] = 9
    atoms[1, 1, 1] = 8
    objects = np.where(atoms == 35, 0, 17).astype(np.uint32)
    tissue = Tissue(
        voxel_size=(5.24, 4, 4),
        raw=np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
        atoms=atoms,
        objects=objects,
        cells=np.ones((2, 2, 2), np.uint16),
    )
    coarse = halve_tissue(tissue)
    assert coarse.voxel_size == (10.48, 8, 8)
    assert (coarse.atoms.item(), coarse.objects.item(), coarse.raw.item()) == (35, 0, 4)
    atoms[1, 0, 0] = 9
    assert (halve_tissue(tissue).atoms.item(), halve_tissue(tissue).objects.item()) == (9, 17)


def test_odd_last_planes_are_dropped(tissue):
    coarse = halve_tissue(tissue.crop((slice(0, 21), slice(0, 30), slice(0, 33))))
    assert coarse.shape == coarse.raw.shape == coarse.objects.shape == (10, 15, 16)
    # Every coarse voxel has a class that one of its eight children has.
    children = (
        tissue.atoms[:20, :30, :32].reshape(10, 2, 15, 2, 16, 2).transpose(0, 2, 4, 1, 3, 5).reshape(10, 15, 16, 8)
    )
    assert (children == coarse.atoms[..., None]).any(axis=-1).all()
