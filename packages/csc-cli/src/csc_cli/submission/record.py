"""The record of a submission: which crop is at which stage, and what its classes are made with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from csc_data.errors import ExistingOutputError
from csc_data.formats.writing import read_json, write_json

Stage = Literal["begun", "predicted", "processed", "packed"]
STAGES: tuple[Stage, ...] = ("begun", "predicted", "processed", "packed")

_AS_OF: Mapping[str, Stage] = {"prediction": "predicted", "processing": "processed"}
"""From which stage on a class of a crop depends on what it is predicted, and processed, with."""


class SubmitRecord:
    """The record of a submission on the disk; written whole, under another name first, whenever it changes.

    Parameters
    ----------
    path : Path
        Its file; it need not exist.

    Attributes
    ----------
    crops : dict
        From crops to classes to their stage.
    classes : dict
        From classes to what they are made with: alike in all crops.

    Raises
    ------
    UnreadableDataError
        If it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record = SubmitRecord(Path(folder, "record.json"))
    ...     _ = record.begin({"crop557": ["er"]}, {"er": {"prediction": 1, "processing": 1}})
    ...     record.set_stage("crop557", ["er"], "packed")
    ...     later = SubmitRecord(Path(folder, "record.json"))
    ...     print(later.stage("crop557", "er"), later.has("crop557", "er", "processed"), later.all_packed("crop557"))
    ...     later.forget("crop557", ["er"])
    ...     print(later.stage("crop557", "er"))
    packed True True
    None
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        stored = read_json(path)
        self.crops: dict[str, dict[str, Stage]] = stored.get("crops", {})
        self.classes: dict[str, dict[str, Any]] = stored.get("classes", {})

    def stage(self, crop: str, name: str) -> Stage | None:
        """Return the last stage that a class of a crop has behind it; None where it was not begun."""
        return self.crops.get(crop, {}).get(name)

    def has(self, crop: str, name: str, stage: Stage) -> bool:
        """Return whether a class of a crop has a stage behind it."""
        found = self.stage(crop, name)
        return found is not None and STAGES.index(found) >= STAGES.index(stage)

    def all_packed(self, crop: str) -> bool:
        """Return whether all classes of a crop that were ever begun are packed."""
        return all(stage == "packed" for stage in self.crops.get(crop, {}).values())

    def set_stage(self, crop: str, names: Iterable[str], stage: Stage) -> None:
        """Record that classes of a crop have a stage behind them."""
        self.crops.setdefault(crop, {}).update(dict.fromkeys(names, stage))
        self._write()

    def forget(self, crop: str, names: Iterable[str]) -> None:
        """Begin classes of a crop anew, and what else of it was not packed."""
        stages = self.crops.get(crop, {})
        self.crops[crop] = {name: stage for name, stage in stages.items() if name not in names and stage == "packed"}

    def begin(self, crops: Mapping[str, Iterable[str]], made_with: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Record what classes are made with, and that crops are begun; return the classes that are processed otherwise.

        Parameters
        ----------
        crops : mapping
            From crops to their classes.
        made_with : mapping
            From classes to mappings: ``prediction``, ``processing``, and the ``checkpoint``.

        Raises
        ------
        ExistingOutputError
            If the submission holds classes that were made with something else. Nothing is recorded then.
        """
        wanted = json.loads(json.dumps(made_with))
        for name, made in wanted.items():
            self._check(name, made)
        known = self.classes
        changed = [name for name in wanted if name in known and known[name]["processing"] != wanted[name]["processing"]]
        self.classes = {**known, **wanted}
        for crop, names in crops.items():
            stages = self.crops.setdefault(crop, {})
            for name in names:
                stages.setdefault(name, "begun")
        self._write()
        return changed

    def _check(self, name: str, made: Mapping[str, Any]) -> None:
        before = self.classes.get(name)
        for part, stage in _AS_OF.items() if before is not None else ():
            crops = [crop for crop in self.crops if self.has(crop, name, stage)]
            if before is None or not crops or before[part] == made[part]:
                continue
            differing = ", ".join(sorted(set(_differences(before[part], made[part]))))
            hint = f"; it was begun with the checkpoint {before['checkpoint']}" if "checkpoint" in differing else ""
            raise ExistingOutputError(
                f"{name} of {', '.join(crops)} was made with another {differing}, and is not mixed with this{hint}; "
                "overwrite all of its crops, or choose another destination (-o), or an experiment with a folder of its "
                "own (-e)"
            )

    def _write(self) -> None:
        crops = {crop: stages for crop, stages in self.crops.items() if stages}
        write_json(self.path, {"crops": crops, "classes": self.classes})


def _differences(one: Any, other: Any, name: str = "") -> Iterator[str]:
    """Yield the names of the innermost values that differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            yield from _differences(one.get(key), other.get(key), key)
    elif one != other:
        yield name
