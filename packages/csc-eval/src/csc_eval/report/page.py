"""One self-contained HTML page: scores per class and crop, their distribution, and slices that show what went wrong."""

from __future__ import annotations

import html
import importlib.util
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from csc_data.errors import CscError
from csc_data.storage.atomic import replace_text
from csc_data.storage.stores.places import Store
from csc_eval.scoring.results import SubmissionScore

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c1c1c;background:#fff}
h1,h2,h3{line-height:1.2}table{border-collapse:collapse;margin:1rem 0}
td,th{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right;font-variant-numeric:tabular-nums}
td:first-child,th:first-child{text-align:left}figure{margin:1.5rem 0}img{max-width:100%}
.bad{color:#a40000}.hit{color:#2c7fb8}.miss{color:#c2790d}.alarm{color:#b5179e}
td:has(.bar){text-align:left}.bar{display:inline-block;height:.7rem;background:#2c7fb8;vertical-align:middle}
@media(prefers-color-scheme:dark){body{background:#16181b;color:#e6e6e6}td,th{border-color:#3a3d42}img{background:#fff}}
"""


class ReportError(CscError, ImportError):
    """The report's libraries are not installed."""


def check_report_support() -> None:
    """Raise a clear error, before any work, if figures cannot be drawn.

    Raises
    ------
    ReportError
        If matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ReportError("the report needs matplotlib: pip install 'csc-eval[report]'")


def write_report(
    result: SubmissionScore,
    path: str | os.PathLike[str],
    *,
    submission: str | os.PathLike[str] | Store,
    truth: str | os.PathLike[str] | Store,
    raw: Mapping[str, str] | None = None,
    show: Iterable[tuple[str, str]] | None = None,
    most: int = 12,
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
    raw : mapping of str to str, optional
        Crop to the path of its raw volume, shown behind the labels.
    show : iterable of (crop, class), optional
        Which labels to show in slices; by default the worst ones.
    most : int
        How many to show at most.

    Raises
    ------
    ReportError
        If matplotlib is not installed.
    """
    check_report_support()
    from csc_eval.report.figures import draw_comparisons, draw_distribution

    chosen = list(show) if show is not None else worst_labels(result)
    figures = draw_comparisons(result, chosen[:most], submission=submission, truth=truth, raw=raw or {})
    body = [
        f"<h1>Score {result.overall_score:.4f}</h1>",
        f"<p>Rules <b>{html.escape(result.rules)}</b>, csc-eval {html.escape(result.version)}; "
        f"{result.num_evals_done} of {result.total_evals} labels.</p>",
        _overall_table(result),
        _class_section(result),
        f"<h2>Scores of crops</h2><figure>{draw_distribution(result)}</figure>",
        _crop_section(result),
        _problem_section(result),
        "<h2>What went wrong</h2><p>Worst labels first, in the slice with the most wrong voxels: "
        "<b class=hit>hits</b>, <b class=miss>misses</b>, <b class=alarm>false alarms</b>; lines are the borders of "
        "instances.</p>",
        *figures,
    ]
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>csc-eval report</title><style>{STYLE}</style><body>{''.join(body)}</body></html>"
    )
    target = Path(path)
    replace_text(target, page)
    return target


def worst_labels(result: SubmissionScore) -> list[tuple[str, str]]:
    """Return crop and class of the labels that were submitted and are not perfect, the worst first."""
    scores = [
        (score.score, crop, name)
        for crop, labels in result.crops.items()
        for name, score in labels.items()
        if not score.is_missing and score.score < 1
    ]
    return [(crop, name) for _, crop, name in sorted(scores)]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = ("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _overall_table(result: SubmissionScore) -> str:
    rows = []
    for entry in (result, *result.alternatives):
        for kind, combined in (("everything", entry.combined), ("what was submitted", entry.submitted)):
            values = map(_number, combined.overall().values())
            rows.append([f"{html.escape(entry.rules)}, {kind}", *values])
    return _table(["", "instance", "semantic", "overall"], rows)


def _class_section(result: SubmissionScore) -> str:
    parts = ["<h2>Classes</h2>"]
    for instance, title in ((True, "Instance classes"), (False, "Semantic classes")):
        classes = {name: score for name, score in result.combined.classes.items() if score.instance == instance}
        if not classes:
            continue
        names = list(dict.fromkeys(n for score in classes.values() for n in (*score.metrics, *score.details)))
        rows = []
        for name, score in sorted(classes.items(), key=lambda item: item[1].score):
            values = {**score.details, **score.metrics}
            bar = f"<span class=bar style='width:{max(0.0, min(1.0, score.score)) * 8:.2f}rem'></span>"
            numbers = [_number(values.get(key, math.nan)) for key in names]
            rows.append([html.escape(name), bar, *numbers, str(score.tp), str(score.fp), str(score.fn)])
        parts.append(f"<h3>{title}</h3>" + _table(["class", "", *names, "tp", "fp", "fn"], rows))
    return "".join(parts)


def _crop_section(result: SubmissionScore) -> str:
    rows = []
    for crop, labels in result.crops.items():
        for name, score in sorted(labels.items(), key=lambda item: item[1].score):
            cells = [f"{html.escape(crop)} / {html.escape(name)}", _number(score.score)]
            rows.append([*cells, str(score.tp), str(score.fp), str(score.fn), html.escape(score.status)])
    table = _table(["crop / class", "score", "tp", "fp", "fn", "status"], rows)
    return f"<details><summary>All {len(rows)} labels</summary>{table}</details>"


def _problem_section(result: SubmissionScore) -> str:
    lines = [
        f"<li class=bad>{html.escape(f'{crop}/{name}')}: {html.escape(problem)}</li>"
        for (crop, name), problem in result.failures.items()
    ]
    lines += [f"<li>ignored, as the truth has none: {html.escape(name)}</li>" for name in result.ignored]
    lines += [
        f"<li>the portal differs at {html.escape(f'{crop}/{name}')}: {html.escape(score.portal_differs)}</li>"
        for crop, labels in result.crops.items()
        for name, score in labels.items()
        if score.portal_differs
    ]
    lines += [
        f"<li>{html.escape(f'{crop}/{name}')}: {html.escape(score.place_differs)}</li>"
        for crop, labels in result.crops.items()
        for name, score in labels.items()
        if score.place_differs
    ]
    lines += [
        f"<li>{html.escape(entry.class_name)}: {_number(entry.score)} by {html.escape(entry.rules)}, "
        f"{_number(entry.other_score)} by {html.escape(entry.other_rules)}: {html.escape('; '.join(entry.reasons))}"
        "</li>"
        for entry in result.differences
    ]
    return f"<h2>To be known</h2><ul>{''.join(lines)}</ul>" if lines else ""
