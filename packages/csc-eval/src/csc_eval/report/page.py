"""One self-contained HTML page: scores per class and crop, their distribution, and pictures of what went wrong."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from csc_data.challenge.classes import ClassTable
from csc_data.challenge.colours import as_hex, class_colour
from csc_data.storage.stores.places import Store
from csc_data.storage.stores.submissions import open_store
from csc_data.wording import plural
from csc_eval.report.charts import DotChart, DotRow
from csc_eval.report.labels import Shown, draw_labels
from csc_eval.report.tables import Cell, Table
from csc_eval.report.templating import check_report, format_score, render_page
from csc_eval.running.result_files import ScoredVolumes
from csc_eval.scoring.bootstrap import Interval, score_intervals
from csc_eval.scoring.results import TOO_MANY_INSTANCES, ClassScore, LabelScore, SubmissionScore

MOST_LABELS = 640

OWN_SCORES = frozenset(
    ("combined_score", "iou", "pq")
)  # metrics that are the score of a class, and stand there already


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What a page shows.

    Attributes
    ----------
    raw : mapping of str to str
        Crop to the path of its raw volume, shown behind the labels.
    show : sequence of (crop, class), or None
        Which labels to show in pictures; by default the worst ones.
    labels : int
        How many of them at most.
    shown : Shown
        How much of each.
    table : ClassTable or None
        Which classes there are, where some are of one's own, with their colours.
    """

    raw: Mapping[str, str] = field(default_factory=dict)
    show: Iterable[tuple[str, str]] | None = None
    labels: int = MOST_LABELS
    shown: Shown = field(default_factory=Shown)
    table: ClassTable | None = None


def write_report(
    result: SubmissionScore,
    path: str | os.PathLike[str],
    *,
    submission: str | os.PathLike[str] | Store,
    truth: str | os.PathLike[str] | Store,
    options: ReportOptions | None = None,
) -> Path:
    """Write a report of a score as one HTML file that needs nothing beside it.

    Parameters
    ----------
    result : SubmissionScore
        The score.
    path : path-like
        The file.
    submission, truth : path-like or Store
        What was scored.
    options : ReportOptions, optional
        What it shows.

    Raises
    ------
    csc_data.errors.MissingPackageError
        If a library of the extra ``report`` is not installed.
    InvalidArgumentError
        If the page cannot be written there.
    """
    check_report(path)
    options = options or ReportOptions()
    chosen = list(options.show) if options.show is not None else worst_labels(result)
    volumes = ScoredVolumes(submission=open_store(submission), truth=open_store(truth), raw=options.raw)
    tasks = volumes.tasks(result, chosen[: options.labels])
    ordered = [tasks[label] for label in chosen[: options.labels] if label in tasks]
    values = score_sections(result, options.table) | {
        "result": result,
        "title": f"Score {result.overall_score:.4f}",
        "labels": draw_labels(ordered, result.crops, options.raw, replace(options.shown, table=options.table)),
        "left_out": len(chosen) - len(ordered),
    }
    return render_page("score.html", path, values)


def worst_labels(result: SubmissionScore) -> list[tuple[str, str]]:
    """Return crop and class of the labels that were submitted and are not perfect, the worst first.

    Those that were too many objects to be matched come first: their score says nothing.

    Examples
    --------
    >>> from csc_eval import SubmissionScore, combine_scores
    >>> from csc_eval.scoring.results import LabelScore
    >>> labels = {name: LabelScore(instance=False, tp=tp, fp=5, fn=0) for name, tp in [("er", 95), ("nuc", 5)]}
    >>> pooled = combine_scores({"crop1": labels})
    >>> worst_labels(
    ...     SubmissionScore(rules="pq", crops={"crop1": labels}, combined=pooled, submitted=pooled, total_evals=2)
    ... )
    [('crop1', 'nuc'), ('crop1', 'er')]
    """
    scores = [
        (-1.0 if score.status == TOO_MANY_INSTANCES else score.score, crop, name)
        for crop, labels in result.crops.items()
        for name, score in labels.items()
        if not score.is_missing and (score.score < 1 or score.status == TOO_MANY_INSTANCES)
    ]
    return [(crop, name) for _, crop, name in sorted(scores)]


def score_sections(result: SubmissionScore, table: ClassTable | None = None) -> dict[str, object]:
    """Return the parts of a page that show a score: its tables, chart and remarks, as its template names them."""
    intervals = score_intervals(result.crops)
    return {
        "counted": _counted(result),
        "overall": _overall_table(result),
        "interval": intervals.get(""),
        "class_tables": _class_tables(result, intervals, table),
        "distribution": _distribution(result, intervals, table),
        "crop_table": _crop_table(result),
        "remarks": _remarks(result),
    }


def _counted(result: SubmissionScore) -> str:
    scores = [score for labels in result.crops.values() for score in labels.values()]
    masks = max(0, len(scores) - result.total_evals)
    missing = sum(score.status == "missing" for score in scores) - masks
    parts = [f"{plural(result.total_evals, 'label')} of {plural(len(result.crops), 'crop')}"]
    parts += [f"{missing} not submitted"] if missing else []
    parts += [f"{len(result.failures)} failed"] if result.failures else []
    parts += [f"and {plural(masks, 'mask')}, which the portal takes for labels"] if masks else []
    return ", ".join(parts)


def _overall_table(result: SubmissionScore) -> Table:
    rows = []
    for entry in (result, *result.alternatives):
        for kind, combined in (("everything", entry.combined), ("what was submitted", entry.submitted)):
            rows.append([f"{entry.rules}, {kind}", *map(format_score, combined.overall().values())])
    return Table(header=["", "instance", "semantic", "overall"], rows=rows)


def _class_tables(
    result: SubmissionScore, intervals: Mapping[str, Interval], table: ClassTable | None
) -> list[tuple[str, Table]]:
    tables = []
    for instance, title in ((True, "Instance classes"), (False, "Semantic classes")):
        classes = {name: score for name, score in result.combined.classes.items() if score.instance == instance}
        if not classes:
            continue
        every = (n for score in classes.values() for n in (*score.metrics, *score.details))
        names = [name for name in dict.fromkeys(every) if name not in OWN_SCORES]
        rows = [
            [_class_cell(name, table), *_class_row(score, names, intervals.get(name))]
            for name, score in sorted(classes.items(), key=lambda item: item[1].score)
        ]
        header = ["class", "score", "95 % of resamples", *names, "tp", "fp", "fn", "to be known"]
        tables.append((title, Table(header=header, rows=rows, words=(len(header) - 1,))))
    return tables


def _class_cell(name: str, table: ClassTable | None) -> Cell:
    return Cell(text=name, colour=as_hex(class_colour(name, table)))


def _class_row(score: ClassScore, names: list[str], interval: Interval | None) -> list[str | Cell]:
    values = {**score.details, **score.metrics}
    return [
        Cell(text=format_score(score.score), bar=None if score.quirk else score.score),
        "-" if interval is None else f"{interval.low:.2f} to {interval.high:.2f}",
        *[format_score(values.get(key, math.nan)) for key in names],
        *(f"{count:,}" for count in (score.tp, score.fp, score.fn)),
        score.quirk,
    ]


def _distribution(result: SubmissionScore, intervals: Mapping[str, Interval], table: ClassTable | None) -> DotChart:
    rows = []
    for name, score in sorted(result.combined.classes.items(), key=lambda item: item[1].score):
        labels = {crop: labels[name] for crop, labels in result.crops.items() if name in labels}
        counted = {crop: label for crop, label in labels.items() if not label.quirk}
        left_out = len(labels) - len(counted)
        interval = intervals.get(name)
        rows.append(
            DotRow(
                name=name,
                colour=as_hex(class_colour(name, table)),
                dots=[(label.score, f"{crop}: {label.score:.4f}") for crop, label in counted.items()],
                mark=score.score,
                interval=None if interval is None or not counted else (interval.low, interval.high),
                note=f"{left_out} not drawn" if left_out else "",
            )
        )
    widest = max((len(row.name) for row in rows), default=0)
    return DotChart(title="Scores of crops by class", rows=rows, left=min(200, 24 + 7 * widest))


def _crop_table(result: SubmissionScore) -> Table:
    rows = []
    for crop, labels in result.crops.items():
        for name, score in sorted(labels.items(), key=lambda item: item[1].score):
            counts = [f"{count:,}" for count in (score.tp, score.fp, score.fn)]
            rows.append([f"{crop} / {name}", format_score(score.score), *counts, _status(score)])
    return Table(header=["crop / class", "score", "tp", "fp", "fn", "to be known"], rows=rows, words=(5,))


def _status(score: LabelScore) -> str:
    return score.quirk or {"missing": "not submitted", "failed": "failed"}.get(score.status, "")


def _remarks(result: SubmissionScore) -> list[str]:
    labels = [(f"{crop}/{name}", score) for crop, labels in result.crops.items() for name, score in labels.items()]
    lines = [f"{crop}/{name} failed: {problem}" for (crop, name), problem in result.failures.items()]
    lines += [f"{name}: {score.quirk}" for name, score in result.combined.classes.items() if score.quirk]
    lines += [f"{where}: {score.quirk}" for where, score in labels if score.status == TOO_MANY_INSTANCES]
    lines += [f"ignored, as the truth has none: {name}" for name in result.ignored]
    lines += [f"the portal would say otherwise: {reason}" for reason in result.portal_differs]
    lines += [
        f"the portal differs at {where}: {score.portal_differs}" for where, score in labels if score.portal_differs
    ]
    lines += [f"{where}: {score.place_differs}" for where, score in labels if score.place_differs]
    lines += [
        f"{entry.class_name}: {format_score(entry.score)} by {entry.rules}, {format_score(entry.other_score)} by "
        f"{entry.other_rules}: {'; '.join(entry.reasons)}"
        for entry in result.differences
    ]
    return lines
