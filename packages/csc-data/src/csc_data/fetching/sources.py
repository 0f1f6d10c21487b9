"""Which crops there are, where they lie in the bucket, which of them are asked for, and how large they can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from csc_data.challenge import (
    TestCrop,
    UnknownCropError,
    get_storage,
    get_tested_classes,
    label_classes,
    training_crops_by_id,
)
from csc_data.challenge.annotated_crops import CropPlace, raw_url, split_url
from csc_data.challenge.current_lists import load_crop_places, load_test_crops
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, Problem, ProblemsError, did_you_mean
from csc_data.geometry import Triple

_METADATA_BYTES = 65_536  # of one multiscale group, with all its levels: they have some kB
_HALVED = 8 / 7  # an array and its levels, each half of the one before along each axis
_RAW_CHUNK = 128
_RAW_LEVELS = 12
_FINEST_RAW = 2.0

RawReach = Callable[[Triple], Triple]
"""From the extent of a crop in nm to the nm of raw that patches need around it, on either side along z, y, x."""

INTERPOLATED_VOXELS = 2
"""Voxels of a level beyond a position that reading it there takes, linearly or by cubes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropSource:
    """Where one crop lies.

    Attributes
    ----------
    id : int
    dataset : str
    bucket : str
        Holds the raw.
    raw : str
        Key of its multiscale group.
    labels_bucket, labels : str
        Bucket and key of the group of label arrays; "" for a test crop, whose labels are not public.
    test : TestCrop or None
        Where a test crop is.
    """

    id: int
    dataset: str
    bucket: str
    raw: str
    labels_bucket: str = ""
    labels: str = ""
    test: TestCrop | None = None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"crop{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCrops:
    """All crops, by id, annotated ones first; ``origin`` tells people which list they are from."""

    crops: tuple[CropSource, ...]
    origin: str


def known_crops(config: Config) -> KnownCrops:
    """Return the crops of the data folder's own manifests, else of refreshed ones, else of the package's facts.

    Raises
    ------
    ProblemsError
        If a manifest is damaged.

    Examples
    --------
    >>> from csc_data import load_config
    >>> known = known_crops(load_config(data="nowhere", environ={}))
    >>> len(known.crops) > 200
    True
    """
    places, origin = load_crop_places(config)
    raw_of = {place.dataset: place.raw for place in places.values()}
    crops = [_annotated_source(place, config) for place in places.values()]
    for test in load_test_crops(config).values():
        bucket, key = split_url(raw_of.get(test.dataset) or raw_url(test.dataset))
        crops.append(CropSource(id=test.id, dataset=test.dataset, bucket=_own(bucket, config), raw=key, test=test))
    return KnownCrops(crops=tuple(crops), origin=origin)


def _annotated_source(place: CropPlace, config: Config) -> CropSource:
    bucket, raw = split_url(place.raw)
    labels_bucket, labels = split_url(place.labels)
    return CropSource(
        id=place.id,
        dataset=place.dataset,
        bucket=_own(bucket, config),
        raw=raw,
        labels_bucket=_own(labels_bucket, config),
        labels=labels,
    )


def _own(bucket: str, config: Config) -> str:
    """Return the bucket to ask: the user's, where it is not the challenge's."""
    return bucket if config.bucket in {"", get_storage()["bucket"]} else config.bucket


def select_sources(
    known: Sequence[CropSource], crops: Sequence[str], datasets: Sequence[str] | None = None
) -> tuple[CropSource, ...]:
    """Choose crops.

    Parameters
    ----------
    known : sequence of CropSource
    crops : sequence of str
        ``all``, ``train`` (the annotated ones), ``test``, ids (``234`` or ``crop234``), or patterns (``23*``,
        ``jrc_hela-2/*``).
    datasets : sequence of str, optional
        Names or patterns; crops of others are left out.

    Raises
    ------
    ProblemsError
        With every name that fits nothing, and the nearest that does.
    UnknownCropError
        If nothing is left.

    Examples
    --------
    >>> from csc_data import load_config
    >>> known = known_crops(load_config(data="nowhere", environ={})).crops
    >>> [source.name for source in select_sources(known, ["234", "236"])]
    ['crop234', 'crop236']
    >>> {source.dataset for source in select_sources(known, ["all"], ["jrc_cos7*b"])}
    {'jrc_cos7-1b'}
    >>> select_sources(known, ["99999"])
    Traceback (most recent call last):
        ...
    csc_data.errors.ProblemsError: crops to fetch: 99999: there is no such crop (did you mean 99?)
    """
    problems = [problem for word in crops if (problem := _unknown_crop(word, known))]
    names = sorted({source.dataset for source in known})
    problems += [problem for word in datasets or () if (problem := _unknown_dataset(word, names))]
    if problems:
        raise ProblemsError("crops to fetch", problems)
    chosen = tuple(
        source
        for source in known
        if any(_fits(word, source) for word in crops)
        and (datasets is None or any(fnmatchcase(source.dataset, word) for word in datasets))
    )
    if not chosen:
        where = f" in {', '.join(datasets)}" if datasets else ""
        raise UnknownCropError(f"no crop fits {', '.join(crops) or 'an empty list'}{where}")
    return chosen


def estimate_fetch(
    sources: Iterable[CropSource],
    *,
    classes: Sequence[str] | None = None,
    raw_padding: int = 0,
    raw_reach: RawReach | None = None,
    all_resolutions: bool = False,
) -> int | None:
    """Tell how many bytes crops can bring at most, from the challenge's list alone; nothing is asked for.

    Voxels count one byte, as if nothing was compressed: of labels a small part of that comes. Of raw it is taken that a
    volume has at most 12 levels, each half of the one before, the finest of 2 nm, in chunks of at most 128^3, and that
    no level is needed whose voxels are less than half as long as the annotation's: so it is in the challenge. Raw that
    several crops share counts for each of them.

    Parameters
    ----------
    sources : iterable of CropSource
    classes, raw_padding, raw_reach, all_resolutions
        As in `csc_data.fetching.FetchOptions`.

    Returns
    -------
    int or None
        None if this package does not know where one of the crops is.

    Examples
    --------
    >>> from csc_data import load_config
    >>> known = known_crops(load_config(data="nowhere", environ={})).crops
    >>> crop = select_sources(known, ["234"])
    >>> [estimate_fetch(crop, classes=["mito"]), estimate_fetch(crop), estimate_fetch(crop, all_resolutions=True)]
    [559813194, 5977234350, 5977234350]
    """
    n_bytes = 0
    for source in sources:
        crop = source.test or training_crops_by_id().get(source.id)
        if crop is None or crop.dataset != source.dataset:
            return None
        extent = crop.grid.bounds.extent
        reach, padding = (raw_reach(extent), INTERPOLATED_VOXELS) if raw_reach else ((0.0,) * 3, raw_padding)
        covered = [nm + 2 * beyond for nm, beyond in zip(extent, reach, strict=True)]
        n_bytes += _raw_bytes(covered, (0.0,) * 3 if all_resolutions else crop.voxel_size, padding) + _METADATA_BYTES
        if source.test is None:
            # The list names the classes that are scored; of others nobody knows whether the bucket has them.
            wanted = {*label_classes(), "all"} if classes is None else set(classes)
            arrays = len(wanted.difference(set(get_tested_classes()).difference(crop.classes)))
            n_bytes += arrays * (math.ceil(crop.grid.size * _HALVED) + _METADATA_BYTES)
    return n_bytes


def _raw_bytes(extent: Sequence[float], sizes: Sequence[float], padding: int) -> int:
    """Return the most that the chunks of a box can have, wherever they begin, at levels of half a voxel size on."""
    n_bytes = 0
    for level in range(_RAW_LEVELS):
        steps = [max(size / 2, _FINEST_RAW) * 2**level for size in sizes]
        # A window covers a part of a voxel at both ends; a run of n voxels touches a part of a chunk at both.
        covered = [math.ceil(length / step) + 1 for length, step in zip(extent, steps, strict=True)]
        chunks = [(n + 2 * padding - 2) // _RAW_CHUNK + 2 for n in covered]
        n_bytes += math.prod(chunks) * _RAW_CHUNK**3
    return n_bytes


def check_classes(classes: Sequence[str]) -> None:
    """Check that the challenge has these classes.

    Raises
    ------
    ProblemsError
        With every name that it does not have, and the nearest that it has.

    Examples
    --------
    >>> check_classes(["mito", "nuc"])
    >>> try:
    ...     check_classes(["mitto"])
    ... except ProblemsError as error:
    ...     print(error.problems[0].what)
    the challenge has no class 'mitto'
    """
    problems = [found.within(name) for name in classes if name != "all" for found in label_classes().problems([name])]
    if problems:
        raise ProblemsError("classes to fetch", problems)
    if not classes:
        raise InvalidArgumentError("classes is empty; name at least one, or leave it out for all")


def _fits(word: str, source: CropSource) -> bool:
    if word in {"all", "train", "test"}:
        return word == "all" or (word == "test") == (source.test is not None)
    return any(fnmatchcase(name, word) for name in (str(source.id), source.name, f"{source.dataset}/{source.name}"))


def _unknown_crop(word: str, known: Sequence[CropSource]) -> Problem | None:
    if any(_fits(word, source) for source in known):
        return None
    if any(character in word for character in "*?["):
        return Problem(where=word, what="no crop fits this pattern")
    names = [*(source.name for source in known), "all", "train", "test"]
    name = f"crop{word}" if word.isdigit() else word
    remedy = did_you_mean(name, names, "give ids, patterns, all, train or test").replace("mean crop", "mean ")
    return Problem(where=word, what="there is no such crop", remedy=remedy)


def _unknown_dataset(word: str, names: Sequence[str]) -> Problem | None:
    if any(fnmatchcase(name, word) for name in names):
        return None
    return Problem(where=word, what="there is no such data set", remedy=did_you_mean(word, names))
