"""Scores kept as they come, so that a killed run goes on where it ended."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from csc_data.errors import UnreadableDataError
from csc_eval.scoring.labels import LabelTask
from csc_eval.scoring.results import FAILED, LabelScore, finite_or_none


class ScoreLedger:
    """A file with one line of JSON per scored label.

    A score is taken from it only if everything that it depends on is the same: the rules and metrics, and the size,
    time or checksum of every file of the truth and the prediction.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._known: dict[str, list[dict[str, Any]]] = {}
        if self.path.exists():
            self._load()

    def _load(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableDataError(f"{self.path} is not a record of scores: {error}") from error
        for line in lines:
            try:
                entry = json.loads(line)
                self._known[entry["key"]] = entry["scores"]
            except (ValueError, KeyError, TypeError):
                continue  # a line that a kill cut off

    def find(self, task: LabelTask) -> tuple[LabelScore, ...] | None:
        """Return the scores of a label, None if they are not known."""
        documents = self._known.get(fingerprint(task))
        if documents is None:
            return None
        return tuple(LabelScore.from_dict(document, instance=task.instance) for document in documents)

    def add(self, task: LabelTask, scores: tuple[LabelScore, ...]) -> None:
        """Keep the scores of a label; those of a label that failed are not kept."""
        if any(score.status == FAILED for score in scores):
            return
        documents = [finite_or_none(score.to_dict()) for score in scores]
        line = json.dumps({"label": task.truth_key, "key": fingerprint(task), "scores": documents})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        ragged = self.path.exists() and self.path.stat().st_size > 0 and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if ragged else "") + line + "\n")
            file.flush()
            os.fsync(file.fileno())


def fingerprint(task: LabelTask) -> str:
    """Return a digest of everything that a label's scores depend on."""
    parts: list[Any] = [
        task.crop,
        task.class_name,
        task.instance,
        task.metrics,
        [asdict(rules) for rules in task.rules],
    ]
    parts.append([list(task.truth.signature(key)) for key in (task.truth_key, f"{task.truth_key}_mask")])
    parts.append(list(task.submission.signature(task.key)) if task.submission is not None else None)
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()
