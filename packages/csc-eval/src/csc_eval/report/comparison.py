"""A comparison as one self-contained HTML page."""

from __future__ import annotations

import os
from pathlib import Path

from csc_data.wording import plural
from csc_eval.comparing.comparison import Comparison
from csc_eval.comparing.words import WHOLE, class_rows, describe_pair, quirk_lines, ranking_rows
from csc_eval.report.charts import DotChart, DotRow
from csc_eval.report.tables import Cell, Table
from csc_eval.report.templating import render_page

_COLOUR = "rgb(0,114,178)"


def write_comparison(found: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write a comparison as one HTML file that needs nothing beside it.

    Parameters
    ----------
    found : Comparison
    path : path-like
        The file; an existing one is replaced.

    Raises
    ------
    csc_data.errors.MissingPackageError
        If a library of the extra ``report`` is not installed.
    """
    header, rows = ranking_rows(found)
    values = {
        "title": f"{plural(len(found.standings), 'result')} compared",
        "found": found,
        "whole": WHOLE[found.overall.name],
        "ranking": Table(header=header, rows=rows, words=(1,)),
        "pairs": [describe_pair(pair) for pair in found.overall.pairs],
        **comparison_sections(found),
    }
    return render_page("compare.html", path, values)


def comparison_sections(found: Comparison) -> dict[str, object]:
    """Return what pages show of any comparison."""
    return {
        "scores": _score_chart(found),
        "shares": _share_table(found),
        "classes": _class_table(found),
        "quirks": quirk_lines(found),
    }


def _score_chart(found: Comparison) -> DotChart:
    rows = [
        DotRow(
            name=one.name,
            colour=_COLOUR,
            dots=[(one.score, f"{one.name}: {one.score:.4f}")],
            mark=one.score,
            interval=(one.interval.low, one.interval.high),
        )
        for one in found.standings
    ]
    widest = max(len(row.name) for row in rows)
    return DotChart(title=f"{WHOLE[found.overall.name]} with 95 % intervals", rows=rows, left=min(260, 24 + 7 * widest))


def _share_table(found: Comparison) -> Table:
    """Return how often resamples put each result on each rank."""
    return Table(
        header=["result", *(f"rank {number}" for number in range(1, len(found.standings) + 1))],
        rows=[
            [one.name, *(Cell(text=f"{share:.0%}" if share else "", bar=share) for share in one.shares)]
            for one in found.standings
        ],
    )


def _class_table(found: Comparison) -> Table:
    header, rows = class_rows(found)
    last = len(header) - 1
    return Table(header=header, rows=rows, words=() if len(found.standings) == 2 else (last,))
