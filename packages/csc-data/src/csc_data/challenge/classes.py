"""The label classes of the challenge: which are scored, which as instances, and which exclude each other.

Classes with ``parts`` are groups: ``mito`` is made of ``mito_mem``, ``mito_lum`` and ``mito_ribo``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from csc_data.challenge.facts import facts
from csc_data.errors import InvalidArgumentError, Problem, did_you_mean


class UnknownClassError(InvalidArgumentError):
    """A class name that the challenge does not have."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"the challenge has no class {name!r}; {_hint(name)}")

    def __reduce__(self) -> tuple[type[UnknownClassError], tuple[str]]:
        return type(self), (self.name,)


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
            for name, entry in facts()["classes"].items()
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


def class_problems(names: Iterable[str], where: str = "") -> list[Problem]:
    """Return a problem for each name that is not a class of the challenge, with the nearest that is.

    >>> print(*class_problems(["er", "mitto"], "classes"))
    classes: the challenge has no class 'mitto' (did you mean mito?)
    """
    unknown = (name for name in names if name not in label_classes())
    return [Problem(where=where, what=f"the challenge has no class {name!r}", remedy=_hint(name)) for name in unknown]


def _hint(name: str) -> str:
    return did_you_mean(name, label_classes(), "`csc classes` lists them")


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
