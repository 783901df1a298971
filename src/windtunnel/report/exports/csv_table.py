"""CSV by RFC 4180: one line for each phase of each cell, or for each sample."""

import csv
import io

from windtunnel.analysis.flat_table import PHASE_COLUMNS, SAMPLE_COLUMNS, Value, phase_rows, sample_rows
from windtunnel.analysis.results import Results
from windtunnel.report.document import printable

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet computes a cell that begins so; in a text from a record that may be somebody's command."""


def render_csv(results: Results, *, with_samples: bool) -> str:
    """Return a header and one line a row; what is not known is empty, numbers are written in full precision."""
    columns, rows = (SAMPLE_COLUMNS, sample_rows) if with_samples else (tuple(PHASE_COLUMNS), phase_rows)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row.values()] for row in rows(results))
    return text.getvalue()


def _cell(value: Value) -> str | int | float:
    """Return what the writer quotes: a text that would be a formula gets an apostrophe, which spreadsheets hide.

    Source: OWASP, CSV injection.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = f"'{value}" if value.startswith(_FORMULA_STARTS) or value.lstrip().startswith(_FORMULA_STARTS) else value
    return printable(text)
