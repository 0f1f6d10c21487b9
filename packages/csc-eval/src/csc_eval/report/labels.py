"""Labels of crops as a page shows them: planes to leaf through, and their worst errors, each with a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from csc_data.challenge.classes import ClassTable
from csc_data.challenge.colours import as_hex, class_colour
from csc_data.errors import CscError
from csc_data.geometry import Grid
from csc_data.volumes import Volume, open_volume
from csc_eval.locating import KINDS, ErrorPlace, LabelErrors, locate_errors
from csc_eval.placing.predictions import CropGrid
from csc_eval.report.pictures import Pixels, as_grey, as_pixels, encode
from csc_eval.scoring.labels import LabelTask
from csc_eval.scoring.results import LabelScore
from csc_eval.voxels.arrays import Array

PAGE_BYTES = 17_000_000
"""What all pictures of a page may take together."""

_MOST_PLANES = 9
_MOST_EDGE, _LEAST_EDGE = 256, 64  # pixels of a plane's longer edge
_OBJECT_EDGE = 96  # voxels around an object at most, and pixels at least
_GUESS = {True: 0.55, False: 0.08}  # bytes of a pixel with and without raw, until some were encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Planes:
    """Planes of a label, one below the other in one picture.

    Attributes
    ----------
    picture : str
        Address of the image.
    captions : sequence of str
        One for each plane.
    first : int
        Which is seen first: the one with most wrong voxels.
    aspect : float
        Width over height of a plane.
    width : int
        Pixels.
    """

    picture: str
    captions: Sequence[str]
    first: int
    aspect: float
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceView:
    """An error with a picture of the plane in which it is worst."""

    place: ErrorPlace
    meaning: str
    picture: str
    aspect: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelView:
    """A label as a page shows it.

    Attributes
    ----------
    crop, class_name : str
    colour : str
        Of the class.
    score : LabelScore
    counts : str
        What is wrong, in words.
    planes : Planes or None
    places : sequence of PlaceView
    problem : str
        Why there is no picture, "" if there are some.
    """

    crop: str
    class_name: str
    colour: str
    score: LabelScore
    counts: str = ""
    planes: Planes | None = None
    places: Sequence[PlaceView] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How much is shown of labels.

    Attributes
    ----------
    objects : int
        Errors of each label.
    page_bytes : int
        What their pictures may take; with more labels each has fewer and smaller planes.
    table : ClassTable or None
        Which classes there are, where some are of one's own, with their colours.
    """

    objects: int = 5
    page_bytes: int = PAGE_BYTES
    table: ClassTable | None = None


@dataclass(slots=True)
class _Room:
    """What is left of the bytes of a page, and what a pixel has taken so far."""

    left: float
    labels: int
    bytes_per_pixel: dict[bool, float] = field(default_factory=lambda: dict(_GUESS))

    def pixels(self, *, on_raw: bool) -> int:
        """Return how many pixels the planes of the next label may have."""
        share = max(self.left, 0) / max(self.labels, 1)
        return int(0.7 * share / (self.bytes_per_pixel[on_raw] * 4 / 3))

    def take(self, planes: str, pixels: int, others: int, *, on_raw: bool) -> None:
        """Note what a label took."""
        self.left -= len(planes) + others
        self.labels -= 1
        taken = len(planes) * 3 / 4 / pixels
        self.bytes_per_pixel[on_raw] = max(0.5 * (self.bytes_per_pixel[on_raw] + taken), 0.01)


def draw_labels(
    tasks: Iterable[LabelTask],
    scores: Mapping[str, Mapping[str, LabelScore]],
    raw: Mapping[str, str],
    shown: Shown | None = None,
) -> list[LabelView]:
    """Find out where labels are wrong, and draw it.

    Parameters
    ----------
    tasks : iterable of LabelTask
        Which labels, in the order of the page.
    scores : mapping
        Crop to class to score.
    raw : mapping of str to str
        Crop to the path of its raw volume, where it is known.
    shown : Shown, optional

    Returns
    -------
    list of LabelView
        One that cannot be read says so.
    """
    shown = shown or Shown()
    listed = list(tasks)
    room = _Room(shown.page_bytes, len(listed))
    volumes: dict[str, Volume | CscError | None] = {}
    views = []
    for task in listed:
        if task.crop not in volumes:
            volumes[task.crop] = _open_raw(raw.get(task.crop))
        view = LabelView(
            crop=task.crop,
            class_name=task.class_name,
            colour=as_hex(class_colour(task.class_name, shown.table)),
            score=scores[task.crop][task.class_name],
        )
        views.append(_drawn(view, task, volumes[task.crop], shown.objects, room))
    return views


def _open_raw(path: str | None) -> Volume | CscError | None:
    try:
        return None if path is None else open_volume(path)
    except CscError as error:
        return error


def _drawn(view: LabelView, task: LabelTask, raw: Volume | CscError | None, objects: int, room: _Room) -> LabelView:
    try:
        found = locate_errors(task, most=objects)
        reader = _Reader(found, raw if isinstance(raw, Volume) else None)
        planes, pixels = _planes(found, reader, room.pixels(on_raw=reader.on_raw))
        places = [_place(place, found, reader) for place in found.places]
    except CscError as error:
        room.labels -= 1
        return replace(view, problem=str(error))
    others = sum(len(place.picture) for place in places)
    room.take(planes.picture, pixels, others, on_raw=reader.on_raw)
    problem = f"raw is not shown: {raw}" if isinstance(raw, CscError) else ""
    return replace(view, counts=_words(found), planes=planes, places=places, problem=problem)


class _Reader:
    """Planes of a label, each read once."""

    def __init__(self, found: LabelErrors, raw: Volume | None) -> None:
        self.found = found
        self.on_raw = raw is not None
        self._raw = raw
        self._planes: dict[int, tuple[Array, Array, Array | None]] = {}
        self._limits: tuple[float, float] | None = None

    def plane(self, z: int) -> tuple[Array, Array, Array | None]:
        """Return truth, prediction, and raw."""
        if z not in self._planes:
            truth, prediction = self.found.read_plane(z)
            self._planes[z] = truth, prediction, _raw_plane(self._raw, self.found.grid, z)
        return self._planes[z]

    def limits(self) -> tuple[float, float]:
        """Return between which values raw goes from black to white: the same in all pictures of a label."""
        if self._limits is None:
            raw = self.plane(self.found.worst_plane)[2]
            assert raw is not None
            low, high = np.percentile(raw, (0.5, 99.5)).tolist()
            self._limits = low, high
        return self._limits


def _raw_plane(raw: Volume | None, grid: CropGrid, z: int) -> Array | None:
    if raw is None:
        return None
    whole = Grid(voxel_size=grid.voxel_size, translation=grid.translation, shape=grid.shape)
    values: Array = raw.read(whole.window((z, 0, 0), (1, *grid.shape[1:])), order=1)[0]
    return values


def _planes(found: LabelErrors, reader: _Reader, pixels: int) -> tuple[Planes, int]:
    """Draw as many planes as so many pixels are enough for: the worst, those of the worst errors, and some between."""
    depth, height, width = found.grid.shape
    longer = max(height, width)
    edge = min(_MOST_EDGE, max(_LEAST_EDGE, math.isqrt(max(pixels, 1) * longer // min(height, width))))
    step = max(1, math.ceil(longer / edge))
    size = (-(-height // step)) * (-(-width // step))
    chosen = _choose(found, depth, max(1, min(_MOST_PLANES, pixels // size)))
    planes = [reader.plane(z) for z in chosen]
    # All at once: calls take longer than their pixels.
    truth, prediction = np.stack([t for t, _, _ in planes]), np.stack([p for _, p, _ in planes])
    raw = [grey[::step, ::step] for _, _, grey in planes if grey is not None]
    grey = as_grey(np.stack(raw), reader.limits()) if raw else None
    drawn = as_pixels(truth[:, ::step, ::step], prediction[:, ::step, ::step], grey)
    picture = encode(drawn.reshape(-1, drawn.shape[2]), on_raw=reader.on_raw)
    captions = [
        f"z {z} of {depth}: {found.hits[z]:,} voxels hit, {found.misses[z]:,} missed, {found.false_alarms[z]:,} false"
        for z in chosen
    ]
    _, voxel_y, voxel_x = found.grid.voxel_size
    aspect = width * voxel_x / (height * voxel_y)
    first = chosen.index(found.worst_plane)
    return Planes(picture=picture, captions=captions, first=first, aspect=aspect, width=drawn.shape[2]), len(
        chosen
    ) * size


def _choose(found: LabelErrors, depth: int, most: int) -> list[int]:
    between = np.linspace(0, depth - 1, min(depth, _MOST_PLANES)).astype(int).tolist()
    wanted = [found.worst_plane, *(place.voxel[0] for place in found.places), *between]
    return sorted(list(dict.fromkeys(wanted))[:most])


def _place(place: ErrorPlace, found: LabelErrors, reader: _Reader) -> PlaceView:
    """Draw the surroundings of an error, larger than life where it is small."""
    z, *at = place.voxel
    box = [_window(*ends) for ends in zip(place.begin[1:], place.end[1:], at, found.grid.shape[1:], strict=True)]
    truth, prediction, raw = (None if v is None else v[box[0], box[1]] for v in reader.plane(z))
    assert truth is not None
    assert prediction is not None
    zoom = max(1, -(-_OBJECT_EDGE // max(truth.shape)))
    grey = None if raw is None else _enlarged(as_grey(raw, reader.limits()), zoom)
    pixels = as_pixels(_enlarged(truth, zoom), _enlarged(prediction, zoom), grey)
    _, voxel_y, voxel_x = found.grid.voxel_size
    return PlaceView(
        place=place,
        meaning=KINDS[place.kind],
        picture=encode(pixels, on_raw=reader.on_raw),
        aspect=truth.shape[1] * voxel_x / (truth.shape[0] * voxel_y),
    )


def _window(begin: int, end: int, at: int, size: int) -> slice:
    """Return the voxels of an axis around a part of it, or around a place in it where that is long."""
    margin = max(4, (end - begin) // 5)
    begin, end = begin - margin, end + margin
    if end - begin > _OBJECT_EDGE:
        begin = min(max(at - _OBJECT_EDGE // 2, begin), end - _OBJECT_EDGE)
        end = begin + _OBJECT_EDGE
    return slice(max(begin, 0), min(end, size))


def _enlarged(values: Array | Pixels, zoom: int) -> Array:
    return values if zoom == 1 else np.repeat(np.repeat(values, zoom, 0), zoom, 1)


def _words(found: LabelErrors) -> str:
    if found.too_many:
        return "there are too many predicted objects to be matched: none is named"
    if not found.task.instance:
        return f"{found.hits.sum():,} voxels hit, {found.misses.sum():,} missed, {found.false_alarms.sum():,} false"
    named = [f"{found.counts[kind]:,} {kind}" for kind in KINDS if kind in found.counts]
    return f"objects: {', '.join(named)}" if named else "every object was found, and there are no others"
