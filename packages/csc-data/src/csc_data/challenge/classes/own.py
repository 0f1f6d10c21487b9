"""Classes of one's own, beside the challenge's: a ``classes.toml`` in the data folder.

Such as::

    [classes.synapse]
    instance = true                # its objects get ids, and are scored as instances
    excludes = ["mito", "er"]      # no voxel of it is one of these, or of their parts
    colour = "#ff7f0e"

    [classes.psd]

    [classes.contact]
    parts = ["synapse", "psd"]     # it is known where all of its parts are

What the challenge has keeps its id, kind and scoring: naming it anew is an error.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csc_data.challenge.classes.table import ClassTable, LabelClass, label_classes
from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, Problem, ProblemsError, UnreadableDataError, did_you_mean

FILE_NAME = "classes.toml"

_KEYS = {"instance": bool, "parts": list, "excludes": list, "colour": str}
_WORDS = {bool: "true or false", list: "a list of names of classes", str: "text like #ff7f0e"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
# What stands beside classes in a crop's folder: masks of a truth, and further outputs of networks.
_TAKEN_NAMES = re.compile(r"all|raw|instance|.*(_mask|_distance|_boundary|_affinity_.*|_of_.*)")


def load_classes(config: Config) -> ClassTable:
    r"""Return the classes that a data folder knows: the challenge's, and those of its ``classes.toml`` if it has one.

    Raises
    ------
    ProblemsError
        If the file says what makes no sense.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data import load_config
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "classes.toml").write_text("[classes.synapse]\ninstance = true\n")
    ...     load_classes(load_config(data=folder)).own
    ('synapse',)
    """
    file = config.root / FILE_NAME
    return read_classes(file) if file.is_file() else label_classes()


def read_classes(path: str | os.PathLike[str]) -> ClassTable:
    r"""Return the challenge's classes, and those of a file.

    Raises
    ------
    MissingDataError
        If there is no such file.
    UnreadableDataError
        If it cannot be read.
    ProblemsError
        With everything in it that makes no sense.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "classes.toml")
    ...     _ = file.write_text("[classes.synapse]\ninstance = true\n")
    ...     table = read_classes(file)
    ...     print(table["synapse"].instance, "mito" in table)
    True True
    """
    file = Path(path)
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingDataError(f"there is no file {file} of classes") from None
    except OSError as error:
        raise UnreadableDataError(f"{file} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProblemsError(str(file), [Problem(where="", what=f"is not valid TOML: {error}")]) from error
    return make_classes(tables, str(file))


def make_classes(tables: Mapping[str, Any], source: str) -> ClassTable:
    """Return the challenge's classes, and those that tables name, as they stand in a ``classes.toml``.

    Parameters
    ----------
    tables : mapping
        ``{"classes": {name: {"instance": ..., "parts": ..., "excludes": ..., "colour": ...}}}``; all may be left out.
    source : str
        Where they are from, for messages.

    Raises
    ------
    ProblemsError
        With everything in them that makes no sense.

    Examples
    --------
    >>> table = make_classes({"classes": {"synapse": {"instance": True, "excludes": ["er"]}}}, "mine")
    >>> table.own, table.relations(["synapse", "er_mem", "pm"])["synapse"]
    (('synapse',), ('er_mem',))
    """
    problems = [
        Problem(where=name, what="there is no such table", remedy="classes stand in [classes.NAME]")
        for name in tables
        if name != "classes"
    ]
    given = tables.get("classes", {})
    if not isinstance(given, Mapping) or not all(isinstance(one, Mapping) for one in given.values()):
        problems.append(Problem(where="classes", what="must be tables", remedy="such as [classes.synapse]"))
        raise ProblemsError(source, problems)
    own = _OwnClasses(given)
    problems += own.problems()
    if problems:
        raise ProblemsError(source, problems)
    return ClassTable((*label_classes().values(), *own.entries()), source=source)


@dataclass(frozen=True, slots=True)
class _OwnClasses:
    given: Mapping[str, Mapping[str, Any]]
    ids: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        challenge = label_classes()
        first = max(entry.id for entry in challenge.values()) + 1
        ids = {name: entry.id for name, entry in challenge.items()}
        ids.update({name: first + number for number, name in enumerate(self.given) if name not in ids})
        object.__setattr__(self, "ids", ids)

    def problems(self) -> list[Problem]:
        found = [problem.within(name) for name in self.given for problem in self._problems_of(name)]
        # Parts of what is not a class, or not a list, cannot be followed.
        return found or [problem for name in self.given for problem in self._circles(name)]

    def _problems_of(self, name: str) -> Iterator[Problem]:
        if name in label_classes():
            yield Problem(where="", what="is a class of the challenge", remedy="it stays as it is; choose another name")
        elif not _NAME.fullmatch(name):
            yield Problem(where="", what=f"{name!r} is not a name", remedy="it names a folder: letters, digits, _ - .")
        elif _TAKEN_NAMES.fullmatch(name):
            yield Problem(where="", what="is the name of what lies beside classes", remedy="choose another name")
        for key, value in self.given[name].items():
            kind: Any = _KEYS.get(key)
            if kind is None:
                yield Problem(where=key, what="there is no such key", remedy=did_you_mean(key, _KEYS))
            elif not isinstance(value, kind):
                yield Problem(where=key, what=f"must be {_WORDS[kind]}, got {value!r}")
            elif kind is list:
                yield from self._unknown(key, name, value)
            elif key == "colour" and not _COLOUR.fullmatch(value):
                yield Problem(where=key, what=f"must be {_WORDS[str]}, got {value!r}")

    def _unknown(self, key: str, name: str, others: list[Any]) -> Iterator[Problem]:
        for other in others:
            if other == name:
                yield Problem(where=key, what="names the class itself", remedy="leave it out")
            elif not isinstance(other, str) or other not in self.ids:
                yield Problem(where=key, what=f"there is no class {other!r}", remedy=did_you_mean(other, self.ids, ""))

    def _circles(self, name: str) -> Iterator[Problem]:
        if name in self._below(name):
            yield Problem(where=f"{name}.parts", what="is a part of itself, by way of its parts")
        elif apart := self._atoms(name) & self._excluded(name):
            others = ", ".join(other for other, number in self.ids.items() if number in apart)
            yield Problem(where=f"{name}.excludes", what=f"excludes what it is made of: {others}")

    def _below(self, name: str) -> set[str]:
        """Return the own classes that one is made of, at whatever depth."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            parts = [part for part in self.given[waiting.pop()].get("parts", ()) if part in self.given]
            waiting += [part for part in parts if part not in found]
            found.update(parts)
        return found

    def _leaves(self, name: str) -> set[int]:
        """Return the ids of the atomic classes in it, as those of the challenge's groups; its own if it is one."""
        if name in label_classes():
            entry = label_classes()[name]
            return set(entry.parts or (entry.id,))
        parts = self.given[name].get("parts", ())
        return set[int]().union(*map(self._leaves, parts)) if parts else {self.ids[name]}

    def _atoms(self, name: str) -> set[int]:
        return {self.ids[name], *self._leaves(name)}

    def _excluded(self, name: str) -> set[int]:
        return set[int]().union(*(self._atoms(other) for other in self.given[name].get("excludes", ())))

    def entries(self) -> Iterator[LabelClass]:
        apart: dict[int, set[int]] = {self.ids[name]: set() for name in self.given}
        # What excludes a group excludes all its parts, those of the challenge as well.
        for name, keys in self.given.items():
            for other in keys.get("excludes", ()):
                for one, two in ((name, other), (other, name)):
                    for atom in self._atoms(one) & apart.keys():
                        apart[atom] |= self._atoms(two)
        for name, keys in self.given.items():
            yield LabelClass(
                name=name,
                id=self.ids[name],
                parts=frozenset(self._leaves(name) - {self.ids[name]}),
                instance=keys.get("instance", False),
                tested=False,
                excludes=frozenset(apart[self.ids[name]]),
                colour=keys.get("colour", "").lower(),
            )
