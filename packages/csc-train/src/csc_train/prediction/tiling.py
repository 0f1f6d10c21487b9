"""How a block of the output is cut into patches for the network, and which voxels of a patch are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from csc_data.blocks import Block, BlockGrid, align_block_shape
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid, Shape, Triple, as_shape
from csc_data.loader import ArrayInfo, PatchShape
from csc_data.loader.poses.placement import centred_grid
from csc_data.loader.poses.spatial import Orientation

_BLOCK_TILES = 2  # tiles per block and axis: 8 tiles fill a batch, and little is lost when a block is interrupted

_PLANES = (
    Orientation(world_axis=(0, 1, 2)),  # planes across z: the patch's axes are z, y, x
    Orientation(world_axis=(1, 0, 2)),  # across y: y, z, x
    Orientation(world_axis=(2, 0, 1)),  # across x: x, z, y
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One patch for the network.

    Attributes
    ----------
    input : Grid
        Grid of what the network takes, along the volume's axes.
    orientation : Orientation
        How the patch lies.
    keep : tuple of slice
        The voxels of the network's output, along the volume's axes, that are kept.
    place : tuple of slice
        Where they go in the block.
    """

    input: Grid
    orientation: Orientation
    keep: tuple[slice, slice, slice]
    place: tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Patches, halo and blocks of a prediction.

    Attributes
    ----------
    patch : PatchShape
        Input and target of the network in this prediction.
    halo : tuple of int
        Voxels of the output, along the patch's axes, that are not kept on each side.
    chunks : tuple of int
        Chunk shape of the output.
    block_shape : tuple of int
        Voxels that are written at a time: whole chunks, and whole tiles where that can be.
    """

    patch: PatchShape
    halo: Shape
    chunks: Shape
    block_shape: Shape

    @property
    def orientations(self) -> tuple[Orientation, ...]:
        """How patches lie: one way, or across each axis for flat ones."""
        return _PLANES if self.patch.target.flat else _PLANES[:1]

    @property
    def stride(self) -> Shape:
        """Voxels that are kept of a patch, along its axes."""
        return as_shape([n - 2 * h for n, h in zip(self.patch.target.shape, self.halo, strict=True)])

    @property
    def reach_nm(self) -> Triple:
        """How far beyond the output patches can reach, along any axis of the volume."""
        reach = max(self.patch.input.extent)
        return reach, reach, reach

    def tiles(self, grid: Grid, block: Block) -> Iterator[Tile]:
        """Yield the patches of a block; with each orientation they cover it once."""
        for orientation in self.orientations:
            window = as_shape(orientation.to_world(self.patch.target.shape))
            halo = as_shape(orientation.to_world(self.halo))
            stride = as_shape(orientation.to_world(self.stride))
            for tile in BlockGrid(shape=block.shape, block_shape=stride, halo=halo):
                begin = [b + r for b, r in zip(block.begin, tile.read_begin, strict=True)]
                target = grid.window(begin, window)
                z, y, x = (slice(h, h + n) for h, n in zip(halo, tile.shape, strict=True))
                yield Tile(
                    input=self._input_grid(target, orientation),
                    orientation=orientation,
                    keep=(z, y, x),
                    place=tile.write,
                )

    def _input_grid(self, target: Grid, orientation: Orientation) -> Grid:
        if self.patch.input == self.patch.target:
            return target  # the same grid, without arithmetic that could shift it
        # Planes of all directions lie on the grid of the volume, whatever its voxel size along each axis.
        return centred_grid(target, orientation.to_world(self.patch.input.shape), self.patch.input.scale)


def plan_tiling(
    trained: PatchShape, *, patch_shape: Shape | None, halo: Shape | None, output_chunks: Shape | None
) -> Tiling:
    """Choose patches, halo and blocks.

    Parameters
    ----------
    trained : PatchShape
        Input and target as in training.
    patch_shape : tuple of int, optional
        Another input shape; the output is larger or smaller by the same nm.
    halo : tuple of int, optional
        An eighth of the patch by default; 0 where inputs are larger than targets and bring their context along.
    output_chunks : tuple of int, optional
        What is kept of a patch by default, so that only voxels at the end of a crop are predicted twice.

    Raises
    ------
    InvalidArgumentError
        If they do not go together.
    """
    patch = trained if patch_shape is None else _resized(trained, patch_shape)
    shape = patch.target.shape
    if halo is None:
        context = patch.input.extent != patch.target.extent
        halo = as_shape([0 if context or n == 1 else n // 8 for n in shape])
    for axis, size, margin in zip("zyx", shape, halo, strict=True):
        if 2 * margin >= size:
            raise InvalidArgumentError(f"a halo of {margin} leaves nothing of {size} voxels along {axis}")
    stride = [n - 2 * h for n, h in zip(shape, halo, strict=True)]
    if patch.target.flat:  # planes lie across all axes, so blocks are cubes of the larger side
        stride = [max(stride)] * 3
    chunks = output_chunks or as_shape(stride)
    return Tiling(
        patch=patch,
        halo=halo,
        chunks=chunks,
        block_shape=align_block_shape([_BLOCK_TILES * s for s in stride], chunks),
    )


def _resized(trained: PatchShape, shape: Shape) -> PatchShape:
    given, target = trained.input, trained.target
    finer = [round(i / t) for i, t in zip(given.scale, target.scale, strict=True)]
    if any(i != f * t for i, f, t in zip(given.scale, finer, target.scale, strict=True)):
        raise InvalidArgumentError(
            f"patch_shape cannot change where the input's voxel size {given.scale} is not a multiple of {target.scale}"
        )
    if (shape[0] == 1) != given.flat:
        raise InvalidArgumentError(f"patch_shape {shape} and the patches of training, {given.shape}, must both be flat")
    sizes = [t + f * (n - i) for n, f, i, t in zip(shape, finer, given.shape, target.shape, strict=True)]
    if min(sizes) < 1:
        least = [i - t / f for i, f, t in zip(given.shape, finer, target.shape, strict=True)]
        raise InvalidArgumentError(f"patch_shape {shape} is too small: it must be above {[int(n) for n in least]}")
    return PatchShape(
        input=ArrayInfo(shape=shape, scale=given.scale),
        target=ArrayInfo(shape=as_shape(sizes), scale=target.scale),
    )
