"""The facts of the challenge: classes, crops and where its data lies.

The facts are those the organisers published; they lie in this package as ``facts/challenge.toml``, so nothing here
needs a network. Classes with ``parts`` are groups: ``mito`` is made of ``mito_mem``, ``mito_lum`` and ``mito_ribo``.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from csc_data.errors import CscError, InvalidArgumentError
from csc_data.geometry import as_shape, as_triple


class UnknownClassError(InvalidArgumentError):
    """A class name that the challenge does not have."""

    def __init__(self, name: str) -> None:
        self.name = name
        near = nearest_class(name)
        hint = f"did you mean {near!r}?" if near else "`csc classes` lists them"
        super().__init__(f"the challenge has no class {name!r}; {hint}")

    def __reduce__(self) -> tuple[type[UnknownClassError], tuple[str]]:
        return type(self), (self.name,)


class UnknownCropError(CscError, KeyError):
    """A crop id that the challenge does not have."""

    def __str__(self) -> str:  # KeyError would show the repr
        return str(self.args[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelClass:
    """One label class.

    Attributes
    ----------
    name : str
        Name as it stands in paths, for example ``mito_mem``.
    id : int
        Id of the class in ``all`` arrays of the annotations.
    parts : frozenset of int
        Ids of the classes that a group class is made of; empty for an atomic class.
    instance : bool
        Whether the challenge scores it as instances.
    tested : bool
        Whether the challenge scores it at all.
    """

    name: str
    id: int
    parts: frozenset[int]
    instance: bool
    tested: bool

    @property
    def atoms(self) -> frozenset[int]:
        """Ids of the atomic classes in it, its own included."""
        return self.parts | {self.id}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCrop:
    """One crop that the challenge scores; ``voxel_size`` and ``translation`` in nm, all z, y, x."""

    __test__ = False  # pytest would collect the name

    id: int
    dataset: str
    voxel_size: tuple[float, float, float]
    translation: tuple[float, float, float]
    shape: tuple[int, int, int]
    classes: tuple[str, ...]


@functools.cache
def _facts() -> dict[str, Any]:
    text = resources.files("csc_data").joinpath("facts/challenge.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@functools.cache
def label_classes() -> Mapping[str, LabelClass]:
    """Return all classes of the challenge by name, in the order of their ids.

    >>> label_classes()["mito"].parts == {3, 4, 5}
    True
    """
    return MappingProxyType(
        {
            name: LabelClass(
                name=name,
                id=entry["id"],
                parts=frozenset(entry.get("parts", ())),
                instance=entry.get("instance", False),
                tested=entry.get("tested", False),
            )
            for name, entry in _facts()["classes"].items()
        }
    )


def get_class(name: str) -> LabelClass:
    """Return the class of that name.

    Raises
    ------
    UnknownClassError
        With the nearest name that exists.
    """
    try:
        return label_classes()[name]
    except KeyError:
        raise UnknownClassError(name) from None


def nearest_class(name: str) -> str | None:
    """Return the class whose name is most like a misspelt one; None if none is like it.

    >>> nearest_class("mitto")
    'mito'
    """
    near = difflib.get_close_matches(name, label_classes(), n=1)
    return near[0] if near else None


@functools.cache
def get_tested_classes() -> tuple[str, ...]:
    """Return the names of the classes that the challenge scores.

    >>> len(get_tested_classes())
    48
    """
    return tuple(name for name, entry in label_classes().items() if entry.tested)


@functools.cache
def get_instance_classes() -> frozenset[str]:
    """Return the names of the classes that the challenge scores as instances.

    >>> sorted(get_instance_classes())
    ['cell', 'endo', 'ld', 'lyso', 'mito', 'mt', 'np', 'nuc', 'perox', 'ves', 'vim']
    """
    return frozenset(name for name, entry in label_classes().items() if entry.instance)


def get_class_relations(named_classes: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Tell for each class which of the others it excludes.

    Two classes exclude each other when their sets of atomic ids, their own ids included, do not meet: a voxel
    annotated ``mito_mem`` cannot be ``er_lum``, but it is ``mito``.

    Parameters
    ----------
    named_classes : iterable of str, optional
        The classes to relate; all of the challenge by default.

    Returns
    -------
    dict of str to tuple of str
        Class name to the names it excludes, both in the order given.

    Examples
    --------
    >>> get_class_relations(["mito", "mito_mem", "er_lum"])
    {'mito': ('er_lum',), 'mito_mem': ('er_lum',), 'er_lum': ('mito', 'mito_mem')}
    """
    names = list(label_classes() if named_classes is None else named_classes)
    atoms = {name: get_class(name).atoms for name in names}
    return {name: tuple(other for other in names if not atoms[name] & atoms[other]) for name in names}


@functools.cache
def get_test_crops() -> Mapping[int, TestCrop]:
    """Return the crops that the challenge scores, by id."""
    crops = {}
    for key, entry in _facts()["test_crops"].items():
        labels = entry["labels"]
        crops[int(key)] = TestCrop(
            id=int(key),
            dataset=entry["dataset"],
            voxel_size=as_triple(entry["voxel_size"], "voxel_size"),
            translation=as_triple(entry["translation"], "translation"),
            shape=as_shape(entry["shape"], "shape"),
            classes=get_tested_classes() if labels == "all tested" else tuple(labels),
        )
    return MappingProxyType(crops)


def get_test_crop_labels(crop_id: int) -> tuple[str, ...]:
    """Return the classes that are scored in a test crop.

    Raises
    ------
    UnknownCropError
        If the challenge has no such test crop.
    """
    try:
        return get_test_crops()[crop_id].classes
    except KeyError:
        known = ", ".join(map(str, get_test_crops()))
        raise UnknownCropError(f"{crop_id} is no test crop of the challenge; they are {known}") from None


@functools.cache
def get_training_crops() -> Mapping[str, tuple[int, ...]]:
    """Return the ids of the annotated crops by data set."""
    return MappingProxyType({dataset: tuple(ids) for dataset, ids in _facts()["training_crops"].items()})


@functools.cache
def get_storage() -> Mapping[str, str]:
    """Return where the organisers keep the data.

    Returns
    -------
    mapping
        ``bucket`` (public, on S3), in it ``raw`` with ``{dataset}``, ``groundtruth`` with ``{dataset}``, ``{id}`` and
        ``{label}``, ``zips``; and ``manifest_base``, the address that names of manifests are appended to.
    """
    return MappingProxyType(dict(_facts()["storage"]))


def __getattr__(name: str) -> Any:
    """Give `TEST_CROPS`, as the official tools call the test crops; read when it is first asked for."""
    if name == "TEST_CROPS":
        return get_test_crops()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
