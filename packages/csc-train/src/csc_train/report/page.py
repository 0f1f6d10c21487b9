"""`write_run_report`: one page for a run, or one that compares several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from csc_data.challenge import ClassTable
from csc_data.errors import CscError
from csc_eval import SubmissionScore
from csc_eval.report import (
    LabelView,
    Shown,
    check_report,
    draw_labels,
    render_page,
    score_sections,
    worst_labels,
)
from csc_eval.running.result_files import open_scored
from csc_train.report.comparing import compare_sections
from csc_train.report.curves import run_charts
from csc_train.report.reading import RunFiles, read_run
from csc_train.report.sections import facts, settings_table, stage_table, validation_table, versions_table

_PACKAGES = ("csc_train.report",)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReportOptions:
    """What a page of runs shows.

    Attributes
    ----------
    results : sequence of path-like
        ``result_extended.json`` files, of a single run; by default those that lie near its logs.
    submission, truth : path-like or None
        What was scored, where it lies elsewhere than the result says.
    raw : mapping of str to str
        Crop to the path of its raw volume, beside those that a datasplit names.
    worst, best : int
        How many labels to show in pictures.
    table : ClassTable or None
        Which classes there are, where some are of one's own, with their colours.
    """

    results: Sequence[str | PathLike[str]] = ()
    submission: str | PathLike[str] | None = None
    truth: str | PathLike[str] | None = None
    raw: Mapping[str, str] = field(default_factory=dict)
    worst: int = 12
    best: int = 4
    table: ClassTable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultView:
    """A result as a page shows it.

    Attributes
    ----------
    file : Path
    result : SubmissionScore
    sections : mapping
        See `csc_eval.report.score_sections`.
    worst, best : sequence of LabelView
        Labels with pictures.
    problem : str
        Why there are no pictures, "" if there are.
    """

    file: Path
    result: SubmissionScore
    sections: Mapping[str, object]
    worst: Sequence[LabelView] = ()
    best: Sequence[LabelView] = ()
    problem: str = ""


def write_run_report(
    runs: Iterable[str | PathLike[str]],
    target: str | PathLike[str],
    options: RunReportOptions | None = None,
) -> tuple[Path, list[RunFiles]]:
    """Write the page of a run, or of several that are compared, as one HTML file that needs nothing beside it.

    Parameters
    ----------
    runs : iterable of path-like
        Folders of logs, folders with one run, experiment files or checkpoints, see `find_run`.
    target : path-like
        The page.
    options : RunReportOptions, optional

    Returns
    -------
    Path
        The page.
    list of RunFiles
        What was found; what a run lacks is said there and on the page.

    Raises
    ------
    NoRunError, InvalidArgumentError
        If a run is not there, a place holds several, or the page cannot be written there.
    UnreadableDataError
        If a result that was named cannot be read.
    csc_data.errors.MissingPackageError
        If the extra ``csc-eval[report]`` is not installed.
    """
    check_report(target)
    options = options or RunReportOptions()
    places = list(runs)
    if len(places) > 1:
        found = [read_run(place) for place in places]
        return render_page("compare.html", target, compare_sections(found), packages=_PACKAGES), found
    run = read_run(places[0], options.results)
    values: dict[str, Any] = {
        "title": run.name,
        "run": run,
        "facts": facts(run),
        "charts": run_charts(run),
        "validation": validation_table(run),
        "results": [_view(file, result, options) for file, result in run.results.items()],
        "stages": stage_table(run),
        "settings": settings_table(run),
        "versions": versions_table(run),
    }
    return render_page("run.html", target, values, packages=_PACKAGES), [run]


def _view(file: Path, result: SubmissionScore, options: RunReportOptions) -> ResultView:
    worst = worst_labels(result)
    shown_worst, shown_best = worst[: options.worst], _best_labels(result, options.best)
    views: list[list[LabelView]] = [[], []]
    problem = ""
    try:
        with open_scored(result, options.submission, options.truth) as volumes:
            tasks = volumes.tasks(result, [*shown_worst, *shown_best])
            raw = {**volumes.raw, **options.raw}
            views = [
                draw_labels(
                    [tasks[label] for label in labels if label in tasks], result.crops, raw, Shown(table=options.table)
                )
                for labels in (shown_worst, shown_best)
            ]
    except CscError as error:
        problem = f"there are no pictures: {error}"
    return ResultView(
        file=file,
        result=result,
        sections=score_sections(result, options.table),
        worst=views[0],
        best=views[1],
        problem=problem,
    )


def _best_labels(result: SubmissionScore, most: int) -> list[tuple[str, str]]:
    scores = [
        (-score.score, crop, name)
        for crop, labels in result.crops.items()
        for name, score in labels.items()
        if not score.is_missing and not score.quirk
    ]
    return [(crop, name) for _, crop, name in sorted(scores)[:most]]
