"""What a conversion would write where; whatever is wrong with the source is found here, before anything is written."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from csc_data.challenge import load_classes
from csc_data.config.templates import anchor, fill
from csc_data.config.user_config import Config
from csc_data.converting.sources.opening import open_source
from csc_data.converting.sources.source import Source
from csc_data.converting.values import (
    ClassMasks,
    Encoder,
    Progress,
    choose_grey_values,
    choose_ids,
    describe_classes,
    look_at_labels,
)
from csc_data.converting.writing import VolumePlan
from csc_data.errors import InvalidArgumentError, Problem, ProblemsError
from csc_data.formats.writing import read_attributes
from csc_data.geometry import Grid, Triple
from csc_data.volumes import open_volume
from csc_data.volumes.annotation_attributes import annotation_type, class_attributes, crop_attributes
from csc_data.volumes.annotation_values import UNKNOWN, read_annotation

Kind = Literal["raw", "labels"]

_ATOM_NM = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What is to become a volume.

    Attributes
    ----------
    source : str
        A file, a folder of slices, or a volume.
    out : str, optional
        Folder of the volume; of labels with ``class_values`` that of a crop, which holds a volume for each class.
    dataset : str, optional
        Instead of ``out``: name of a data set of the data folder.
    crop : int, optional
        Of its labels; by default that of the data set, or one that no crop of the data folder has: crops of one number
        count as the same place.
    kind : {"raw", "labels"}
    labels : str, optional
        Labels of the source, which is raw, or of a part of it.
    labels_translation : tuple of float, optional
        nm of the centre of their voxel 0; without it they are on the grid of the source.
    array : str, optional
        Name of the array in the source.
    voxel_size : tuple of float, optional
        nm, z, y, x; goes before what the file says.
    translation : tuple of float, optional
        nm of the centre of voxel 0; by default what the file says, else 0.
    value_range : (float, float), optional
        Raw: what becomes 0 and 255.
    class_name : str, optional
        Labels: the one class; ids are kept.
    class_values : mapping of str to tuple of int
        Labels: the values that each class has.
    unknown : int, optional
        Labels: the value of voxels that nobody annotated.
    close_gaps : bool
        Whether slices close up where numbers are missing.
    """

    source: str
    out: str | None = None
    dataset: str | None = None
    crop: int | None = None
    kind: Kind = "raw"
    labels: str | None = None
    labels_translation: Triple | None = None
    array: str | None = None
    voxel_size: Triple | None = None
    translation: Triple | None = None
    value_range: tuple[float, float] | None = None
    class_name: str | None = None
    class_values: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unknown: int | None = None
    close_gaps: bool = False

    def __post_init__(self) -> None:
        problems = [Problem(where="", what=what, remedy=remedy) for wrong, what, remedy in self._rules() if wrong]
        if problems:
            raise ProblemsError("convert", problems)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are named."""
        return tuple(self.class_values) or (() if self.class_name is None else (self.class_name,))

    def _rules(self) -> tuple[tuple[bool, str, str], ...]:
        has_labels = self.kind == "labels" or self.labels is not None
        named = self.class_name is not None or bool(self.class_values)
        values = [value for values in self.class_values.values() for value in values]
        return (
            ((self.out is None) == (self.dataset is None), "where to?", "give OUT, or --dataset with --data"),
            (has_labels and self.dataset is not None and not named, "labels of which classes?",
             "give --class, or --class-values mito=1,er=2"),
            (self.class_name is not None and bool(self.class_values), "--class and --class-values do not go together",
             "--class is for a file of one class, --class-values for several in one file"),
            (named and not has_labels, "classes are said, but not of which labels", "give --kind labels, or --labels"),
            (self.labels is not None and (self.kind == "labels" or self.dataset is None),
             "--labels go with raw into a data set", "give --dataset, without --kind labels"),
            (self.labels_translation is not None and self.labels is None, "--labels-translation is for --labels",
             "give these, or --translation"),
            (self.unknown is not None and not has_labels, "--unknown is for labels", "give --kind labels"),
            (self.value_range is not None and self.kind == "labels", "--range is for raw", "leave it out"),
            (0 in values, "0 stands for a class, but it is where none is", "choose other values"),
            (len(values) != len(set(values)), "a value stands for two classes", "convert groups by a second call"),
            (self.unknown in values, f"{self.unknown} is unknown and a class", "choose one"),
        )  # fmt: skip


def plan_conversion(wanted: Conversion, config: Config, progress: Progress | None = None) -> list[VolumePlan]:
    """Return what would be written: raw or labels, or both.

    Parameters
    ----------
    wanted : Conversion
    config : Config
        Where data sets lie.
    progress : callable, optional
        Called with (blocks looked at, all), where all values are looked at.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidArgumentError
        If the voxel size is not known, slices are missing, or raw and labels differ in shape.
    ProblemsError
        If there is no class of a name.
    UnreadableDataError
        If a file is damaged, has not three axes, or holds values that are not grey values or labels.
    """
    if problems := load_classes(config).problems(wanted.classes):
        raise ProblemsError("convert", problems)
    source = _open(wanted, wanted.source)
    grid, said = choose_grid(source, wanted.voxel_size, wanted.translation)
    if wanted.kind == "labels":
        said = (*said, *_said_of_raw(wanted, config, source, grid))
        return [_plan_labels(wanted, config, replace(source, said=said), grid, progress)]
    labels = None if wanted.labels is None else _open_labels(wanted, grid)
    encode, words = choose_grey_values(source, wanted.value_range, progress)
    folder = Path(wanted.out) if wanted.out else config.path("raw", dataset=str(wanted.dataset))
    _check_place(wanted.source, folder)
    raw = VolumePlan(
        source=source,
        grid=grid,
        encode=encode,
        folders=(folder,),
        attributes=({},),
        merging="mean",
        groups={},
        said=(*said, words),
    )
    return [raw] if labels is None else [raw, _plan_labels(wanted, config, *labels, progress)]


def _open(wanted: Conversion, path: str) -> Source:
    return open_source(path, wanted.array, gaps=wanted.close_gaps, known=wanted.voxel_size is not None)


def _open_labels(wanted: Conversion, raw: Grid) -> tuple[Source, Grid]:
    """Open labels of raw, or of a part of it, and return where they lie."""
    labels = _open(replace(wanted, array=None), str(wanted.labels))
    if wanted.labels_translation is None and labels.shape != raw.shape:
        raise InvalidArgumentError(
            f"{labels.name} has the shape {labels.shape}, raw {raw.shape}; say where in it the labels lie: "
            "--labels-translation Z,Y,X"
        )
    size = wanted.voxel_size or (None if labels.voxel_size else raw.voxel_size)
    grid, said = choose_grid(labels, size, wanted.labels_translation or raw.translation)
    if grid.voxel_size != raw.voxel_size:
        raise InvalidArgumentError(
            f"{labels.name} says that its voxels have {grid.voxel_size} nm, those of raw have {raw.voxel_size}; "
            "say which are right by --voxel-size"
        )
    if not raw.bounds.contains(grid.bounds, max(raw.voxel_size)):
        raise InvalidArgumentError(
            f"{labels.name} reaches beyond raw: it would lie at {voxels_of(raw, grid)}; {_IN_NM}"
        )
    return replace(labels, said=(*said, *_said_of_place(raw, grid, wanted.labels_translation))), grid


def _said_of_raw(wanted: Conversion, config: Config, labels: Source, grid: Grid) -> tuple[str, ...]:
    """Return where labels lie in the raw of their data set, where it has some.

    Raises
    ------
    InvalidArgumentError
        If they lie beside it.
    """
    if wanted.dataset is None or not (place := config.path("raw", dataset=wanted.dataset)).exists():
        return ()
    raw = open_volume(place).levels[0].grid
    if grid.bounds.intersect(raw.bounds).empty:
        raise InvalidArgumentError(
            f"{labels.name} lies beside the raw of {wanted.dataset}: it would lie at {voxels_of(raw, grid)}; {_IN_NM}"
        )
    lost = () if raw.bounds.contains(grid.bounds, max(raw.voxel_size)) else ("beyond raw, labels count as unknown",)
    return (*lost, *_said_of_place(raw, grid, wanted.translation))


_IN_NM = "translations are nm, z,y,x, of the centre of the first voxel"


def _said_of_place(raw: Grid, grid: Grid, given: Triple | None) -> tuple[str, ...]:
    """Return where labels lie in raw, and a doubt where a translation looks like one in voxels."""
    said = [f"at {voxels_of(raw, grid)}"]
    steps = [(b - a) / size for a, b, size in zip(raw.bounds.begin, grid.bounds.begin, raw.voxel_size, strict=True)]
    if given is not None and any(abs(2 * step - round(2 * step)) > 0.02 for step in steps):
        in_nm = ",".join(
            f"{first + number * size:g}"
            for first, number, size in zip(raw.translation, given, raw.voxel_size, strict=True)
        )
        said.append(f"that is between raw's voxels: are these nm? taken as voxels, the translation is {in_nm}")
    return tuple(said)


def voxels_of(raw: Grid, grid: Grid) -> str:
    """Return where a grid lies in another, in words.

    Examples
    --------
    >>> raw = Grid(voxel_size=(8, 4, 4), translation=(0, 0, 0), shape=(40, 60, 60))
    >>> voxels_of(raw, Grid(voxel_size=(8, 4, 4), translation=(80, 0, -8), shape=(10, 20, 20)))
    'voxels z 10 to 19, y 0 to 19, x -2 to 17 of raw, which has (40, 60, 60)'
    """
    parts = []
    for axis, name in enumerate("zyx"):
        size, origin = raw.voxel_size[axis], raw.bounds.begin[axis]
        begin, end = ((edge[axis] - origin) / size for edge in (grid.bounds.begin, grid.bounds.end))
        parts.append(f"{name} {round(begin, 2):g} to {round(end - 1, 2):g}")
    return f"voxels {', '.join(parts)} of raw, which has {raw.shape}"


def choose_grid(
    source: Source, voxel_size: Triple | None = None, translation: Triple | None = None
) -> tuple[Grid, tuple[str, ...]]:
    """Return the grid of a source, and what is to be said of it; what is given goes before what the file says.

    Raises
    ------
    InvalidArgumentError
        If there is no voxel size, or it can hardly be one in nm.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data.converting.sources.opening import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder, "stack.npz"), raw=np.ones((4, 5, 6), np.uint8))
    ...     grid, _ = choose_grid(open_source(Path(folder, "stack.npz")), voxel_size=(8.0, 4.0, 4.0))
    ...     print(grid)
    Grid(voxel_size=(8.0, 4.0, 4.0), translation=(0.0, 0.0, 0.0), shape=(4, 5, 6))
    """
    size = voxel_size or source.voxel_size
    if size is None:
        raise InvalidArgumentError(f"{source.name} does not say its voxel size; give --voxel-size Z,Y,X in nm")
    if min(size) < _ATOM_NM:
        raise InvalidArgumentError(f"{source.name}: voxels of {min(size):g} nm are smaller than atoms; sizes are in nm")
    said = source.said
    if voxel_size is not None and source.voxel_size is not None:
        stated = ",".join(f"{value:g}" for value in source.voxel_size)
        said = tuple(line for line in said if "voxel size" not in line)
        if voxel_size != source.voxel_size:
            said = (*said, f"the file says that voxels have {stated} nm; --voxel-size goes first")
    place = translation or source.translation or (0.0, 0.0, 0.0)
    return Grid(voxel_size=size, translation=place, shape=source.shape), said


def _plan_labels(
    wanted: Conversion, config: Config, source: Source, grid: Grid, progress: Progress | None
) -> VolumePlan:
    facts = look_at_labels(source, wanted.unknown, progress)
    said = list(source.said)
    encode: Encoder
    if wanted.class_values:
        names: tuple[str, ...] = tuple(wanted.class_values)
        encode = ClassMasks(values=tuple(wanted.class_values.values()), unknown=wanted.unknown)
        kind = annotation_type(instances=False, unknown=None if wanted.unknown is None else UNKNOWN)
        said += describe_classes(facts, wanted.class_values)
    else:
        names = (wanted.class_name,) if wanted.class_name else ()
        ids = choose_ids(source, facts, wanted.unknown)
        encode, kind = ids, annotation_type(instances=facts.most > 1, unknown=ids.stored_unknown)
        said.append(f"ids up to {facts.most} are kept, as {ids.dtype}")
        if facts.most > 1 and wanted.class_name and not load_classes(config).find(wanted.class_name).instance:
            said.append(f"{wanted.class_name} is not scored by objects: they count as one")
    folders = _label_folders(wanted, config, names)
    for folder in folders:
        _check_place(wanted.labels or wanted.source, folder)
    return VolumePlan(
        source=source,
        grid=grid,
        encode=encode,
        folders=folders,
        attributes=tuple(class_attributes(name, kind) for name in names or (folders[0].name,)),
        merging="most frequent",
        groups=_groups(folders[0].parent, names) if names and (wanted.dataset or wanted.class_values) else {},
        said=tuple(said),
    )


def _label_folders(wanted: Conversion, config: Config, names: tuple[str, ...]) -> tuple[Path, ...]:
    if wanted.dataset is not None:
        number = _free_number(config, wanted.dataset) if wanted.crop is None else wanted.crop
        place = {"dataset": wanted.dataset, "crop": f"crop{number}"}
        return tuple(config.path("labels", class_name=name, **place) for name in names)
    out = Path(str(wanted.out))
    return tuple(out / name for name in names) if wanted.class_values else (out,)


def _free_number(config: Config, dataset: str) -> int:
    """Return the number of a data set's first crop; of one without crops, one that no data set of the folder has."""

    def numbers(name: str) -> list[int]:
        template = fill(config.labels, {"dataset": name, "crop": "crop*", "class_name": ""}).rstrip("/")
        found = glob.glob(anchor(glob.escape(config.root.as_posix()), template))  # noqa: PTH207  # may be absolute
        return [int(number[1]) for path in found if (number := re.fullmatch(r"crop(\d+)", Path(path).name))]

    own = numbers(glob.escape(dataset))
    return min(own) if own else max(numbers("*"), default=0) + 1


def _groups(crop: Path, names: tuple[str, ...]) -> Mapping[Path, Mapping[str, Any]]:
    """Return the attributes of a crop's group, which names the classes that were there before as well."""
    before = read_annotation(read_attributes(crop)).get("class_names") if crop.exists() else None
    known = list(dict.fromkeys([*(before if isinstance(before, list) else []), *names]))
    return {crop: crop_attributes(crop.name, known, "Converted from another file", "csc convert")}


def _check_place(source: str, folder: Path) -> None:
    """Refuse to write over what is read."""
    if folder.exists() and Path(source).exists() and folder.resolve() == Path(source).resolve():
        raise InvalidArgumentError(f"{folder} is what is to be converted; write it to another place")
