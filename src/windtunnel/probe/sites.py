"""Lines of code by paths that name neither a user nor a machine."""

import sys
from functools import cache
from pathlib import Path


@cache
def short_path(filename: str) -> str:
    """Return a path from where Python imports it, as `mymodule/file.py`; else its last two parts."""
    path = Path(filename)
    homes = [Path(entry).absolute() for entry in sys.path if entry]
    inside = [home for home in homes if path.is_relative_to(home)]
    if inside:
        return str(path.relative_to(max(inside, key=lambda home: len(home.parts))))
    return str(Path(*path.parts[-2:])) if path.is_absolute() else filename
