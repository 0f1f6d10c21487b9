"""A volume as a browser gets it: a multiscale group that is made up, over levels as they are stored."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

from csc_data.formats.chunked_array import Index
from csc_data.formats.ngff import multiscale_attributes
from csc_data.geometry import Grid
from csc_data.storage.stores.places import Part
from csc_data.view.live import BlockFuture
from csc_data.view.serving.levels import ComputedLevel, EncodedLevel, ServedLevel, serve_array
from csc_data.volumes import Level

_CHUNK = re.compile(r"(?:c\.)?([0-9]{1,9}(?:\.[0-9]{1,9}){0,4})")
_GROUP2 = json.dumps({"zarr_format": 2}).encode()


class ServedVolume:
    """A volume that a browser can read, wherever and however it is stored.

    Its group says in OME-NGFF what `open_volume` found: so a volume lies in the viewer where everything else here
    places it, whatever its own metadata look like.

    Parameters
    ----------
    name : str
        For the group.
    levels : sequence of Level
        Finest first; their arrays may be anything that has shape and dtype and is read by slices.

    Examples
    --------
    >>> from csc_data.view.layers import array_layer
    >>> layer = array_layer(np.zeros((4, 4, 4), np.uint8), "mito", "segmentation", voxel_size=(8, 8, 8))
    >>> served = ServedVolume("mito", layer.volume.levels)
    >>> served.scheme, b"multiscales" in served.read(".zattrs"), served.size("no such file"), served.ask(".zattrs")
    ('zarr2', True, None, None)
    """

    def __init__(self, name: str, levels: Sequence[Level]) -> None:
        arrays: list[ServedLevel] = [serve_array(level.array) for level in levels]
        if len({array.zarr_format for array in arrays}) > 1:  # one group has one format
            arrays = [EncodedLevel(level.array) for level in levels]
        self.zarr_format: Literal[2, 3] = arrays[0].zarr_format
        self._arrays = {str(number): array for number, array in enumerate(arrays)}
        grids = [level.grid for level in levels]
        self._files = _documents(name, grids, self._arrays, self.zarr_format)

    @property
    def scheme(self) -> str:
        """What Neuroglancer calls its format."""
        return f"zarr{self.zarr_format}"

    def read(self, path: str, part: Part | None = None) -> bytes | None:
        """Return what the browser asks for, or a part of it; None where there is no such thing.

        Parameters
        ----------
        path : str
            ``.zattrs``, ``0/.zarray``, ``0/3.1.4`` or the like; anything else is not there.
        part : (int, int or None), optional
            First byte and last plus one.

        Raises
        ------
        UnreadableDataError
            If a chunk cannot be read.
        """
        if path in self._files:
            return self._files[path]
        found = self._find(path)
        return None if found is None else found[0].chunk(found[1], part)

    def ask(self, path: str) -> tuple[ComputedLevel, BlockFuture] | None:
        """Ask for a chunk that has to be computed, so that nobody waits for it in `read`; None for all else."""
        found = None if path in self._files else self._find(path)
        if found is None or not isinstance(found[0], ComputedLevel):
            return None
        return found[0], found[0].ask(found[1])

    def size(self, path: str) -> int | None:
        """Return how many bytes `read` returns of the whole."""
        if path in self._files:
            return len(self._files[path])
        found = self._find(path)
        return None if found is None else found[0].size(found[1])

    def _find(self, path: str) -> tuple[ServedLevel, Index] | None:
        """Return the array and the number of the chunk that a path names."""
        name, _, chunk = path.partition("/")
        array, found = self._arrays.get(name), _CHUNK.fullmatch(chunk)
        if array is None or found is None:
            return None
        index = tuple(map(int, found[1].split(".")))
        if len(index) != len(array.counts) or any(i >= n for i, n in zip(index, array.counts, strict=True)):
            return None
        return array, index


def _documents(
    name: str, grids: Sequence[Grid], arrays: dict[str, ServedLevel], zarr_format: Literal[2, 3]
) -> dict[str, bytes]:
    """Return the files of metadata, by path."""
    attributes: dict[str, Any] = multiscale_attributes(name, list(zip(arrays, grids, strict=True)))
    if zarr_format == 3:
        ome = {"ome": {"version": "0.5", **attributes}}
        group = {"zarr_format": 3, "node_type": "group", "attributes": ome}
        inner = {f"{level}/zarr.json": array.document for level, array in arrays.items()}
        return {"zarr.json": json.dumps(group).encode(), **inner}
    inner = {f"{level}/.zarray": array.document for level, array in arrays.items()}
    return {".zgroup": _GROUP2, ".zattrs": json.dumps(attributes).encode(), **inner}
