"""Results as a pandas DataFrame, for those who have pandas; nothing else here needs it."""

import importlib
from typing import Any

from windtunnel.analysis.flat_table import PHASE_COLUMNS, SAMPLE_COLUMNS, phase_rows, sample_rows, type_of
from windtunnel.analysis.results import Results
from windtunnel.errors import UnsupportedError

_DTYPES = {bool: "boolean", int: "Int64", float: "Float64", str: "string"}
"""pandas' types that know NA, so that a count that is not known turns no column into floats."""


def to_frame(results: Results, *, with_samples: bool) -> Any:
    """Return the rows of `phase_rows` or `sample_rows` as a DataFrame.

    Raises:
        UnsupportedError: pandas is not installed.
    """
    try:
        pandas: Any = importlib.import_module("pandas")  # which has no types of its own
    except ModuleNotFoundError as error:
        raise UnsupportedError("to_pandas needs pandas, which is not installed: pip install pandas") from error
    columns, rows = (SAMPLE_COLUMNS, sample_rows) if with_samples else (tuple(PHASE_COLUMNS), phase_rows)
    values: dict[str, list[object]] = {column: [] for column in columns}
    for row in rows(results):
        for column, value in row.items():
            values[column].append(value)
    return pandas.DataFrame(
        {column: pandas.array(values[column], dtype=_DTYPES[type_of(column)]) for column in columns}
    )
