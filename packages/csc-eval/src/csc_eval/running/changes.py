"""Submissions that change while they are scored: no score may be of two states in silence."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from csc_data.errors import UnreadableDataError
from csc_data.storage.stores.places import Store
from csc_eval.scoring.labels import LabelTask, failed_scores
from csc_eval.scoring.results import LabelScore

CHANGED = "its files changed while it was scored: score it again when nobody writes to them"


class ChangedSubmissionError(UnreadableDataError):
    """A zip was replaced, or written to, while it was scored."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The state of each label of a submission before it is scored."""

    store: Store
    tasks: Sequence[LabelTask]
    before: tuple[Hashable, ...]

    @classmethod
    def begin(cls, store: Store, tasks: Sequence[LabelTask]) -> Watched:
        """Note the state of all labels; a zip has one."""
        return cls(store, tasks, _states(store, tasks))

    def told(self, scores: Sequence[tuple[LabelScore, ...]]) -> list[tuple[LabelScore, ...]]:
        """Return the scores, those of labels that have changed meanwhile as of labels that cannot be read.

        Raises
        ------
        ChangedSubmissionError
            If it is a zip that has changed.
        """
        after = _states(self.store, self.tasks)
        changed = [one != two for one, two in zip(self.before, after, strict=True)]
        if any(changed) and _is_one_file(self.store):
            raise ChangedSubmissionError(f"{self.store.name} {CHANGED.removeprefix('its files ')}")
        triples = zip(self.tasks, scores, changed, strict=True)
        return [failed_scores(task, f"{task.key}: {CHANGED}") if differs else found for task, found, differs in triples]


def _states(store: Store, tasks: Sequence[LabelTask]) -> tuple[Hashable, ...]:
    if _is_one_file(store):
        return (store.state(""),) * len(tasks)
    return tuple(None if task.submission is None else store.state(task.key) for task in tasks)


def _is_one_file(store: Store) -> bool:
    return type(store).__name__ == "ZipStore"  # its module brings zipfile, which folders do without
