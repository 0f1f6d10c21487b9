"""The label classes of the challenge: which are scored, which as instances, and which exclude each other.

Classes with ``parts`` are groups: ``mito`` is made of ``mito_mem``, ``mito_lum`` and ``mito_ribo``. Functions know the
challenge's classes; a `ClassTable` may have others beside them (`csc_data.challenge.classes.own`).
"""

from __future__ import annotations

import functools
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from csc_data.challenge.facts import facts
from csc_data.errors import InvalidArgumentError, Problem, did_you_mean


class UnknownClassError(InvalidArgumentError):
    """A name that no class has, of the challenge or of a table with others."""

    def __init__(self, name: str, known: ClassTable | None = None) -> None:
        self.name, self.known = name, known
        problem = (label_classes() if known is None else known).problem(name)
        super().__init__(f"{problem.what}; {problem.remedy}")

    def __reduce__(self) -> tuple[type[UnknownClassError], tuple[str, ClassTable | None]]:
        return type(self), (self.name, self.known)


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
    excludes : frozenset of int or None
        Ids of what no voxel of the class is; None for classes of the challenge, which exclude all of its others that
        share no part with them.
    colour : str
        As HTML writes it; empty for one that is chosen by the name.
    """

    name: str
    id: int
    parts: frozenset[int]
    instance: bool
    tested: bool
    excludes: frozenset[int] | None = None
    colour: str = ""

    @property
    def atoms(self) -> frozenset[int]:
        """Ids of the atomic classes in it, its own included."""
        return self.parts | {self.id}


@dataclass(frozen=True, slots=True, repr=False)
class ClassTable(Mapping[str, LabelClass]):
    """Classes by name, in the order of their ids.

    Parameters
    ----------
    entries : tuple of LabelClass
        Each part of a group is one of them.
    source : str
        Where classes beyond the challenge's stand, for messages; empty where there are none.

    Attributes
    ----------
    instances : frozenset of str
        The classes that are scored as instances.

    Examples
    --------
    >>> table = label_classes()
    >>> table.parts_of("mito")
    ('mito_mem', 'mito_lum', 'mito_ribo')
    >>> table.relations(["mito", "nuc", "er"])["mito"]
    ('nuc', 'er')
    >>> table.problem("mitto").what
    "the challenge has no class 'mitto'"
    >>> table.check(["mito", "synapse"], annotated=["synapse"])
    """

    entries: tuple[LabelClass, ...]
    source: str = ""
    instances: frozenset[str] = field(init=False, repr=False, compare=False)
    _by_name: Mapping[str, LabelClass] = field(init=False, repr=False, compare=False)
    _by_id: Mapping[int, LabelClass] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "instances", frozenset(entry.name for entry in self.entries if entry.instance))
        object.__setattr__(self, "_by_name", {entry.name: entry for entry in self.entries})
        object.__setattr__(self, "_by_id", {entry.id: entry for entry in self.entries})

    def __getitem__(self, name: str) -> LabelClass:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def own(self) -> tuple[str, ...]:
        """The classes that the challenge does not have."""
        return tuple(entry.name for entry in self.entries if entry.excludes is not None)

    def find(self, name: str) -> LabelClass:
        """Return the class of that name.

        Raises
        ------
        UnknownClassError
            With the nearest name that exists.

        Examples
        --------
        >>> label_classes().find("mito").id
        50
        >>> try:
        ...     label_classes().find("mitto")
        ... except UnknownClassError as error:
        ...     print(str(error).rpartition("; ")[2])
        did you mean mito?
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownClassError(name, self) from None

    def parts_of(self, name: str) -> tuple[str, ...]:
        """Return the names of the classes that a group is made of, in the order of their ids."""
        return tuple(self._by_id[part].name for part in sorted(self.find(name).parts))

    def problem(self, name: str) -> Problem:
        """Return what to say of a name that no class has, with the nearest one that a class has."""
        where = f"neither the challenge nor {self.source} has a" if self.source else "the challenge has no"
        hint = did_you_mean(name, self, "`csc classes` lists them")
        if not self.source:
            hint = f"classes of your own stand in a classes.toml in the data folder; {hint}"
        return Problem(where="", what=f"{where} class {name!r}", remedy=hint)

    def problems(self, names: Iterable[str]) -> list[Problem]:
        """Return a problem for each name that no class has.

        Examples
        --------
        >>> [problem.what for problem in label_classes().problems(["mito", "synapse"])]
        ["the challenge has no class 'synapse'"]
        """
        return [self.problem(name) for name in names if name not in self]

    def check(self, names: Iterable[str], annotated: Container[str] = ()) -> None:
        """Check that each name is that of a class, or was annotated, whatever it is.

        Raises
        ------
        UnknownClassError
            With the nearest name that exists.
        """
        for name in names:
            if name not in annotated and name not in self:
                raise UnknownClassError(name, self)

    def to_plain(self) -> dict[str, Any]:
        """Return the classes beyond the challenge's as a ``classes.toml`` has them; parts are atomic ones.

        Examples
        --------
        >>> from csc_data.challenge.classes.own import make_classes
        >>> make_classes({"classes": {"synapse": {"instance": True, "excludes": ["er_mem"]}}}, "mine").to_plain()
        {'synapse': {'instance': True, 'excludes': ['er_mem']}}
        """
        named = {entry.id: entry.name for entry in self.entries}
        keys = {
            entry.name: {
                "instance": entry.instance,
                "parts": list(self.parts_of(entry.name)),
                "excludes": [named[number] for number in sorted(entry.excludes)],
                "colour": entry.colour,
            }
            for entry in self.entries
            if entry.excludes is not None
        }
        return {name: {key: value for key, value in entry.items() if value} for name, entry in keys.items()}

    def __repr__(self) -> str:
        return f"<the challenge's classes{''.join(f', {name}' for name in self.own)}>"

    def relations(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Tell for each of these classes which of the others it excludes, in the order given.

        Two classes of the challenge exclude each other when they share no part. Another one excludes what its file
        says, with all its parts, and nothing else: nobody knows whether a voxel of it can be ``er`` as well.

        Raises
        ------
        UnknownClassError
            If there is no such class.
        """
        found = [self.find(name) for name in names]
        return {one.name: tuple(other.name for other in found if self._apart(one, other)) for one in found}

    def _apart(self, one: LabelClass, other: LabelClass) -> bool:
        if one.atoms & other.atoms:
            return False
        if one.excludes is None and other.excludes is None:
            return True
        return all(self._atoms_apart(a, b) for a in one.atoms for b in other.atoms)

    def _atoms_apart(self, a: int, b: int) -> bool:
        first, second = self._by_id[a].excludes, self._by_id[b].excludes
        return b in first if first is not None else second is None or a in second


@functools.cache
def label_classes() -> ClassTable:
    """Return all classes of the challenge by name, in the order of their ids.

    >>> label_classes()["mito"].parts == {3, 4, 5}
    True
    """
    return ClassTable(
        tuple(
            LabelClass(
                name=name,
                id=entry["id"],
                parts=frozenset(entry.get("parts", ())),
                instance=entry.get("instance", False),
                tested=entry.get("tested", False),
            )
            for name, entry in facts()["classes"].items()
        )
    )


def get_class(name: str) -> LabelClass:
    """Return the class of the challenge of that name.

    Raises
    ------
    UnknownClassError
        With the nearest name that exists.

    Examples
    --------
    >>> from csc_data.challenge import get_class
    >>> get_class("mito").instance, get_class("er").instance
    (True, False)
    """
    return label_classes().find(name)


@functools.cache
def get_tested_classes() -> tuple[str, ...]:
    """Return the names of the classes that the challenge scores.

    >>> len(get_tested_classes())
    48
    """
    return tuple(name for name, entry in label_classes().items() if entry.tested)


def get_instance_classes() -> frozenset[str]:
    """Return the names of the classes that the challenge scores as instances.

    >>> sorted(get_instance_classes())
    ['cell', 'endo', 'ld', 'lyso', 'mito', 'mt', 'np', 'nuc', 'perox', 'ves', 'vim']
    """
    return label_classes().instances


def get_class_relations(named_classes: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Tell for each class of the challenge which of the others it excludes.

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
    return label_classes().relations(label_classes() if named_classes is None else named_classes)
