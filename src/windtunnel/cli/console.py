"""The console that commands write to."""

import os
import sys

from rich.console import Console

_FILE_WIDTH = 140
"""Columns where there is no terminal to ask: a log holds wide tables better than broken ones."""


def make_console() -> Console:
    """Return a console as wide as its terminal, as COLUMNS says, or as a log should be."""
    knows_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if knows_width else _FILE_WIDTH)
