"""Settings that name classes: which classes there are is itself a setting, filled in from the data folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import pydantic

from csc_data.challenge.classes.own import load_classes, read_classes
from csc_data.challenge.classes.table import ClassTable, label_classes
from csc_data.config.settings import Earlier, Given, OfNames, ReadBy, setting
from csc_data.config.user_config import Config
from csc_data.errors import Problem

Table = Given[Annotated[ClassTable, pydantic.InstanceOf()], ClassTable | str | os.PathLike[str]]
"""The type of the setting ``class_table``."""


_DOC = "which classes there are: a classes.toml with more than the challenge's; by default that of the data folder"


def class_table_setting(doc: str = _DOC) -> Any:
    """Declare which classes there are; it stands before all settings that name some."""
    return setting(
        doc,
        ReadBy(_read, str),
        factory=label_classes,
    )


def _read(given: Any) -> Any:
    return read_classes(given) if isinstance(given, str | os.PathLike) else given


def name_problems(names: Iterable[str], earlier: Earlier) -> list[Problem]:
    """Return what is wrong with names of classes, by the settings before them.

    Examples
    --------
    >>> [problem.what for problem in name_problems(["nuc", "mitto"], {})]
    ["the challenge has no class 'mitto'"]
    """
    table: ClassTable = earlier.get("class_table") or label_classes()
    return table.problems(names)


CLASS_NAMES = OfNames(lambda name, earlier: name_problems([name], earlier))
"""A check of names of classes."""


def defaults_of(config: Config | None) -> Mapping[str, Any]:
    """Return what a data folder says where an experiment says nothing."""
    return {} if config is None else {"class_table": load_classes(config)}
