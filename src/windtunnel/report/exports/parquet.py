"""Parquet: the columns of the CSV with types, for data frames; needs pyarrow."""

import importlib
import io
from typing import Any

from windtunnel.analysis.flat_table import PHASE_COLUMNS, SAMPLE_COLUMNS, phase_rows, sample_rows, type_of
from windtunnel.analysis.results import Results
from windtunnel.errors import UnsupportedError
from windtunnel.report.document import printable


def render_parquet(results: Results, *, with_samples: bool) -> bytes:
    """Return one row group with a typed column for each column of the CSV; None is null.

    Raises:
        UnsupportedError: pyarrow is not installed.
    """
    arrow, parquet = _module("pyarrow"), _module("pyarrow.parquet")
    columns, rows = (SAMPLE_COLUMNS, sample_rows) if with_samples else (tuple(PHASE_COLUMNS), phase_rows)
    types = {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    values: dict[str, list[object]] = {column: [] for column in columns}
    for row in rows(results):
        for column, value in row.items():
            values[column].append(printable(value) if isinstance(value, str) else value)
    schema = arrow.schema([(column, types[type_of(column)]) for column in columns])
    file = io.BytesIO()
    parquet.write_table(arrow.table(values, schema=schema), file)
    return file.getvalue()


def _module(name: str) -> Any:  # pyarrow has no types
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            "parquet needs pyarrow, which is not installed: pip install 'windtunnel[parquet]', or export csv"
        ) from error
