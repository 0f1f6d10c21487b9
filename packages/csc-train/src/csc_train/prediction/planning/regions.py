"""What is to be predicted: crops by name, pattern or list, boxes of any volume, and which classes of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csc_data.blocks import check_finished
from csc_data.challenge import TestCrop, UnknownCropError
from csc_data.challenge.current_lists import load_test_crops
from csc_data.config.templates import fill
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.geometry import Grid, Roi
from csc_data.splits.crops import PlacedCrop, annotated_crops, validation_crops
from csc_data.splits.search import CropTemplates, is_wanted
from csc_data.splits.split_file import read_datasplit
from csc_data.storage.paths import is_remote
from csc_data.volumes import Volume, open_volume
from csc_data.wording import listed

LISTS = ("test", "validation", "annotated")
"""Names that stand for many crops."""

_ROI = re.compile(r"\s*(?P<ranges>[^a-z]+?)\s*(?P<unit>nm|voxels?)\s*")
_RANGE = re.compile(r"\s*(-?\d*\.?\d*)\s*:\s*(-?\d*\.?\d*)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRegion:
    """One box of a volume that is to be predicted.

    Attributes
    ----------
    dataset, name : str
        What its output is called: the data set, and the crop or box in it.
    raw : str
        Path or URL of the raw volume.
    endpoint : str
        Where the S3 server answers; "" is what the configuration says.
    roi : Roi
        The box in nm.
    grid : Grid or None
        Of the crop's labels; None for a box that is not a crop.
    classes : tuple of str or None
        The classes that are scored or annotated there; None where nobody says.
    """

    dataset: str
    name: str
    raw: str
    endpoint: str = ""
    roi: Roi
    grid: Grid | None = None
    classes: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """How it is called in messages."""
        return f"{self.dataset}/{self.name}"

    def open_raw(self) -> Volume:
        """Open the raw volume, and check that it has something of the region.

        Raises
        ------
        MissingDataError
            If there is none, or the region lies beside it.
        UnreadableDataError
            If it is half written.
        """
        check_finished(self.raw)
        try:
            volume = open_volume(self.raw, endpoint=self.endpoint or None)
        except MissingDataError as error:
            raise MissingDataError(f"there is no raw data for it: {error}; fetch it, or give --data") from error
        if self.share_inside(volume) == 0:
            raise MissingDataError(
                f"it lies beside the raw data: it is {describe_box(self.roi)}, {self.raw} is "
                f"{describe_box(volume.levels[0].grid.bounds)}"
            )
        return volume

    def share_inside(self, volume: Volume) -> float:
        """Return how much of the region lies within a volume, from 0 to 1.

        Examples
        --------
        >>> from csc_data import Grid, Roi, Volume
        >>> from csc_data.volumes import Level
        >>> grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(10, 10, 10))
        >>> raw = Volume(path="raw", levels=(Level(name="s0", grid=grid, array=None),), attributes={})
        >>> PredictRegion(dataset="mine", name="crop1", raw="raw", roi=Roi([0, 0, 40], [80, 80, 120])).share_inside(raw)
        0.5
        """
        inside = self.roi.intersect(volume.levels[0].grid.bounds)
        if inside.empty:
            return 0.0
        share = 1.0
        for part, whole in zip(inside.extent, self.roi.extent, strict=True):
            share *= part / whole
        return share


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where regions are looked for.

    Attributes
    ----------
    config : Config
        Its data folder brings the list of test crops.
    templates : CropTemplates
        Where raw and annotated crops lie.
    datasplit : Path
        Which crops validate.
    """

    config: Config
    templates: CropTemplates
    datasplit: Path

    def raw(self, dataset: str) -> str:
        """Return where the raw of a data set lies."""
        return fill(self.templates.raw, {"dataset": dataset})


def choose_crops(wanted: Iterable[str] | None, places: Places) -> tuple[PredictRegion, ...]:
    """Return the crops that are asked for, each once.

    Parameters
    ----------
    wanted : iterable of str, optional
        Test crops by id (``557``, ``crop557``), else annotated ones; ``test``, ``validation`` or ``annotated`` for all
        of these; or patterns for the names of test crops and annotated ones, with or without a data set (``*``,
        ``jrc_hela-2/*``, ``jrc_*/crop1*``). All test crops by default.
    places : Places

    Raises
    ------
    UnknownCropError
        If there is no crop of such an id, or none that a pattern fits.
    MissingDataError
        If there is no datasplit, or it validates nothing; or no data set of test crops is there.
    """
    tests = load_test_crops(places.config)
    chosen: dict[tuple[str, str], PredictRegion] = {}
    for name in ("test",) if wanted is None else wanted:
        for region in _crops_named(str(name).strip(), tests, places):
            chosen.setdefault((region.dataset, region.name), region)
    if not chosen:
        raise InvalidArgumentError("no crop is asked for; leave crops out for all test crops")
    return tuple(chosen.values())


def _crops_named(name: str, tests: Mapping[int, TestCrop], places: Places) -> list[PredictRegion]:
    if name == "test":
        return _test_crops(tests, places)
    if name == "validation":
        return [
            _of_annotated(crop, places)
            for crop in validation_crops(read_datasplit(places.datasplit, places.config.root))
        ]
    dataset, slash, crop_name = name.rpartition("/")
    datasets = [dataset] if slash else ["*"]
    crops = ["*"] if name == "annotated" else [crop_name]
    fitting = [crop for crop in tests.values() if is_wanted(crop.dataset, crop.name, datasets, crops)]
    found = [_of_test(crop, places) for crop in fitting if name != "annotated"]
    if not found or any(sign in name for sign in "*?["):
        annotated = annotated_crops(places.templates, datasets=datasets, crops=crops)
        found += [_of_annotated(crop, places) for crop in annotated]
    if not found:
        known = listed([crop.name for crop in tests.values()], most=20)
        raise UnknownCropError(
            f"there is no crop {name}: the test crops are {known}, and {places.templates.place} has no annotated crop "
            f"of that name; {', '.join(LISTS)} stand for all of these"
        )
    return found


def _test_crops(tests: Mapping[int, TestCrop], places: Places) -> list[PredictRegion]:
    found = [_of_test(crop, places) for crop in tests.values()]
    if not any(is_remote(region.raw) or Path(region.raw).exists() for region in found):
        raise MissingDataError(
            f"{places.config.root} has no data set of the test crops (`csc fetch-data --crops test` fetches them); of "
            "your own data say what to predict: -c validation, -c annotated, -c with names of crops, or --volume NAME"
        )
    return found


def _of_test(crop: TestCrop, places: Places) -> PredictRegion:
    return PredictRegion(
        dataset=crop.dataset,
        name=crop.name,
        raw=places.raw(crop.dataset),
        endpoint=places.templates.endpoint,
        roi=crop.grid.bounds,
        grid=crop.grid,
        classes=crop.classes,
    )


def _of_annotated(crop: PlacedCrop, places: Places) -> PredictRegion:
    return PredictRegion(
        dataset=crop.dataset,
        name=crop.crop,
        raw=crop.raw,
        endpoint=places.templates.endpoint,
        roi=crop.grid.bounds,
        grid=crop.grid,
        classes=crop.classes,
    )


def choose_boxes(volume: str, rois: Sequence[str], places: Places) -> tuple[PredictRegion, ...]:
    """Return boxes of a volume; all of it if none is given.

    Parameters
    ----------
    volume : str
        A data set of the data folder, or the path or URL of a raw volume.
    rois : sequence of str
        As for `parse_roi`.
    places : Places

    Raises
    ------
    MissingDataError
        If there is no such volume.
    InvalidArgumentError
        If a box cannot be read, is empty, or lies beside the volume.
    """
    dataset, raw = places.templates.volume(volume)
    try:
        grid = open_volume(raw, endpoint=places.templates.endpoint or None).levels[0].grid
    except MissingDataError as error:
        raise MissingDataError(f"there is no volume {volume}: {error}") from error
    boxes = [parse_roi(text, grid) for text in rois] or [grid.bounds]
    return tuple(
        PredictRegion(
            dataset=dataset,
            name=_box_name(roi) if rois else "whole",
            raw=raw,
            endpoint=places.templates.endpoint,
            roi=roi,
        )
        for roi in boxes
    )


def parse_roi(text: str, grid: Grid) -> Roi:
    """Read a box of a volume: ``z0:z1,y0:y1,x0:x1`` and its unit, nm or voxels of the finest level.

    Where a number is left out the box ends with the volume.

    Raises
    ------
    InvalidArgumentError
        If it is not of this form, empty, or beside the volume.

    Examples
    --------
    >>> parse_roi("2:4,:,0:1 voxels", Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(9, 9, 9)))
    Roi(begin=(16.0, 0.0, 0.0), end=(32.0, 72.0, 8.0))
    """
    found = _ROI.fullmatch(text)
    ranges = [_RANGE.fullmatch(part) for part in found["ranges"].split(",")] if found else []
    if found is None or len(ranges) != 3 or None in ranges:
        raise InvalidArgumentError(
            f"{text!r} is not a box; write z0:z1,y0:y1,x0:x1 and its unit, nm or voxels, such as "
            "'1000:2000,0:512,0:512 nm'"
        )
    bounds = grid.bounds
    begin, end = list(bounds.begin), list(bounds.end)
    for axis, part in enumerate(ranges):
        assert part is not None
        for side, given in ((begin, part[1]), (end, part[2])):
            if not given:
                continue
            try:
                number = float(given)
            except ValueError:
                raise InvalidArgumentError(f"{text!r}: {given!r} is not a number") from None
            if found["unit"] != "nm":
                number = bounds.begin[axis] + number * grid.voxel_size[axis]
            side[axis] = number
    roi = Roi(begin, end)
    if roi.empty:
        raise InvalidArgumentError(f"the box {text} is empty: along each axis it must end behind its begin")
    if roi.intersect(bounds).empty:
        raise InvalidArgumentError(
            f"the box {text} lies outside: it is {describe_box(roi)}, the volume {describe_box(bounds)}"
        )
    return roi


def describe_box(roi: Roi) -> str:
    """Write a box in nm for people.

    >>> describe_box(Roi((0, 0, 8), (8, 8, 16)))
    'z 0:8, y 0:8, x 8:16 nm'
    """
    return ", ".join(f"{a} {b:.10g}:{e:.10g}" for a, b, e in zip("zyx", roi.begin, roi.end, strict=True)) + " nm"


def _box_name(roi: Roi) -> str:
    return "roi_" + "_".join(f"{b:.10g}-{e:.10g}" for b, e in zip(roi.begin, roi.end, strict=True))
