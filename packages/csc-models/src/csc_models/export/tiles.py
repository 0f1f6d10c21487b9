"""How tools cut what a BioImage.IO package predicts into tiles, and whether that can be seen in the result.

bioimageio.core (0.11) takes tiles of the smallest size plus ten steps, lets neighbours overlap, and cuts the halo off
each side of their outputs; at the borders of the image it continues raw by its mirror image. A package without a halo
is tiled without overlap. Tiles give what the whole image gives if their halo is half of the receptive field, rounded up
to the network's step so that all tiles lie on one grid of its strides, and if nothing in the network depends on the
whole patch. Networks that give less than they take are not tiled at all (an error).
"""

from __future__ import annotations

from torch import nn

from csc_models.errors import ExportError
from csc_models.export.exportable import Exportable

_LARGEST_HALO = 32
# What they take means of, when they predict, is the patch.
_OF_THE_PATCH = (nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def choose_halo(source: Exportable, wanted: int | None, *, free: bool) -> int:
    """Voxels of output to cut off each side: what is wanted, or as many as can differ, up to a limit.

    Parameters
    ----------
    source : Exportable
        The network.
    wanted : int or None
    free : bool
        Whether tiles may have other sizes.

    Raises
    ------
    ExportError
        The wanted one makes images, with the halo around them, of sizes that the network does not take.
    """
    unit = source.unit
    if wanted is not None:
        if free and 2 * wanted % unit:
            raise ExportError(f"halo={wanted}: twice the halo must be a multiple of {unit}, the step of sizes")
        return wanted
    if source.output.lost:
        return 0
    halo = min(_seen(source) or _LARGEST_HALO, max(_LARGEST_HALO // unit, 1) * unit)
    return halo if free else min(halo, (min(source.example[2:]) - 1) // 4)


def seams(source: Exportable, halo: int) -> tuple[str, ...]:
    """Say why tiles of a package can differ from the whole, for people; nothing if they cannot."""
    if source.output.lost:
        lost = source.output.lost
        return (
            f"bioimageio.core predicts whole images only, since the network gives {lost} voxels less than it takes",
        )
    found = []
    seen = _seen(source)
    if seen is None:
        found.append(f"the network sees the whole patch, or nobody said how far it sees; the halo is {halo}")
    elif halo < seen:
        found.append(
            f"{halo} voxels are cut off each side of a tile, less than the network sees (receptive field "
            f"{source.receptive_field}); halo={seen} gives what the whole image gives, in tiles of more than {2 * seen}"
        )
    norms = sorted({type(part).__name__ for part in source.network.modules() if isinstance(part, _OF_THE_PATCH)})
    if norms:
        found.append(f"{' and '.join(norms)} take means over a tile, whatever the halo")
    return tuple(f"tiles can differ from the whole image at their seams: {reason}" for reason in found)


def _seen(source: Exportable) -> int | None:
    """Half of the receptive field, rounded up to the step of sizes; None if it is everything, or not known."""
    if source.receptive_field is None:
        return None
    return -(-(source.receptive_field // 2) // source.unit) * source.unit
