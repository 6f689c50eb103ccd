"""What a comparison showed: as data, as a table for a terminal, as one page for a browser.

    Results ─▶ build ─▶ ComparisonReport ─┬─▶ table (rich)
               (rows, costs, verdict)     └─▶ page (HTML, charts, page.css; nothing else is loaded)

One computation: what a table or a page shows stands in the report.
"""

from freshd.compare.report.build import build_report
from freshd.compare.report.page import render_page
from freshd.compare.report.shape import ComparisonReport
from freshd.compare.report.table import report_view

__all__ = ["ComparisonReport", "build_report", "render_page", "report_view"]
