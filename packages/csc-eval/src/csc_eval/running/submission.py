"""The score of a submission: what the truth asks for, found, scored and pooled."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from csc_data.errors import InvalidArgumentError
from csc_data.storage.atomic import replace_text
from csc_data.storage.limits import MAX_UNCOMPRESSED_SIZE
from csc_data.storage.nodes import is_array
from csc_data.storage.stores.places import GatheredStore, Store
from csc_data.storage.stores.submissions import open_store
from csc_eval._version import VERSION
from csc_eval.placing.align import is_instance_class
from csc_eval.rules import LEADERBOARD, Rules, parse_rules
from csc_eval.running.changes import Watched
from csc_eval.running.execution import run_tasks
from csc_eval.running.memory import Plan, plan_work
from csc_eval.running.portal import MASK_SUFFIX, HandedIn, portal_notes
from csc_eval.scoring.aggregate import combine_scores
from csc_eval.scoring.labels import LabelTask, score_label
from csc_eval.scoring.metrics import parse_metrics
from csc_eval.scoring.results import FAILED, LabelScore, Scored, SubmissionScore
from csc_eval.voxels.arrays import LIMITS

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from csc_data.challenge.classes import ClassTable

Progress = Callable[[int, int, str], None]
"""Called with how many labels are done, of how many, and the last one's name."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is to be scored.

    Attributes
    ----------
    tasks : tuple of LabelTask
        One per crop and class of the truth.
    masks : mapping of str to tuple of str
        Crop to the masks of its truth.
    ignored : tuple of str
        What the submission holds beyond the truth.
    """

    tasks: tuple[LabelTask, ...]
    masks: Mapping[str, tuple[str, ...]]
    ignored: tuple[str, ...]


def find_contents(
    submission: Store,
    truth: Store,
    *,
    rules: Sequence[Rules],
    instance_classes: Iterable[str] | ClassTable | None = None,
    metrics: Iterable[str] = (),
) -> Contents:
    """List the crops and labels of the truth, and where the submission has them.

    Raises
    ------
    InvalidArgumentError
        If the truth has no crops, or the submission none of them, or a class to score as instances is neither
        one of the challenge nor in the truth.
    """
    truth_crops = {crop: _label_names(truth, crop) for crop in truth.folders("")}
    truth_crops = {crop: names for crop, names in truth_crops.items() if names}
    if not truth_crops:
        raise InvalidArgumentError(
            f"{truth.name} holds no crops with label arrays; expected arrays like crop557/mito. For annotations of "
            "training crops, which are groups, give the datasplit that names them (--datasplit)"
        )
    places = match_crops(submission, truth, truth_crops)
    annotated = {name for names in truth_crops.values() for name in names}
    instance_set, own = (None, ()) if instance_classes is None else _kinds(instance_classes, annotated)
    tasks: list[LabelTask] = []
    masks, ignored = {}, []
    for crop, names in truth_crops.items():
        classes = [name for name in names if not _is_mask(name, names)]
        masks[crop] = tuple(name for name in names if _is_mask(name, names))
        place = places.get(crop)
        submitted = set(submission.folders(place)) if place is not None else set()
        tasks += [
            LabelTask(
                crop=crop,
                class_name=name,
                truth=truth,
                submission=submission if name in submitted else None,
                key=f"{place}/{name}",
                instance=is_instance_class(name, instance_set),
                own=name in own,
                rules=tuple(rules),
                metrics=tuple(metrics),
            )
            for name in classes
        ]
        ignored += [f"{crop}/{name}" for name in sorted(submitted - set(classes))]
    known = set(places.values())
    ignored += [folder for folder in submission.folders("") if folder not in known]
    return Contents(tasks=tuple(tasks), masks=masks, ignored=tuple(ignored))


def _kinds(given: Iterable[str] | ClassTable, annotated: Set[str]) -> tuple[Set[str], Sequence[str]]:
    """Return the classes that are scored as instances, and those that a table has beyond the challenge's."""
    from csc_data.challenge.classes import ClassTable, label_classes

    if isinstance(given, ClassTable):
        return given.instances, given.own
    names = frozenset(given)
    label_classes().check(sorted(names), annotated)
    return names, ()


def _label_names(truth: Store, crop: str) -> tuple[str, ...]:
    return tuple(name for name in truth.folders(crop) if is_array(truth, f"{crop}/{name}", limits=LIMITS))


def _is_mask(name: str, names: Sequence[str]) -> bool:
    return name.endswith(MASK_SUFFIX) and name.removesuffix(MASK_SUFFIX) in names


def match_crops(submission: Store, truth: Store, truth_crops: Iterable[str]) -> dict[str, str]:
    """Crop of the truth to its folder in the submission; `557` stands for `crop557` when no folder has a right name.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for place in ("mine/557", "truth/crop557"):
    ...         Path(folder, place).mkdir(parents=True)
    ...     match_crops(open_place(f"{folder}/mine"), open_place(f"{folder}/truth"), ["crop557"])
    {'crop557': '557'}
    """
    folders = submission.folders("")
    places = {crop: crop for crop in truth_crops if crop in folders}
    if not places:
        places = {f"crop{name}": name for name in folders if f"crop{name}" in truth_crops}
    if not places:
        raise InvalidArgumentError(
            f"{truth.name} has none of the submission's crops: it holds {_some(truth_crops)}, "
            f"{submission.name} holds {_some(folders)}"
        )
    return places


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return (", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")) or "nothing"


def score_submission(
    submission: str | os.PathLike[str] | Store,
    truth: str | os.PathLike[str] | Store,
    *,
    rules: str | Rules | Iterable[str | Rules] = LEADERBOARD,
    instance_classes: Iterable[str] | ClassTable | None = None,
    metrics: Iterable[str] = (),
    workers: int = 1,
    memory: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    max_uncompressed_size: int = MAX_UNCOMPRESSED_SIZE,
) -> SubmissionScore:
    """Score a submission against a truth.

    Parameters
    ----------
    submission : path-like
        A zip, a zarr folder, or a folder that holds one zip. A zip is read in place; nothing is written.
    truth : path-like
        A zarr folder (or zip) with ``{crop}/{class}`` arrays and optional ``{class}_mask`` arrays. It decides what is
        scored; what the submission has beyond it is ignored and named.
    rules : str, Rules, or several of them
        By default the leaderboard's. Of several, the first makes the result, the others come as ``alternatives``.
    instance_classes : iterable of str or ClassTable, optional
        Classes to align and score as instances, or a table that tells; by default those of the challenge.
    metrics : iterable of str
        Further metrics to work out, see `csc_eval.METRICS`.
    workers : int
        Processes on this machine; 0: as many as CPUs and memory allow.
    memory : int, optional
        Bytes that all workers together may take, or one task of an executor; by default what the machine, or its
        container, has free, and no bound with an executor.
    resume : path-like, optional
        A file that keeps the scores of labels as they come; a run that finds it goes on where it ended.
    executor : concurrent.futures.Executor, optional
        Runs the labels elsewhere, for example ``dask.distributed.Client(...).get_executor()``.
    progress : callable, optional
        Called after each label with (done, of, name).
    max_uncompressed_size : int
        Bytes that a zip may declare to unpack to.

    Returns
    -------
    SubmissionScore
        Labels that could not be read, or changed meanwhile, are scored as missing and named in ``failures``.

    Raises
    ------
    CscError
        If there is nothing to score: no submission, no truth, or no crop in common; or if a zip changed meanwhile.

    Examples
    --------
    >>> score_submission("submission.zip", "ground_truth.zarr").overall_score  # doctest: +SKIP
    0.4125
    """
    began = time.monotonic()
    rule_sets = parse_rules(rules)
    names = parse_metrics(metrics, instance=True)
    submission_store = open_store(submission, max_size=max_uncompressed_size)
    truth_store = open_store(truth, max_size=max_uncompressed_size)
    contents = find_contents(
        submission_store, truth_store, rules=rule_sets, instance_classes=instance_classes, metrics=names
    )
    # What is free where an executor works is not known here.
    unbounded = executor is not None and memory is None
    plan = Plan(tasks=contents.tasks) if unbounded else plan_work(contents.tasks, workers=workers, memory=memory)
    watched = Watched.begin(submission_store, contents.tasks)
    scores = watched.told(run_tasks(plan, resume=resume, executor=executor, progress=progress))
    read = tuple(task.key for task, found in zip(contents.tasks, scores, strict=True) if found[0].status != FAILED)
    handed_in = None if isinstance(submission, Store) else HandedIn(path=Path(submission), scored=read)
    notes = portal_notes(submission_store, contents.masks, contents.ignored, handed_in)
    result = collect_scores(contents, scores, rule_sets, portal_differs=notes)
    return replace(result, scored=_describe(submission_store, truth_store, began))


def _describe(submission: Store, truth: Store, began: float) -> Scored:
    def path(store: Store) -> str:
        return str(Path(getattr(store, "path", store.name)).absolute())  # of a zip, its name says what is in it, too

    gathered = submission.places if isinstance(submission, GatheredStore) else None
    where = path(submission) if gathered is None else {crop: path(store) for crop, store in gathered.items()}
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return Scored(submission=where, truth=path(truth), time=now, seconds=round(time.monotonic() - began, 3))


def collect_scores(
    contents: Contents,
    scores: Sequence[tuple[LabelScore, ...]],
    rule_sets: Sequence[Rules],
    *,
    portal_differs: tuple[str, ...] = (),
) -> SubmissionScore:
    """Pool the scores of all labels, once per rule set."""
    results = []
    for number, rules in enumerate(rule_sets):
        crops: dict[str, dict[str, LabelScore]] = {}
        for task, of_rules in zip(contents.tasks, scores, strict=True):
            crops.setdefault(task.crop, {})[task.class_name] = of_rules[number]
        if rules.masks_are_labels:
            _add_masks(crops, contents.masks)
        results.append(
            SubmissionScore(
                rules=rules.name,
                crops=crops,
                combined=combine_scores(crops, rules=rules),
                submitted=combine_scores(crops, rules=rules, include_missing=False),
                total_evals=len(contents.tasks),
                ignored=contents.ignored,
                portal_differs=portal_differs if rules.masks_are_labels else (),
                version=VERSION,
            )
        )
    if len(results) == 1:
        return results[0]
    from csc_eval.scoring.differences import explain_differences

    return explain_differences(results, rule_sets)


def _add_masks(crops: dict[str, dict[str, LabelScore]], masks: Mapping[str, tuple[str, ...]]) -> None:
    for crop, names in masks.items():
        for name in names:
            label = crops[crop][name.removesuffix(MASK_SUFFIX)]
            crops[crop][name] = LabelScore(
                instance=False,
                tp=0,
                fp=0,
                fn=label.num_voxels,
                num_voxels=label.num_voxels,
                voxel_size=label.voxel_size,
                status="missing",
            )


def score_crop(
    submission: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    crop: str,
    *,
    rules: str | Rules = LEADERBOARD,
    instance_classes: Iterable[str] | ClassTable | None = None,
    metrics: Iterable[str] = (),
) -> dict[str, LabelScore]:
    """Score one crop of a submission.

    Parameters
    ----------
    submission, truth : path-like
        As for `score_submission`.
    crop : str
        Name of the crop in the truth, for example ``crop557``.
    rules, instance_classes, metrics
        As for `score_submission`.

    Returns
    -------
    dict of str to LabelScore
        By class.

    Raises
    ------
    InvalidArgumentError
        If the truth has no such crop.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_eval import score_crop
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for place, value in (("truth.zarr", 8), ("mine.zarr", 4)):
    ...         array = create_array(
    ...             f"{folder}/{place}/crop1/er", shape=(8, 8, 8), dtype="u1", chunks=(8, 8, 8),
    ...             attributes={"voxel_size": [8, 8, 8], "translation": [0, 0, 0]},
    ...         )
    ...         array[:value] = 1
    ...     score_crop(f"{folder}/mine.zarr", f"{folder}/truth.zarr", "crop1")["er"].score
    0.5
    """
    rule_sets = parse_rules(rules)
    contents = find_contents(
        open_store(submission),
        open_store(truth),
        rules=rule_sets[:1],
        instance_classes=instance_classes,
        metrics=parse_metrics(metrics, instance=True),
    )
    tasks = [task for task in contents.tasks if task.crop == crop]
    if not tasks:
        raise InvalidArgumentError(f"the truth has no {crop}; it holds {_some({task.crop for task in contents.tasks})}")
    return {task.class_name: score_label(task)[0] for task in tasks}


def write_results(result: SubmissionScore, result_file: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write ``result.json`` and, beside it, ``result_extended.json``; returns both paths.

    Examples
    --------
    >>> import tempfile
    >>> from csc_eval import SubmissionScore, combine_scores, write_results
    >>> from csc_eval.scoring.results import LabelScore
    >>> crops = {"crop1": {"er": LabelScore(instance=False, tp=80, fp=10, fn=10)}}
    >>> pooled = combine_scores(crops)
    >>> result = SubmissionScore(rules="leaderboard", crops=crops, combined=pooled, submitted=pooled, total_evals=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_results(result, f"{folder}/result.json")]
    ['result.json', 'result_extended.json']
    """
    path = Path(result_file)
    extended = path.with_name(f"{path.stem}_extended{path.suffix or '.json'}")
    replace_text(path, result.to_json() + "\n")
    replace_text(extended, result.to_json(extended=True) + "\n")
    return path, extended
