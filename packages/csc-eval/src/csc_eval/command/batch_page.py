"""The ranking of a batch as one self-contained HTML page."""

from __future__ import annotations

import os
from pathlib import Path

from csc_data.wording import plural
from csc_eval.batch.ranking import HEADER, Ranking, ranking_rows
from csc_eval.report.comparison import comparison_sections
from csc_eval.report.tables import Table
from csc_eval.report.templating import render_page


def write_batch_page(ranking: Ranking, path: str | os.PathLike[str]) -> Path:
    """Write a ranking as one HTML file that needs nothing beside it.

    Raises
    ------
    csc_data.errors.MissingPackageError
        If a library of the extra ``report`` is not installed.
    """
    rows = ranking_rows(ranking)
    found = ranking.comparison
    values = {
        "title": plural(len(ranking.entries), "submission"),
        "ranking": ranking,
        "places": Table(
            header=(*HEADER, "submission"),
            rows=[
                [*row[:-1], Path(one.submission).name]
                for row, one in zip(rows, ranking.entries, strict=True)
                if one.rank is not None
            ],
            words=(1, 7, 8),
        ),
        "problems": [(row[1], row[-1]) for row in rows if row[-1]],
        "found": found,
        **({} if found is None else comparison_sections(found)),
    }
    return render_page("batch.html", path, values)
