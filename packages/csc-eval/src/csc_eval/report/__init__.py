"""Self-contained HTML pages: of a score, and what pages of other packages are made with (extra ``report``).

`write_report` writes the page of a score; `render_page`, `LineChart` and `draw_labels` serve pages that look alike.
"""

from csc_eval.report.charts import DotChart, LineChart, Series
from csc_eval.report.labels import LabelView, Shown, draw_labels
from csc_eval.report.page import ReportOptions, score_sections, worst_labels, write_report
from csc_eval.report.tables import Cell, Table
from csc_eval.report.templating import check_report, render_page

__all__ = [
    "Cell",
    "DotChart",
    "LabelView",
    "LineChart",
    "ReportOptions",
    "Series",
    "Shown",
    "Table",
    "check_report",
    "draw_labels",
    "render_page",
    "score_sections",
    "worst_labels",
    "write_report",
]
