"""Results read back from ``result_extended.json``, and what was scored opened again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from csc_data.errors import InvalidArgumentError, MissingDataError, UnreadableDataError
from csc_data.formats.writing import read_json
from csc_data.storage.stores.places import GatheredStore, Store
from csc_data.storage.stores.submissions import open_store
from csc_eval.placing.align import is_instance_class
from csc_eval.rules import LEADERBOARD, RULE_SETS
from csc_eval.running.submission import find_contents
from csc_eval.scoring.labels import LabelTask
from csc_eval.scoring.results import ClassScore, CombinedScores, LabelScore, Scored, SubmissionScore

_SCORES = ("combined_score", "pq", "iou")  # one of them is the score of a class
_COUNTS = ("tp", "fp", "fn", "metrics")


def read_result(path: str | PathLike[str]) -> SubmissionScore:
    """Read a ``result_extended.json``, as `csc_eval.write_results` wrote it.

    Raises
    ------
    MissingDataError
        If there is no such file.
    UnreadableDataError
        If it cannot be read, or is another file, such as the short ``result.json``.

    Examples
    --------
    >>> import tempfile
    >>> from csc_eval import SubmissionScore, combine_scores, read_result, write_results
    >>> from csc_eval.scoring.results import LabelScore
    >>> crops = {"crop1": {"er": LabelScore(instance=False, tp=80, fp=10, fn=10)}}
    >>> pooled = combine_scores(crops)
    >>> result = SubmissionScore(rules="leaderboard", crops=crops, combined=pooled, submitted=pooled, total_evals=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _, extended = write_results(result, f"{folder}/result.json")
    ...     read_result(extended).combined.classes["er"].score
    0.8
    """
    if not Path(path).is_file():
        raise MissingDataError(f"there is no file {path}")
    document = read_json(Path(path))
    try:
        return _as_result(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableDataError(
            f"{path} is not a result_extended.json: {type(error).__name__} {error}; `csc evaluate --result-file` "
            "writes one beside the result"
        ) from error


def _as_result(document: Mapping[str, Any]) -> SubmissionScore:
    classes = _classes(document["label_scores"])
    crops = {
        crop: {name: _label(name, entry, classes) for name, entry in labels.items()}
        for crop, labels in document.items()
        if isinstance(labels, Mapping) and labels and all(_is_label(entry) for entry in labels.values())
    }
    submitted = document["submitted_only"]
    scored = document.get("scored")
    return SubmissionScore(
        rules=str(document["rules"]),
        crops=crops,
        combined=_combined(classes, document),
        submitted=_combined(_classes(submitted["label_scores"]), submitted),
        total_evals=int(document["total_evals"]),
        ignored=tuple(document.get("ignored", ())),
        alternatives=tuple(_as_result(other) for other in document.get("other_rules", {}).values()),
        portal_differs=tuple(document.get("portal_differs", ())),
        version=str(document["git_version"]).removeprefix("csc-eval "),
        scored=None if scored is None else Scored(**scored),
    )


def _is_label(entry: Any) -> bool:
    return isinstance(entry, Mapping) and "num_voxels" in entry


def _label(name: str, entry: Mapping[str, Any], classes: Mapping[str, ClassScore]) -> LabelScore:
    instance = "hausdorff_norm_sum" in entry or (name in classes and classes[name].instance)
    return LabelScore.from_dict(entry, instance=instance)


def _classes(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, ClassScore]:
    found = {}
    for name, entry in entries.items():
        metrics = {key: float(value) for key, value in entry.items() if key not in _COUNTS}
        key = next(key for key in _SCORES if key in metrics)
        found[name] = ClassScore(
            metrics=metrics,
            score=metrics[key],
            tp=int(entry["tp"]),
            fp=int(entry["fp"]),
            fn=int(entry["fn"]),
            instance=is_instance_class(name) if key == "pq" else key == "combined_score",
            details={name: float("nan") if v is None else v for name, v in entry.get("metrics", {}).items()},
        )
    return found


def _combined(classes: Mapping[str, ClassScore], document: Mapping[str, Any]) -> CombinedScores:
    names = ("overall_instance_score", "overall_semantic_score", "overall_score")
    return CombinedScores(classes=classes, **{name: float(document[name]) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredVolumes:
    """What a result is of, opened again.

    Attributes
    ----------
    submission, truth : Store
    raw : mapping of str to str
        Crop to the path of its raw volume, where the result's datasplit says it.
    """

    submission: Store
    truth: Store
    raw: Mapping[str, str]

    def tasks(self, result: SubmissionScore, labels: Iterable[tuple[str, str]]) -> dict[tuple[str, str], LabelTask]:
        """Return the tasks of some labels, by crop and class, as they were scored."""
        wanted = set(labels)
        instance = [name for name, score in result.combined.classes.items() if score.instance]
        rules = RULE_SETS.get(result.rules, LEADERBOARD)
        contents = find_contents(self.submission, self.truth, rules=(rules,), instance_classes=instance)
        found = {(task.crop, task.class_name): task for task in contents.tasks}
        return {label: found[label] for label in found if label in wanted}


@contextmanager
def open_scored(
    result: SubmissionScore,
    submission: str | PathLike[str] | None = None,
    truth: str | PathLike[str] | None = None,
) -> Iterator[ScoredVolumes]:
    """Open what a result is of: what was given, else what it says itself.

    A truth that was built from a datasplit is built again, and removed at the end.

    Raises
    ------
    InvalidArgumentError
        If the result does not say what was scored, and it was not given.
    MissingDataError
        If it is not there any more.
    """
    scored = result.scored
    if scored is None and (submission is None or truth is None):
        raise InvalidArgumentError(
            "the result does not say what was scored (it was written by an earlier version): name the submission (-s) "
            "and the truth (-t)"
        )
    with tempfile.TemporaryDirectory(prefix="csc-eval-") as folder:
        raw: Mapping[str, str] = {}
        truth_store = None if truth is None else open_store(truth)
        if truth_store is None and scored is not None:
            if scored.datasplit:
                from csc_eval.scoring.validation_truth import build_validation_truth

                built = build_validation_truth(scored.datasplit, Path(folder, "truth.zarr"))
                truth_store, raw = open_store(built.path), built.raw
            else:
                truth_store = open_store(scored.truth)
        given: Any = submission if submission is not None or scored is None else scored.submission
        submitted = GatheredStore(given) if isinstance(given, Mapping) else open_store(given)
        if isinstance(given, Mapping) and not any(Path(place).is_dir() for place in given.values()):
            raise MissingDataError(
                f"the predictions that were scored are gone: there is no {next(iter(given.values()))}"
            )
        assert truth_store is not None
        yield ScoredVolumes(submission=submitted, truth=truth_store, raw=raw)
