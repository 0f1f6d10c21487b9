"""Submissions of a batch, scored on an executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csc_data.errors import CscError
from csc_data.executors.processes import broken
from csc_eval.batch.entries import BatchEntry, BatchOutcome, scored_outcome
from csc_eval.running.submission import score_submission, write_results


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchScoring:
    """How the submissions of a batch are scored.

    Attributes
    ----------
    truth : Path
    arguments : mapping
        Of `csc_eval.score_submission`.
    resume : bool
        Whether scores of labels are kept beside the results: what has not changed is not scored again.
    """

    truth: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False


def score_entry(entry: BatchEntry, how: BatchScoring) -> BatchOutcome:
    """Score one submission and write its result files; an error becomes the outcome's problem."""
    arguments = {**how.arguments, **({"resume": entry.scores_file} if how.resume else {})}
    try:
        result = score_submission(entry.data_path, how.truth, **arguments)
        write_results(result, entry.result_file)
    except (CscError, OSError, MemoryError) as error:
        return BatchOutcome(entry=entry, result=None, problem=str(error) or type(error).__name__)
    return scored_outcome(entry, result)


def score_batch(
    entries: Sequence[BatchEntry],
    how: BatchScoring,
    *,
    executor: Executor,
    report: Callable[[BatchOutcome], None] | None = None,
) -> list[BatchOutcome]:
    """Score submissions on an executor, one task each; returns their outcomes in the order given.

    One whose process dies has that as its problem; Dask gives it to some others first, and they go on from what was
    kept of it.
    """
    futures = {executor.submit(score_entry, entry, how): entry for entry in entries}
    outcomes = {}
    for future in as_completed(futures):
        entry = futures[future]
        try:
            outcome = future.result()
        except broken() as error:
            outcome = BatchOutcome(entry=entry, result=None, problem=str(error) or "the cluster has ended")
        outcomes[entry] = outcome
        if report is not None:
            report(outcome)
    return [outcomes[entry] for entry in entries]
