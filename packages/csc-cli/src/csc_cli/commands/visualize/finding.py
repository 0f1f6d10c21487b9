"""What there is to be seen: crops, and of each its annotations, predictions, results, and what was submitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from csc_cli.commands.visualize.kinds import KINDS, TITLES
from csc_data.challenge import ClassTable, label_classes
from csc_data.challenge.current_lists import load_test_crops
from csc_data.config.templates import fill
from csc_data.errors import CscError, MissingDataError, UnreadableDataError, did_you_mean
from csc_data.splits.search import CropTemplates, is_wanted, natural_key, search_crops
from csc_data.storage.stores.submissions import open_store
from csc_data.storage.trees import open_tree
from csc_data.volumes import Level, Volume, open_volume
from csc_data.volumes.channels import class_of_channel
from csc_submit.predictions import find_stored

if TYPE_CHECKING:
    from csc_data.challenge.test_crops import TestCrop
    from csc_data.config.user_config import Config
    from csc_data.storage.stores.places import Store

Opener = Callable[[], Volume]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassVolume:
    """One class of a crop, of one kind; it is opened when it is to be seen."""

    kind: str
    class_name: str
    open: Opener


@dataclass(slots=True, kw_only=True)
class ShownCrop:
    """A crop and what there is of it.

    Attributes
    ----------
    dataset, crop : str
        Their names; the data set is "" where nobody knows it.
    raw : str or None
        Path or URL of the raw volume.
    volumes : list of ClassVolume
    table : ClassTable
        Which classes there are.

    Examples
    --------
    >>> ShownCrop(dataset="jrc_hela-2", crop="crop4").classes()
    set()
    """

    dataset: str
    crop: str
    raw: str | None = None
    volumes: list[ClassVolume] = field(default_factory=list)
    table: ClassTable = field(default_factory=label_classes)

    @property
    def label(self) -> str:
        """How it is called in messages."""
        return "/".join(filter(None, (self.dataset, self.crop)))

    def classes(self) -> set[str]:
        """Return the classes that there is anything of."""
        return {volume.class_name for volume in self.volumes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for.

    Attributes
    ----------
    datasets, crops : sequence of str
        Names, ids or patterns.
    classes : sequence of str or None
        Names or patterns; None is all.
    kinds : sequence of str
        Of `KINDS`.
    parts : bool
        Whether the parts of a group class stand for it.
    table : ClassTable
        Which classes there are.

    Examples
    --------
    >>> wanted = Wanted(datasets=["jrc_*"], classes=["mito*"])
    >>> wanted.crop("jrc_hela-2", "crop4"), wanted.class_name("mito_mem"), wanted.class_name("er")
    (True, True, False)
    """

    datasets: Sequence[str] = ("*",)
    crops: Sequence[str] = ("*",)
    classes: Sequence[str] | None = None
    kinds: Sequence[str] = KINDS
    parts: bool = False
    table: ClassTable = field(default_factory=label_classes)

    def crop(self, dataset: str, crop: str) -> bool:
        """Tell whether a crop was asked for; one of an unknown data set was, where no data set was named."""
        return is_wanted(
            dataset if dataset or tuple(self.datasets) != ("*",) else None, crop, self.datasets, self.crops
        )

    def class_name(self, name: str) -> bool:
        """Tell whether a class was asked for; affinities and the like are where they are named."""
        if self.classes is None:
            return name != "all" and class_of_channel(name) is None
        return any(fnmatchcase(name, pattern) for pattern in self._patterns())

    def _patterns(self) -> list[str]:
        patterns = list(self.classes or ())
        for name in [*patterns] if self.parts else ():
            if name in self.table and self.table[name].parts:
                patterns = [p for p in patterns if p != name] + [*self.table.parts_of(name)]
        return patterns


def crops_meant(names: Sequence[str] | None, config: Config) -> tuple[str, ...]:
    """Return ids and patterns of the crops that names stand for: ``test`` is all test crops, ``all`` and none is all.

    Parameters
    ----------
    names : sequence of str, optional
    config : Config
        Whose list of test crops holds.
    """
    meant: list[str] = []
    for name in names or ("all",):
        if name == "test":
            meant += [str(number) for number in load_test_crops(config)]
        else:
            meant.append("*" if name == "all" else name)
    return tuple(meant)


def find_shown(
    config: Config,
    wanted: Wanted,
    tell: Callable[[str], None],
    *,
    templates: CropTemplates | None = None,
    submission: str | None = None,
) -> list[ShownCrop]:
    """Return the crops that there is anything of, by data set and crop.

    Parameters
    ----------
    config : Config
    wanted : Wanted
    tell : callable
        Called with a line for each place that cannot be looked through, such as a bucket that does not answer.
    templates : CropTemplates, optional
        Where annotated crops lie; below the data folder by default.
    submission : str, optional
        A zip or folder; that of the configuration by default.

    Raises
    ------
    MissingDataError
        If there is nothing of what was asked for, or a submission that was named is not there.
    UnreadableDataError
        If a submission that was named cannot be read.
    """
    found: dict[tuple[str, str], ShownCrop] = {}
    tests = {f"crop{number}": crop for number, crop in load_test_crops(config).items()}

    def of(dataset: str, crop: str) -> ShownCrop:
        return found.setdefault((dataset, crop), ShownCrop(dataset=dataset, crop=crop, table=wanted.table))

    places = templates or CropTemplates.below(config)
    truth, handed_in = config.path("ground_truth"), submission_place(config, submission)
    if submission is not None and not handed_in.exists():
        raise MissingDataError(f"{submission} does not exist; expected a zip or a zarr folder")
    looked_through: dict[str, list[Callable[[], Iterator[tuple[str, str, ClassVolume]]]]] = {
        "gt": [lambda: _annotations(places, wanted), lambda: _submitted(truth, "gt", tests, wanted)],
        "predictions": [lambda: _results(config, "predictions", wanted)],
        "processed": [lambda: _results(config, "processed", wanted)],
        "submission": [lambda: _submitted(handed_in, "submission", tests, wanted)],
    }
    for kind, looks in looked_through.items():
        for look in looks if kind in wanted.kinds else ():
            try:
                for dataset, crop, volume in look():
                    of(dataset, crop).volumes.append(volume)
            except CscError as error:
                if kind == "submission" and submission is not None:
                    raise
                tell(f"{TITLES[kind]}: {error}")
    shown = sorted(found.values(), key=lambda one: (natural_key(one.dataset), natural_key(one.crop)))
    _check(shown, wanted, config)
    for one in shown:
        one.raw = _raw(places, one.dataset)
    return shown


def find_volume(volume: str, templates: CropTemplates) -> ShownCrop:
    """Return all of a data set, by its name, or of a raw volume by its path or URL.

    Examples
    --------
    >>> from csc_data import load_config
    >>> from csc_data.splits.search import CropTemplates
    >>> find_volume("data/a.zarr/raw", CropTemplates.below(load_config(environ={}))).raw
    'data/a.zarr/raw'
    """
    dataset, raw = templates.volume(volume)
    return ShownCrop(dataset=dataset, crop="", raw=raw)


def results_of_volume(volume: ShownCrop, config: Config, wanted: Wanted) -> list[ClassVolume]:
    """Return what all of a volume was predicted and processed to be, as ``csc predict --volume`` stores it."""
    whole = replace(wanted, datasets=[volume.dataset], crops=["whole"])
    kinds: tuple[Literal["predictions", "processed"], ...] = ("predictions", "processed")
    return [found for kind in kinds if kind in wanted.kinds for _, _, found in _results(config, kind, whole)]


def _annotations(templates: CropTemplates, wanted: Wanted) -> Iterator[tuple[str, str, ClassVolume]]:
    tree = open_tree(templates.labels, templates.endpoint)
    for crop in search_crops(tree, templates, wanted.datasets, wanted.crops):
        for name in filter(wanted.class_name, crop.names):
            path, endpoint = f"{crop.path}/{name}", templates.endpoint or None

            def opened(path: str = path, endpoint: str | None = endpoint) -> Volume:
                return open_volume(path, endpoint=endpoint)

            yield crop.dataset, crop.crop, ClassVolume(kind="gt", class_name=name, open=opened)


def _results(
    config: Config, kind: Literal["predictions", "processed"], wanted: Wanted
) -> Iterator[tuple[str, str, ClassVolume]]:
    for stored in find_stored(config, kind):
        if wanted.crop(stored.dataset, stored.crop) and wanted.class_name(stored.class_name):

            def opened(path: Path = stored.path) -> Volume:
                return open_volume(path)

            yield stored.dataset, stored.crop, ClassVolume(kind=kind, class_name=stored.class_name, open=opened)


def submission_place(config: Config, given: str | None = None) -> Path:
    """Return the zip or folder of a submission: the one given, else that of the configuration, its zip first.

    Examples
    --------
    >>> from csc_data import load_config
    >>> submission_place(load_config(environ={}), "mine.zip").name
    'mine.zip'
    """
    if given is not None:
        return Path(given)
    folder = config.path("submission")
    archive = folder.with_suffix(".zip")
    return archive if archive.is_file() else folder


def _submitted(
    place: Path, kind: str, tests: dict[str, TestCrop], wanted: Wanted
) -> Iterator[tuple[str, str, ClassVolume]]:
    """Give what a submission, or the truth of the test crops, holds: both have the portal's layout."""
    if not place.exists():
        return
    store = open_store(place)
    for crop in sorted(store.folders(""), key=natural_key):
        name = crop if crop.startswith("crop") else f"crop{crop}"
        test = tests.get(name)
        dataset = "" if test is None else test.dataset
        if not wanted.crop(dataset, name):
            continue
        for class_name in filter(wanted.class_name, store.folders(crop)):

            def opened(key: str = f"{crop}/{class_name}", test: TestCrop | None = test) -> Volume:
                return _open_submitted(store, key, test)

            yield dataset, name, ClassVolume(kind=kind, class_name=class_name, open=opened)


def _open_submitted(store: Store, key: str, test: TestCrop | None) -> Volume:
    """Open an array of a submission where csc-eval places it."""
    from csc_eval.placing.predictions import CropGrid, open_prediction

    crop = CropGrid(
        voxel_size=(1.0, 1.0, 1.0) if test is None else test.voxel_size,
        translation=(0.0, 0.0, 0.0) if test is None else test.translation,
        shape=(1, 1, 1) if test is None else test.shape,
    )
    prediction = open_prediction(store, key, crop)
    if test is None and prediction.voxel_size is None:
        raise UnreadableDataError(
            f"{store.place(key)} has no voxel_size, and its crop is not in the list of test crops"
        )
    level = Level(name="s0", grid=prediction.grid(crop), array=getattr(prediction.voxels, "array", prediction.voxels))
    return Volume(path=store.place(key), levels=(level,), attributes={})


def _raw(templates: CropTemplates, dataset: str) -> str | None:
    return fill(templates.raw, {"dataset": dataset}) if dataset else None


def _check(shown: Sequence[ShownCrop], wanted: Wanted, config: Config) -> None:
    if not shown:
        what = " or ".join(TITLES[kind] for kind in wanted.kinds)
        asked = (tuple(wanted.datasets), tuple(wanted.crops), wanted.classes) != (("*",), ("*",), None)
        raise MissingDataError(
            f"{config.root} holds no {what}{' of what was asked for' if asked else ''}; `csc fetch-data` brings data, "
            "--data names another folder"
        )


def say_missing(shown: Sequence[ShownCrop], wanted: Wanted) -> Iterator[str]:
    """Say which of the data sets, crops and classes that were asked for are nowhere.

    Examples
    --------
    >>> shown = [ShownCrop(dataset="jrc_hela-2", crop="crop4")]
    >>> list(say_missing(shown, Wanted(crops=["crop5"])))
    ["there is nothing of the crop 'crop5'; did you mean crop4?"]
    """
    for word, patterns, there in (
        ("data set", wanted.datasets, {one.dataset for one in shown}),
        ("crop", wanted.crops, {one.crop for one in shown}),
        ("class", wanted.classes or (), set[str]().union(*(one.classes() for one in shown))),
    ):
        for pattern in patterns:
            either = (pattern, f"crop{pattern}") if word == "crop" else (pattern,)
            is_group = word == "class" and wanted.parts and pattern in wanted.table
            if not is_group and not any(fnmatchcase(name, one) for name in there for one in either):
                yield f"there is nothing of the {word} {pattern!r}; {did_you_mean(pattern, sorted(there))}"
