"""Connected components of a volume that is never loaded whole, the same for every block shape.

Each block is labelled together with one further layer of voxels on the far side of each axis. Any two neighbouring
voxels, whatever the connectivity, then lie together in the extended block of the one that owns the smaller
coordinates, so all connections are found; blocks are joined where two of them labelled the same voxel. Components are
numbered by their first voxel in the order z, y, x, which no block shape changes.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cc3d
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from csc_data.blocks import Block, BlockGrid
from csc_data.formats.reading import open_array
from csc_data.geometry import Shape
from csc_submit.settings import Connectivity

BlockLabels = npt.NDArray[Any]
"""Component numbers from 1 within one extended block, 0 elsewhere; shape (z, y, x)."""

_DUAL: dict[Connectivity, Connectivity] = {6: 26, 18: 6, 26: 6}
"""The connectivity of the background, by that of the objects: a closed shell must separate inside and outside."""

_TABLES_IN_MEMORY = 64


def label_components(values: npt.NDArray[Any], connectivity: Connectivity, *, background: bool = False) -> BlockLabels:
    """Number the components of touching voxels of equal value, or those of the zeros; shape (z, y, x).

    Examples
    --------
    >>> label_components(np.array([[[1, 1, 0, 1]]]), 26).tolist()
    [[[1, 1, 0, 2]]]
    >>> label_components(np.array([[[1, 1, 0, 1]]]), 26, background=True).tolist()
    [[[0, 0, 1, 0]]]
    """
    if background:
        values, connectivity = values == 0, _DUAL[connectivity]
    if values.dtype == bool:
        values = values.view(np.uint8)
    labels: BlockLabels = cc3d.connected_components(np.ascontiguousarray(values), connectivity=connectivity)
    return labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """What is labelled, and where its tables lie.

    Attributes
    ----------
    source : Path
        An array of masks or ids; touching voxels of equal value are one component.
    background : bool
        Whether the components of the zeros are wanted instead of the others'.
    connectivity : {6, 18, 26}
        Of the objects; the background takes its dual.
    grid : BlockGrid
        The blocks, without halo.
    tables : Path
        Folder of the tables, one a block.
    """

    mutual: ClassVar[bool] = False
    """Whether labels that two blocks gave to a layer of voxels are joined only where each is most of the other's."""

    source: Path
    background: bool
    connectivity: Connectivity
    grid: BlockGrid
    tables: Path

    def label(self, block: Block) -> BlockLabels:
        """Label the components of a block and the layer beyond it; the same numbers each time."""
        return label_components(self._read(block), self.connectivity, background=self.background)

    def _read(self, block: Block) -> npt.NDArray[Any]:
        box = tuple(
            slice(b, min(b + n + 1, size)) for b, n, size in zip(block.begin, block.shape, self.grid.shape, strict=True)
        )
        return np.asarray(open_array(self.source)[box])

    def table(self, index: int) -> Path:
        """Return the file of a block's table."""
        return self.tables / f"{index}.npz"

    def __call__(self, block: Block) -> None:
        """Label a block and store its table."""
        labels = self.label(block)
        core = labels[tuple(slice(0, n) for n in block.shape)]
        count = int(labels.max(initial=0))
        table = {
            "voxels": np.bincount(core.ravel(), minlength=count + 1)[1:],
            "first": _first_voxels(core, count, block, self.grid.shape),
            "outer": _touching_border(core, count, block, self.grid.shape),
            **_planes(labels, block),
        }
        if self.background:
            table["lowest"], table["highest"] = ids_around(labels, self._read(block), count)
        self.tables.mkdir(parents=True, exist_ok=True)
        temporary = self.tables / f"{block.index}.part"
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **table)
        temporary.replace(self.table(block.index))


def _first_voxels(core: BlockLabels, count: int, block: Block, shape: Shape) -> npt.NDArray[np.int64]:
    """Return for each component of a block the place of its first voxel in the volume, as a flat index."""
    first = np.full(count + 1, np.iinfo(np.int64).max, dtype=np.int64)
    flat = core.ravel()
    # Written from the last voxel to the first, so that the first one stays.
    places = np.flatnonzero(flat)[::-1]
    first[flat[places]] = places
    known = np.flatnonzero(first[1:] != np.iinfo(np.int64).max) + 1
    z, y, x = np.unravel_index(first[known], core.shape)
    begin = block.begin
    first[known] = ((z + begin[0]) * shape[1] + (y + begin[1])) * shape[2] + (x + begin[2])
    return first[1:]


def _touching_border(core: BlockLabels, count: int, block: Block, shape: Shape) -> npt.NDArray[np.bool_]:
    """Tell for each component of a block whether it touches the border of the volume."""
    touching = np.zeros(count + 1, dtype=bool)
    for axis in range(3):
        if block.begin[axis] == 0:
            touching[np.take(core, 0, axis)] = True
        if block.begin[axis] + block.shape[axis] == shape[axis]:
            touching[np.take(core, -1, axis)] = True
    return touching[1:]


def ids_around(
    labels: BlockLabels, ids: npt.NDArray[Any], count: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return for each component of the background the lowest and the highest id that it shares a face with.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
        The components, numbered from 1.
    ids : ndarray of int, shape (z, y, x)
        What lies between them.
    count : int
        How many components there are.

    Returns
    -------
    tuple of ndarray
        Two of uint64, shape (count,); a component without neighbour has the largest number and 0.

    Examples
    --------
    >>> labels = np.array([[[0, 1, 0, 2]]], np.uint32)  # two holes
    >>> ids = np.array([[[5, 0, 7, 0]]])
    >>> lowest, highest = ids_around(labels, ids, 2)
    >>> lowest.tolist(), highest.tolist()
    ([5, 7], [7, 7])
    """
    lowest = np.full(count + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    highest = np.zeros(count + 1, dtype=np.uint64)
    for axis in range(3):
        before = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        after = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        for here, there in ((before, after), (after, before)):
            touching = (labels[here] > 0) & (ids[there] > 0)
            hole, around = labels[here][touching], ids[there][touching].astype(np.uint64)
            np.minimum.at(lowest, hole, around)
            np.maximum.at(highest, hole, around)
    return lowest[1:], highest[1:]


def _planes(labels: BlockLabels, block: Block) -> dict[str, BlockLabels]:
    """Return the first plane of the block on each axis, and the one beyond its last where there is one."""
    planes = {}
    for axis, size in enumerate(block.shape):
        planes[f"low{axis}"] = np.take(labels, 0, axis)
        if labels.shape[axis] > size:
            planes[f"high{axis}"] = np.take(labels, size, axis)
    return planes


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """All components of a volume, numbered from 1 by their first voxels.

    Attributes
    ----------
    offsets : ndarray of int64, shape (blocks + 1,)
        Where the labels of each block begin in ``members``.
    members : ndarray of int64
        The component of each label of each block, less 1.
    voxels : ndarray of int64
        Size of each component.
    outer : ndarray of bool
        Whether it touches the border of the volume.
    around : ndarray of uint64
        Of components of the background: the id that encloses it, 0 where there are several, or none.
    """

    offsets: npt.NDArray[np.int64]
    members: npt.NDArray[np.int64]
    voxels: npt.NDArray[np.int64]
    outer: npt.NDArray[np.bool_]
    around: npt.NDArray[np.uint64] | None = None

    def lookup(self, values: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
        """Return what each label of a block becomes, label 0 included, given a value for each component."""
        members = self.members[self.offsets[index] : self.offsets[index + 1]]
        return np.concatenate([np.zeros(1, dtype=values.dtype), values[members]])


def join_blocks(labelling: Labelling) -> Components:
    """Join the components of all blocks, whose tables must exist.

    This takes about 60 bytes per component of a block, and the memory of a few tables.
    """
    grid = labelling.grid

    @functools.lru_cache(maxsize=_TABLES_IN_MEMORY)
    def load(index: int) -> dict[str, BlockLabels]:
        with np.load(labelling.table(index), allow_pickle=False) as file:
            return dict(file)

    columns: dict[str, list[npt.NDArray[Any]]] = {"voxels": [], "first": [], "outer": []}
    if labelling.background:
        columns |= {"lowest": [], "highest": []}
    for index in range(len(grid)):
        with np.load(labelling.table(index), allow_pickle=False) as file:
            for name, parts in columns.items():
                parts.append(file[name])
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in columns["voxels"]])]).astype(np.int64)
    pairs = [
        np.stack([one + offsets[block.index] - 1, other + offsets[neighbour.index] - 1])
        for block in grid
        for neighbour in _later_neighbours(grid, block)
        for one, other in [_shared(load(block.index), load(neighbour.index), block, neighbour, labelling.mutual)]
    ]
    # One graph of the labels of all blocks, with pairs as edges: its components are those of the volume.
    total = int(offsets[-1])
    links = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), dtype=np.int64)
    graph = coo_array((np.ones(links.shape[1], dtype=bool), (links[0], links[1])), shape=(total, total))
    count, members = connected_components(graph, directed=False)
    first = np.full(count, np.iinfo(np.int64).max, dtype=np.int64)
    np.minimum.at(first, members, np.concatenate([*columns["first"], np.zeros(0, dtype=np.int64)]))
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(count)
    members = rank[members]
    voxels = np.zeros(count, dtype=np.int64)
    np.add.at(voxels, members, np.concatenate([*columns["voxels"], np.zeros(0, dtype=np.int64)]))
    outer = np.zeros(count, dtype=bool)
    np.logical_or.at(outer, members, np.concatenate([*columns["outer"], np.zeros(0, dtype=bool)]))
    return Components(
        offsets=offsets,
        members=members,
        voxels=voxels,
        outer=outer,
        around=_joined_ids(columns, members, count) if labelling.background else None,
    )


def _joined_ids(
    columns: dict[str, list[npt.NDArray[Any]]], members: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.uint64]:
    lowest = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
    highest = np.zeros(count, dtype=np.uint64)
    nothing = np.zeros(0, dtype=np.uint64)
    np.minimum.at(lowest, members, np.concatenate([*columns["lowest"], nothing]))
    np.maximum.at(highest, members, np.concatenate([*columns["highest"], nothing]))
    return np.where(lowest == highest, lowest, 0)


def _later_neighbours(grid: BlockGrid, block: Block) -> list[Block]:
    """Return the up to seven blocks that own voxels of the layer beyond a block."""
    nz, ny, nx = grid.counts
    z, y, x = block.index // (ny * nx), block.index // nx % ny, block.index % nx
    return [
        grid[((z + dz) * ny + y + dy) * nx + x + dx]
        for dz, dy, dx in itertools.product((0, 1), repeat=3)
        if (dz or dy or dx) and z + dz < nz and y + dy < ny and x + dx < nx
    ]


def _shared(
    table: dict[str, BlockLabels], other: dict[str, BlockLabels], block: Block, neighbour: Block, mutual: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the pairs of labels that two blocks gave to the same voxels, those of the neighbour second.

    With ``mutual``, only those where each has more than half of the other's voxels.
    """
    axis = next(a for a in range(3) if neighbour.begin[a] > block.begin[a])
    high, low = table[f"high{axis}"], other[f"low{axis}"]
    here, there = [], []
    for a in range(3):
        if a == axis:
            continue
        if neighbour.begin[a] > block.begin[a]:  # an edge or a corner: the one voxel beyond the block
            here.append(slice(block.shape[a], block.shape[a] + 1))
            there.append(slice(0, 1))
        else:
            here.append(slice(0, block.shape[a]))
            there.append(slice(0, block.shape[a]))
    one, two = high[tuple(here)].ravel().astype(np.int64), low[tuple(there)].ravel().astype(np.int64)
    marked = (one > 0) & (two > 0)
    count = int(two.max(initial=0)) + 1
    pairs, shared = np.unique(one[marked] * count + two[marked], return_counts=True)
    first, second = pairs // count, pairs % count
    if mutual:
        most = (2 * shared > np.bincount(one)[first]) & (2 * shared > np.bincount(two)[second])
        first, second = first[most], second[most]
    return first, second
