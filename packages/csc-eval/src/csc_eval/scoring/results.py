"""Scores as typed objects, from one label of one crop to a whole submission."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from csc_eval.scoring.formulas import instance_metrics, iou, panoptic_quality

SCORED = "scored"
MISSING = "missing"
FAILED = "failed"
TOO_MANY_INSTANCES = "skipped_too_many_instances"

EMPTY_TRUTH = ("nothing was predicted either, which counts as 1", "whatever was predicted counts as 0")


def finite_or_none(value: object) -> object:
    """Return JSON-ready data in which NaN and infinities are None, at any depth.

    Examples
    --------
    >>> finite_or_none({"score": float("nan"), "counts": (1, 2.5)})
    {'score': None, 'counts': [1, 2.5]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite_or_none(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(entry) for entry in value]
    return value


def to_json(document: Mapping[str, Any]) -> str:
    """Return strict JSON: numbers that JSON lacks become null.

    Examples
    --------
    >>> print(to_json({"score": float("nan")}))
    {
        "score": null
    }
    """
    return json.dumps(finite_or_none(document), indent=4, allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """The score of one label in one crop.

    Attributes
    ----------
    instance : bool
        Whether it was scored as instances.
    tp, fp, fn : int
        Matched, surplus and lacking instances; for semantic classes voxels.
    hausdorff_norm_sum : float
        Sum of the normalised distances (instance classes, rules with distances).
    n_hausdorff : int
        How many distances it sums.
    panoptic : bool
        Whether it was scored by panoptic quality (rules ``pq``); a semantic class is then one instance.
    iou_sum : float
        Sum of the IoU of matched pairs, for panoptic quality.
    num_voxels : int
        Voxels of the crop.
    voxel_size : tuple of float
        nm, z, y, x.
    status : str
        ``scored``, ``missing``, ``failed`` or ``skipped_too_many_instances``.
    problem : str
        What was wrong with the label, "" if nothing.
    portal_differs : str
        Why the portal itself would answer otherwise, "" if it would not.
    place_differs : str
        How the numbers of its level differ from what the metadata of its group as a whole say, "" if they agree.
    details : mapping
        Further metrics by name, those that were asked for.

    Examples
    --------
    >>> score = LabelScore(instance=False, tp=80, fp=10, fn=10)
    >>> score.score, score.is_missing
    (0.8, False)
    >>> LabelScore.from_dict(score.to_dict(), instance=False) == score
    True
    """

    instance: bool
    tp: int
    fp: int
    fn: int
    hausdorff_norm_sum: float = 0.0
    n_hausdorff: int = 0
    panoptic: bool = False
    iou_sum: float = 0.0
    num_voxels: int = 0
    voxel_size: tuple[float, ...] = ()
    status: str = SCORED
    problem: str = ""
    portal_differs: str = ""
    place_differs: str = ""
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_missing(self) -> bool:
        """Whether it counts as not submitted."""
        return self.status in (MISSING, FAILED)

    @property
    def score(self) -> float:
        """The label's own score: combined score, IoU or panoptic quality, by the rules and the kind of class."""
        if self.panoptic:
            return panoptic_quality(self.tp, self.fp, self.fn, self.iou_sum)["pq"]
        if not self.instance:
            return iou(self.tp, self.fp, self.fn)
        counts = (self.tp, self.fp, self.fn)
        return instance_metrics(*counts, self.hausdorff_norm_sum, self.n_hausdorff)["combined_score"]

    @property
    def quirk(self) -> str:
        """Which rule gave 1 or 0 whatever the voxels are, "" if none did."""
        if self.status == TOO_MANY_INSTANCES:
            counts = "nothing, as if it were not there" if self.tp + self.fp + self.fn == 0 else "all wrong"
            return f"too many predicted objects to be matched: it counts as {counts}"
        if self.tp + self.fn == 0 and not self.is_missing:
            return f"the truth is empty: {EMPTY_TRUTH[self.fp > 0]}"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return what the extended result file says about it."""
        document: dict[str, Any] = {"tp": self.tp, "fp": self.fp, "fn": self.fn}
        if self.panoptic:
            document["iou_sum"] = self.iou_sum
        elif self.instance:
            document |= {"hausdorff_norm_sum": self.hausdorff_norm_sum, "n_hausdorff": self.n_hausdorff}
        document |= {
            "num_voxels": self.num_voxels,
            "voxel_size": list(self.voxel_size),
            "is_missing": self.is_missing,
            "status": self.status,
        }
        remarks = {name: getattr(self, name) for name in ("problem", "portal_differs", "place_differs")}
        document |= {name: value for name, value in remarks.items() if value}
        if self.details:
            document["metrics"] = dict(self.details)
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], *, instance: bool) -> LabelScore:
        """Read back what `to_dict` returned."""
        names = ("tp", "fp", "fn", "hausdorff_norm_sum", "n_hausdorff", "iou_sum", "num_voxels", "status", "problem")
        return cls(
            instance=instance,
            voxel_size=tuple(document["voxel_size"]),
            portal_differs=document.get("portal_differs", ""),
            place_differs=document.get("place_differs", ""),
            # A metric that has no value is null in JSON.
            details={name: math.nan if v is None else v for name, v in document.get("metrics", {}).items()},
            panoptic="iou_sum" in document,
            **{name: document[name] for name in names if name in document},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """The pooled score of one class.

    Attributes
    ----------
    metrics : mapping of str to float
        ``f1``, ``normalized_hausdorff_distance`` and ``combined_score``; or ``iou``; or ``pq``, ``sq`` and ``rq``.
    score : float
        The one of them that the overall scores average.
    tp, fp, fn : int
        Sums over crops.
    instance : bool
        Whether it is an instance class.
    details : mapping
        Further metrics, those that were asked for, averaged over crops.

    Examples
    --------
    >>> score = ClassScore(metrics={"iou": 0.8}, score=0.8, tp=80, fp=10, fn=10, instance=False)
    >>> score.to_dict(), score.to_dict(counts=False)
    ({'iou': 0.8, 'tp': 80, 'fp': 10, 'fn': 10}, {'iou': 0.8})
    """

    metrics: Mapping[str, float]
    score: float
    tp: int
    fp: int
    fn: int
    instance: bool
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def quirk(self) -> str:
        """Which rule gave 1 or 0 whatever the voxels are, "" if none did."""
        if self.tp + self.fp + self.fn == 0:
            return "counts as 1: in each crop the truth is empty, or there are too many predicted objects to be matched"
        if self.tp + self.fn == 0:
            return "counts as 0 whatever was predicted: the truth is empty in each crop"
        return ""

    def to_dict(self, *, counts: bool = True) -> dict[str, Any]:
        """Return it for a result file, with or without the counts."""
        document: dict[str, Any] = dict(self.metrics)
        if counts:
            document |= {"tp": self.tp, "fp": self.fp, "fn": self.fn}
            if self.details:
                document["metrics"] = dict(self.details)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedScores:
    """Scores of classes, and the overall scores over them.

    Examples
    --------
    >>> from csc_eval import combine_scores
    >>> combine_scores({"crop1": {"er": LabelScore(instance=False, tp=80, fp=10, fn=10)}}).overall()
    {'overall_instance_score': 0.0, 'overall_semantic_score': 0.8, 'overall_score': 0.0}
    """

    classes: Mapping[str, ClassScore]
    overall_instance_score: float
    overall_semantic_score: float
    overall_score: float

    def overall(self) -> dict[str, float]:
        """Return the three overall scores by name."""
        names = ("overall_instance_score", "overall_semantic_score", "overall_score")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where two rule sets say something else about a class, and why.

    Examples
    --------
    >>> difference = Difference(
    ...     class_name="mito", score=0.5, other_score=0.6, rules="leaderboard", other_rules="pq", reasons=("ties",)
    ... )
    >>> difference.to_dict()
    {'class': 'mito', 'leaderboard': 0.5, 'pq': 0.6, 'reasons': ['ties']}
    """

    class_name: str
    score: float
    other_score: float
    rules: str
    other_rules: str
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it for a result file."""
        return {
            "class": self.class_name,
            self.rules: self.score,
            self.other_rules: self.other_score,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What was scored, and when.

    Attributes
    ----------
    submission : str or mapping of str to str
        Absolute path; crop to folder where it was gathered from several.
    truth : str
        Absolute path; "" where it was built from the annotations of a datasplit.
    datasplit : str
        Absolute path of that.
    time : str
        When it was done, ISO 8601 with the time zone.
    seconds : float
        How long it took.

    Examples
    --------
    >>> Scored(submission="mine.zip", truth="truth.zarr", seconds=2.0).to_dict()
    {'submission': 'mine.zip', 'truth': 'truth.zarr', 'seconds': 2.0}
    """

    submission: str | Mapping[str, str]
    truth: str = ""
    datasplit: str = ""
    time: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it for a result file."""
        submission = self.submission if isinstance(self.submission, str) else dict(self.submission)
        names = ("truth", "datasplit", "time", "seconds")
        return {"submission": submission, **{name: value for name in names if (value := getattr(self, name))}}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionScore:
    """The score of a submission under one rule set.

    Attributes
    ----------
    rules : str
        Name of the rules.
    crops : mapping
        Crop name to class name to score, everything that the truth has.
    combined : CombinedScores
        Over everything that the truth has: what counts.
    submitted : CombinedScores
        Over what was submitted.
    total_evals : int
        Crop and label pairs of the truth.
    ignored : tuple of str
        What the submission holds beyond the truth.
    portal_differs : tuple of str
        Why the portal's tool would answer otherwise for the submission as a whole.
    alternatives : tuple of SubmissionScore
        The same under the other rules that were asked for.
    differences : tuple of Difference
        Where those say something else.
    version : str
        Version of csc-eval.
    scored : Scored or None
        Paths and time, which make no other score; None for one of neither files nor folders.

    Examples
    --------
    >>> from csc_eval import combine_scores
    >>> crops = {"crop1": {"er": LabelScore(instance=False, tp=80, fp=10, fn=10)}}
    >>> pooled = combine_scores(crops)
    >>> result = SubmissionScore(rules="leaderboard", crops=crops, combined=pooled, submitted=pooled, total_evals=1)
    >>> result.to_dict()["label_scores"], result.to_extended_dict()["crop1"]["er"]["tp"]
    ({'er': {'iou': 0.8}}, 80)
    >>> result.to_json().startswith("{")
    True
    """

    rules: str
    crops: Mapping[str, Mapping[str, LabelScore]]
    combined: CombinedScores
    submitted: CombinedScores
    total_evals: int
    ignored: tuple[str, ...] = ()
    alternatives: tuple[SubmissionScore, ...] = ()
    differences: tuple[Difference, ...] = ()
    portal_differs: tuple[str, ...] = ()
    version: str = ""
    scored: Scored | None = field(default=None, compare=False)

    @property
    def overall_score(self) -> float:
        """The overall score over everything that the truth has."""
        return self.combined.overall_score

    @property
    def num_evals_done(self) -> int:
        """Crop and label pairs that have a score, or are missing."""
        return sum(map(len, self.crops.values()))

    @property
    def failures(self) -> dict[tuple[str, str], str]:
        """Crop and class of each label that could not be scored, with the problem."""
        return {
            (crop, name): score.problem
            for crop, labels in self.crops.items()
            for name, score in labels.items()
            if score.status == FAILED
        }

    def _tail(self) -> dict[str, Any]:
        return {
            **self.combined.overall(),
            "total_evals": self.total_evals,
            "num_evals_done": self.num_evals_done,
            "git_version": f"csc-eval {self.version}",
            "rules": self.rules,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``result.json``."""
        classes = self.combined.classes  # pooled over everything; a class nobody submitted is left out
        labels = {
            name: score.to_dict(counts=False) for name, score in classes.items() if name in self.submitted.classes
        }
        return {"label_scores": labels, **self._tail()}

    def to_extended_dict(self) -> dict[str, Any]:
        """Return the content of ``result_extended.json``."""
        crops = {crop: {name: s.to_dict() for name, s in labels.items()} for crop, labels in self.crops.items()}
        document: dict[str, Any] = {
            **crops,
            "label_scores": {name: score.to_dict() for name, score in self.combined.classes.items()},
            **self._tail(),
            "submitted_only": {
                "label_scores": {name: score.to_dict() for name, score in self.submitted.classes.items()},
                **self.submitted.overall(),
            },
        }
        if self.scored is not None:
            document["scored"] = self.scored.to_dict()
        if self.ignored:
            document["ignored"] = list(self.ignored)
        if self.portal_differs:
            document["portal_differs"] = list(self.portal_differs)
        if self.alternatives:
            document["other_rules"] = {other.rules: other.to_extended_dict() for other in self.alternatives}
            document["differences"] = [difference.to_dict() for difference in self.differences]
        return document

    def to_json(self, *, extended: bool = False) -> str:
        """Return ``result.json``, or ``result_extended.json``, as text."""
        return to_json(self.to_extended_dict() if extended else self.to_dict())
