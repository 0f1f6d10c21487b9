"""The worst labels of a result: truth and prediction of each, and a list of the places where it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from csc_cli.commands.visualize.finding import Wanted
from csc_data.errors import CscError, MissingDataError
from csc_data.geometry import Grid, Roi
from csc_data.view import Kind, Layer, Scene, Spot, difference_layer
from csc_data.volumes import Level, Volume, open_volume
from csc_data.wording import plural
from csc_eval.locating import ErrorPlace, locate_errors
from csc_eval.placing.predictions import CropGrid, open_prediction
from csc_eval.report import worst_labels
from csc_eval.running.result_files import open_scored, read_result
from csc_eval.scoring.labels import CACHE_BYTES, LabelTask, open_truth

if TYPE_CHECKING:
    from csc_data.storage.stores.places import Store

MOST_LABELS = 100
MOST_PLACES = 20
_AROUND = 1.5  # of a place's own extent is seen
_LEAST_VOXELS = 24  # and so much at least


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstLabel:
    """A label of a result, opened when somebody looks at it.

    Attributes
    ----------
    title : str
        What the list says: crop, class, score.
    open : callable
        Returns what is shown of it.
    """

    title: str
    open: Callable[[], Scene]


@contextmanager
def open_worst(
    result_file: str,
    moved: tuple[str | None, str | None],
    wanted: Wanted,
    raw: Mapping[str, str],
    tell: Callable[[str], None],
) -> Iterator[list[WorstLabel]]:
    """Give the labels of a result that are not perfect, the worst first; what was scored stays open until the end.

    Parameters
    ----------
    result_file : str
        A ``result_extended.json``.
    moved : (str or None, str or None)
        The submission and the truth, where they lie elsewhere than the result says.
    wanted : Wanted
        Which crops and classes.
    raw : mapping of str to str
        Crop to the path of its raw volume.
    tell : callable
        Called with a line for what is not shown.

    Raises
    ------
    MissingDataError
        If there is no such label.
    UnreadableDataError, InvalidArgumentError
        If the result cannot be read, or does not say what was scored.
    """
    result = read_result(result_file)
    labels = [(crop, name) for crop, name in worst_labels(result) if wanted.crop("", crop) and wanted.class_name(name)]
    if not labels:
        raise MissingDataError(
            f"{result_file} has no label that was submitted and is wrong anywhere, of what was asked for"
        )
    if len(labels) > MOST_LABELS:
        tell(f"the worst {MOST_LABELS} of {plural(len(labels), 'label')}; --crops and --classes choose others")
    with open_scored(result, *moved) as volumes:
        tasks = volumes.tasks(result, labels[:MOST_LABELS])
        known = {**raw, **volumes.raw}
        found = []
        for crop, name in labels[:MOST_LABELS]:
            score = result.crops[crop][name]
            words = "not counted" if score.quirk else f"{score.score:.3f}"
            if (crop, name) in tasks:
                opened = _opener(tasks[crop, name], known.get(crop), tell)
                found.append(WorstLabel(title=f"{crop}/{name}  {words}", open=opened))
        yield found


def _opener(task: LabelTask, raw: str | None, tell: Callable[[str], None]) -> Callable[[], Scene]:
    def opened() -> Scene:
        truth, grid = open_truth(task)
        where = Grid(voxel_size=grid.voxel_size, translation=grid.translation, shape=grid.shape)
        kind: Kind = "instances" if task.instance else "mask"
        ours = Volume(
            path=task.truth.place(task.truth_key),
            levels=(Level(name="s0", grid=where, array=truth.array),),
            attributes={},
        )
        layers = [
            *_raw_layers(task.crop, raw, tell),
            Layer(name=f"{task.class_name} (truth)", kind=kind, volume=ours, class_name=task.class_name, group="truth"),
        ]
        assert task.submission is not None
        theirs = Layer(
            name=f"{task.class_name} (submission)",
            kind=kind,
            volume=_submitted(task.submission, task.key, grid),
            class_name=task.class_name,
            group="submission",
        )
        difference = difference_layer(layers[-1], theirs, f"{task.class_name}: missed, false, agreed")
        layers += [theirs, replace(difference, visible=not task.instance)]
        return Scene(layers=layers, roi=where.bounds, spots=_spots(task, grid, tell))

    return opened


def _raw_layers(crop: str, path: str | None, tell: Callable[[str], None]) -> list[Layer]:
    if path is None:
        tell(f"{crop}, raw: it is not known where it lies")
        return []
    try:
        return [Layer(name="raw", kind="raw", volume=open_volume(path), group="raw")]
    except CscError as error:
        tell(f"{crop}, raw: {error}")
        return []


def _submitted(store: Store, key: str, grid: CropGrid) -> Volume:
    """Open a prediction where csc-eval places it, as the file that it is."""
    prediction = open_prediction(store, key, grid, cache_bytes=CACHE_BYTES)
    array = getattr(prediction.voxels, "array", prediction.voxels)
    level = Level(name="s0", grid=prediction.grid(grid), array=array)
    return Volume(path=store.place(key), levels=(level,), attributes={})


def _spots(task: LabelTask, grid: CropGrid, tell: Callable[[str], None]) -> list[Spot]:
    try:
        found = locate_errors(task, most=MOST_PLACES)
    except CscError as error:
        tell(f"{task.truth_key}: its errors are not listed: {error}")
        return []
    if found.too_many:
        tell(f"{task.truth_key}: there are too many predicted objects to be matched: none is listed")
    return [Spot(title=_words(place), roi=_around(place, grid)) for place in found.places]


def _words(place: ErrorPlace) -> str:
    objects = max(len(place.truth), len(place.prediction))
    several = f" of {objects}" if place.kind in ("merged", "split") else ""
    fit = f", IoU {place.iou:.2f}" if place.truth and place.prediction else ""
    return f"{place.kind}{several}: {place.wrong_voxels:,} voxels{fit}"


def _around(place: ErrorPlace, grid: CropGrid) -> Roi:
    """Return a cube around a place that shows what is wrong there, as far as that is not larger than the crop."""
    extents = [(e - b) * v for b, e, v in zip(place.begin, place.end, grid.voxel_size, strict=True)]
    whole = max(n * v for n, v in zip(grid.shape, grid.voxel_size, strict=True))
    half = min(max(_AROUND * max(extents), _LEAST_VOXELS * max(grid.voxel_size)), whole) / 2
    return Roi([p - half for p in place.place_nm], [p + half for p in place.place_nm])
