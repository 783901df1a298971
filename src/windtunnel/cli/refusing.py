"""What several commands refuse before anything runs: options without effect, and files that could not be written."""

import os
from collections.abc import Mapping
from pathlib import Path

from windtunnel.errors import SpecError


def refuse_idle(options: Mapping[str, object], where: str) -> None:
    """Refuse options that were given and have no effect.

    Args:
        options: Each option's name to something true where it was given.
        where: Beside what they have none, and why.

    Raises:
        SpecError: One of them was given.
    """
    given = [name for name, is_given in options.items() if is_given]
    if given:
        has, what = ("has", "it") if len(given) == 1 else ("have", "them")
        raise SpecError(f"{', '.join(given)} {has} no effect with {where}: leave {what} out")


def check_file(option: str, path: Path) -> None:
    """Refuse a file that cannot be written, as far as that is known before it is.

    Raises:
        SpecError: Its folder is not there, it is a folder itself, or it must not be written.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise SpecError(f"{option} {str(path)!r}: its folder is not there; make it, or name another")
    if path.is_dir():
        raise SpecError(f"{option} {str(path)!r} is a folder; name a file, as {str(path / 'name')!r}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise SpecError(f"{option} {str(path)!r}: it must not be written; allow it, or name another")
