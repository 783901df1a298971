"""Stores as an older version left them."""

import re
import sqlite3
from pathlib import Path

from windtunnel.records import schema


def downgrade(folder: Path, version: int) -> None:
    """Take from a store the tables that its schema did not have in `version`."""
    later = re.findall(r"CREATE TABLE (\w+)", "".join(schema._STEPS[version:]))
    with sqlite3.connect(folder / "store.sqlite") as connection:
        connection.executescript("".join(f"DROP TABLE {table};" for table in later))
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
