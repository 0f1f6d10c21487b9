"""Several runs side by side: their curves, the classes one by one, and what they were made with that differs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from csc_data.challenge.colours import as_hex, class_colour
from csc_data.wording import format_seconds
from csc_eval.report import Cell, Table
from csc_train.report.curves import COLOURS, compared_charts
from csc_train.report.reading import RunFiles
from csc_train.report.sections import as_text, class_scores

_OF_A_RUN = ("model_name", "model_save_path", "logs_save_path", "base_experiment_path")  # differ in any two runs


def compare_sections(runs: Sequence[RunFiles]) -> dict[str, object]:
    """Return what the template of a comparison names."""
    named = list(zip(_names(runs), runs, strict=True))
    return {
        "title": " and ".join(name for name, _ in named) if len(named) == 2 else f"{len(named)} runs",
        "runs": _run_table(named),
        "classes": _class_table(named),
        "by_results": [bool(run.results) for run in runs],
        "charts": compared_charts(named),
        "settings": _differing("setting", [run.settings for run in runs], named),
        "versions": _differing("package", [run.record.get("versions") or {} for run in runs], named),
        "missing": [(name, line) for name, run in named for line in run.missing],
    }


def _names(runs: Sequence[RunFiles]) -> list[str]:
    """Return names that tell the runs apart: where two have one name, the folder comes with it."""
    count = Counter(run.name for run in runs)
    return [run.name if count[run.name] == 1 else f"{run.name} ({run.folder})" for run in runs]


def _run_table(named: Sequence[tuple[str, RunFiles]]) -> Table:
    rows: list[list[str | Cell]] = []
    for number, (name, run) in enumerate(named):
        best, metric = run.best, str(run.settings.get("best_metric") or "iou")
        value = math.nan if best is None else best.get({"loss": "validation_loss"}.get(metric, metric), math.nan)
        overall = [result.overall_score for result in run.results.values()]
        split = (run.record.get("split") or {}).get("sha256")
        seconds = sum(value for _, value in run.column("seconds"))
        rows.append(
            [
                Cell(text=name, colour=COLOURS[number % len(COLOURS)]),
                f"{len(run.epochs)}",
                "-" if best is None else f"{best['epoch']:.0f}",
                "-" if math.isnan(value) else f"{metric} {value:.4f}",
                f"{overall[0]:.4f}" if overall else "-",
                format_seconds(seconds) if seconds else "-",
                "-" if split is None else str(split)[:12],
            ]
        )
    header = ["run", "epochs", "best epoch", "its value", "overall score", "trained for", "split"]
    return Table(header=header, rows=rows)


def _class_table(named: Sequence[tuple[str, RunFiles]]) -> Table | None:
    """Return the scores of each class in each run, and how far the others are from the first."""
    scores = [class_scores(run) for _, run in named]
    classes = list(dict.fromkeys(name for of_run in scores for name in of_run))
    rows: list[list[str | Cell]] = []
    for name in classes:
        values = [of_run.get(name, math.nan) for of_run in scores]
        known = [value for value in values if not math.isnan(value)]
        cells: list[str | Cell] = [
            "-" if math.isnan(value) else Cell(text=f"{value:.4f}{' *' if value == max(known) else ''}", bar=value)
            for value in values
        ]
        gains = ["-" if math.isnan(value - values[0]) else f"{value - values[0]:+.4f}" for value in values[1:]]
        rows.append([Cell(text=name, colour=as_hex(class_colour(name))), *cells, *gains])
    names = [name for name, _ in named]
    header = ["class", *names, *(f"{name} less {names[0]}" for name in names[1:])]
    return Table(header=header, rows=rows) if rows else None


def _differing(what: str, values: Sequence[Mapping[str, Any]], named: Sequence[tuple[str, RunFiles]]) -> Table | None:
    rows = []
    for key in dict.fromkeys(key for of_run in values for key in of_run):
        texts = [as_text(of_run.get(key)) for of_run in values]
        if len(set(texts)) > 1 and key not in _OF_A_RUN:
            rows.append([key, *texts])
    header = [what, *(name for name, _ in named)]
    return Table(header=header, rows=rows, words=tuple(range(1, len(header)))) if rows else None
