"""From what was found to what a viewer shows; what cannot be opened is said, and the rest is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from csc_cli.commands.visualize.finding import ClassVolume, ShownCrop
from csc_cli.commands.visualize.kinds import KINDS, TITLES
from csc_data.challenge import ClassTable
from csc_data.config.user_config import choose_endpoint
from csc_data.errors import CscError
from csc_data.geometry import Roi
from csc_data.storage.paths import is_remote
from csc_data.view import Kind, Layer
from csc_data.volumes import Volume, open_volume
from csc_data.volumes.stored_values import StoredValues

_OPENERS = 16
_MIDDLE = 256  # voxels of a volume that is too large to be seen as a whole
_MOST_VISIBLE = 8  # more colours than that on top of each other tell nobody anything


def open_crop(crop: ShownCrop, tell: Callable[[str], None]) -> list[Layer]:
    """Open the volumes of a crop side by side.

    Parameters
    ----------
    crop : ShownCrop
    tell : callable
        Called with a line for each volume that cannot be opened.

    Returns
    -------
    list of Layer
        Raw, then truth, predictions, processed, submission; after raw and the first of these the others wait.
    """
    with ThreadPoolExecutor(_OPENERS) as threads:
        raw = threads.submit(_open_raw, crop)
        volumes = sorted(crop.volumes, key=partial(_order, crop.table))
        opened = list(threads.map(_try_open, volumes))
        layers = _raw_layers(crop, raw.result(), tell)
    first = next((v.kind for v, o in zip(volumes, opened, strict=True) if isinstance(o, Volume)), None)
    shown = 0
    for volume, found in zip(volumes, opened, strict=True):
        if isinstance(found, CscError):
            tell(f"{crop.label}, {volume.class_name} ({TITLES[volume.kind]}): {found}")
            continue
        visible = volume.kind == first and shown < _MOST_VISIBLE
        shown += visible
        layers.append(_layer(volume, found, crop.table, visible=visible))
    return layers


def _raw_layers(crop: ShownCrop, found: Volume | CscError | None, tell: Callable[[str], None]) -> list[Layer]:
    if isinstance(found, Volume):
        return [Layer(name="raw", kind="raw", volume=found, group="raw")]
    tell(f"{crop.label}, raw: {found or 'it is not known which data set this crop is of'}")
    return []


def _order(table: ClassTable, volume: ClassVolume) -> tuple[int, int, str]:
    known = table.get(volume.class_name)
    return KINDS.index(volume.kind), known.id if known is not None else 1000, volume.class_name


def _open_raw(crop: ShownCrop) -> Volume | CscError | None:
    if crop.raw is None:
        return None
    places = [crop.raw, crop.raw.replace(".zarr", ".n5")] if ".zarr" in crop.raw else [crop.raw]
    error: CscError | None = None
    for place in places:
        try:
            return open_volume(place, endpoint=choose_endpoint(place) if is_remote(place) else None)
        except CscError as found:
            error = error or found
    return error


def _try_open(volume: ClassVolume) -> Volume | CscError:
    try:
        return volume.open()
    except CscError as error:
        return error


def _layer(volume: ClassVolume, found: Volume, table: ClassTable, *, visible: bool) -> Layer:
    values = _values_of(found)
    return Layer(
        name=f"{volume.class_name} ({TITLES[volume.kind]})",
        kind=_kind_of(volume, found, values, table),
        volume=found,
        class_name=volume.class_name,
        group=TITLES[volume.kind],
        values=values,
        visible=visible,
        table=table,
    )


def _values_of(found: Volume) -> StoredValues | None:
    attributes = getattr(found.levels[0].array, "attrs", {})
    try:
        return StoredValues.from_attributes(attributes) or StoredValues.from_attributes(found.attributes)
    except CscError:
        return None


def _kind_of(volume: ClassVolume, found: Volume, values: StoredValues | None, table: ClassTable) -> Kind:
    """Return how a volume is drawn; probabilities among results are told by what they say, or by their type."""
    labels = values.kind == "label" if values is not None else found.levels[0].dtype.kind != "f"
    if volume.kind == "predictions":
        labels = values is not None and labels
    if volume.kind != "gt" and not labels:
        return "probability"
    return "instances" if volume.class_name in table.instances else "mask"


def place_of(layers: Sequence[Layer]) -> Roi | None:
    """Return where to look, in nm: at the first layer that is not raw, else at the middle of raw.

    Examples
    --------
    >>> from csc_data.view.layers import array_layer
    >>> raw = array_layer(np.zeros((4, 4, 4), np.uint8), "raw", "raw", voxel_size=(8, 8, 8))
    >>> mito = array_layer(np.zeros((2, 2, 2), np.uint8), "mito", "segmentation", voxel_size=(8, 8, 8))
    >>> place_of([raw, mito]) == mito.roi
    True
    """
    seen = next((layer for layer in layers if layer.kind != "raw"), None)
    if seen is not None or not layers:
        return None if seen is None else seen.roi
    whole = layers[0].volume.levels[0].grid
    middle = [(b + e) / 2 for b, e in zip(whole.bounds.begin, whole.bounds.end, strict=True)]
    half = [_MIDDLE / 2 * size for size in whole.voxel_size]
    return Roi(middle, middle).grow(half).intersect(whole.bounds)
