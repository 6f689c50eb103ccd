"""An Excel workbook to Markdown: each sheet a table below its name, each cell its value.

Numbers, dates and truth values are written as Excel does unasked, dates in ISO 8601. What format a cell is shown in,
as a share or with zeros before it, is not followed.
A formula is the result that was saved with it. Rows and columns that show nothing are left out.
"""

import io
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, time, timedelta
from typing import Any

from freshd.errors import ParseError
from freshd.parsers.limits import expect_characters

VERSION = "workbook-1"

_MISSPELT = re.compile(rb"(<(?:\w+:)?sheetView\s(?:[^<>]*\s)?)showZeroes(?=\s*=)")


def markdown_of_workbook(content: bytes) -> str:
    """Write a workbook as Markdown.

    Raises:
        ParseError: It has no sheets that can be found,
            or its cells lie so far apart that a table of them would be too large.
        Exception: It cannot be read; openpyxl has a type for every cause.

    """
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    if not book.sheetnames:
        raise ParseError(
            "got an Excel workbook in which no sheets are found, expected one as Excel saves it unasked",
            hint="save it as .xlsx, not as Strict Open XML",
        )
    return "\n\n".join(part for sheet in book.worksheets for part in (f"## {_one_line(sheet.title)}", _table(sheet)))


def mended_sheets(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """Give the sheets that misspell `showZeros`, as some programs do and openpyxl refuses, without that.

    Args:
        sources: The XML parts of a workbook by name.

    """
    return {
        name: _MISSPELT.sub(rb"\1showZeros", source)
        for name, source in sources.items()
        if name.startswith("xl/worksheets/") and b"showZeroes" in source
    }


def _table(sheet: Any) -> str:
    """Lay out a sheet; the first row that shows something is its head."""
    sheet.reset_dimensions()  # what lies outside those that a file claims would be lost
    rows = [shown for row in sheet.iter_rows(values_only=True) if (shown := _shown(row))]
    columns = sorted({column for row in rows for column in row})
    expect_characters(len(rows) * len(columns) * len(" | "))
    lines = [_line(row.get(column, "") for column in columns) for row in rows]
    return "\n".join([*lines[:1], _line("---" for _ in columns), *lines[1:]]) if lines else ""


def _shown(row: Iterable[object]) -> Mapping[int, str]:
    """Give the texts of a row's cells that show something, by their columns."""
    return {column: text for column, value in enumerate(row) if value is not None and (text := _text(value))}


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(value: object) -> str:
    """Write a value."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.15G}"  # as many digits as Excel knows
    if isinstance(value, datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(abs(value.total_seconds())), 60)
        return f"{'-' if value < timedelta(0) else ''}{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return _one_line(str(value)).replace("|", "\\|")


def _one_line(text: str) -> str:
    from openpyxl.utils.escape import unescape

    return " ".join(unescape(text).split())
