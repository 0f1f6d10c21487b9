"""Runs label tasks: here, in processes, or on somebody's executor; keeps what is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from csc_eval.running.memory import Plan, expected_work
from csc_eval.scoring.labels import LabelTask, failed_scores, score_label
from csc_eval.scoring.results import LabelScore
from csc_eval.voxels.runs import TOO_FRAGMENTED

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Scores = tuple[LabelScore, ...]

WORKER_DIED = (
    "the process that scored it was killed, as happens when memory runs out: give fewer workers or more memory"
)
CLUSTER_ENDED = "the cluster ended before it was scored"


def run_tasks(
    plan: Plan,
    *,
    resume: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Scores]:
    """Score all labels; returns their scores in the order of the tasks.

    Parameters
    ----------
    plan : Plan
        The work, and what each part of it may take; each label is read and scored on its own.
    resume, executor, progress
        As for `csc_eval.score_submission`.
    """
    ledger = None
    if resume is not None:
        from csc_eval.running.ledger import ScoreLedger

        ledger = ScoreLedger(resume)
    tasks = plan.tasks
    results: dict[int, Scores] = {}
    if ledger is not None:
        known = ((number, ledger.find(task)) for number, task in enumerate(tasks))
        results = {number: scores for number, scores in known if scores is not None}
    open_numbers = [number for number in range(len(tasks)) if number not in results]
    for number, scores in _run(plan, open_numbers, executor):
        results[number] = scores
        if ledger is not None:
            ledger.add(tasks[number], scores)
        if progress is not None:
            progress(len(results), len(tasks), f"{tasks[number].crop}/{tasks[number].class_name}")
    return [results[number] for number in range(len(tasks))]


def _run(plan: Plan, numbers: Sequence[int], executor: Executor | None) -> Iterator[tuple[int, Scores]]:
    for number in numbers:
        if number in plan.refused:
            yield number, failed_scores(plan.tasks[number], plan.refused[number])
    fitting = [number for number in numbers if number not in plan.refused]
    if executor is None and plan.workers == 1:
        for number in fitting:
            yield number, score_label(plan.tasks[number])
        return
    # What takes longest goes first, so that no worker is left alone with it at the end.
    fitting.sort(key=lambda number: -expected_work(plan.tasks[number]))
    if executor is not None:
        yield from _run_on(executor, plan, fitting)
    else:
        again = []
        for number, scores in _run_in_processes(plan, fitting):
            if scores[0].problem.startswith(TOO_FRAGMENTED):
                again.append(number)
            else:
                yield number, scores
        # With all the memory to itself such a label may still fit.
        for number in again:
            yield number, score_label(plan.alone[number])


def _run_on(executor: Executor, plan: Plan, numbers: Sequence[int]) -> Iterator[tuple[int, Scores]]:
    from concurrent.futures import as_completed

    from csc_data.executors.processes import broken

    futures: dict[Future[Scores], int] = {executor.submit(score_label, plan.tasks[n]): n for n in numbers}
    for future in as_completed(futures):
        number = futures[future]
        try:
            scores = future.result()
        except broken() as error:
            scores = failed_scores(plan.tasks[number], str(error) or CLUSTER_ENDED)
        yield number, scores


def _run_in_processes(plan: Plan, numbers: Sequence[int]) -> Iterator[tuple[int, Scores]]:
    from concurrent.futures import as_completed

    from csc_data.executors.processes import ProcessWorkers, WorkerDiedError

    died: list[int] = []
    pool = ProcessWorkers(plan.workers, threads=1)
    try:
        futures = {pool.submit(score_label, plan.tasks[number]): number for number in numbers}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except WorkerDiedError:
                died.append(futures[future])
    finally:
        # Also where this ends early: nobody waits for labels whose scores are not wanted any more.
        pool.shutdown(wait=False, cancel_futures=True)
        pool.kill()
        pool.shutdown()
    for number in died:  # when memory ran out with the others, it may suffice for it alone
        yield number, _score_alone(plan.tasks[number])


def _score_alone(task: LabelTask) -> Scores:
    from csc_data.executors.processes import ProcessWorkers, WorkerDiedError

    try:
        with ProcessWorkers(1, threads=1) as pool:
            return pool.submit(score_label, task).result()
    except WorkerDiedError:
        return failed_scores(task, WORKER_DIED)
