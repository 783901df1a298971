"""A report as files, each of which is there whole or not at all."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from windtunnel.analysis.results import Results
from windtunnel.errors import SpecError, StoreError, unknown_name
from windtunnel.records.store_file import check_folder
from windtunnel.report.build import build_document
from windtunnel.report.document import Document
from windtunnel.report.html import render_html
from windtunnel.report.latex import render_latex
from windtunnel.report.markdown import render_markdown

FORMATS: dict[str, Callable[[Document], str]] = {"html": render_html, "md": render_markdown, "latex": render_latex}
"""Format to its renderer."""

SUFFIXES = {"latex": "tex"}
"""Of the formats whose file ends in something else than their name."""


def write_report(
    report: Results | Document, folder: Path | str, formats: Sequence[str] = ("html", "md"), *, name: str = "report"
) -> tuple[Path, ...]:
    """Write `report.html` and `report.md` (or another name) into `folder`, and return their paths.

    Results become a document first.

    Raises:
        SpecError: A format is not known; nothing was written.
        StoreError: The folder cannot be made or written.
    """
    faults = [unknown_name("report format", one, FORMATS) for one in formats if one not in FORMATS]
    if faults:
        raise SpecError(*faults)
    document = report if isinstance(report, Document) else build_document(report)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(_write(folder / f"{name}.{SUFFIXES.get(one, one)}", FORMATS[one](document)) for one in formats)
    except OSError as error:
        raise _refused(folder, error) from error


def check_report_folder(folder: Path) -> None:
    """Refuse a folder for a report that cannot be written, as far as that is known before there is one.

    Raises:
        StoreError: What is there is no folder, or must not be written.
    """
    try:
        check_folder(folder)
    except OSError as error:
        raise _refused(folder, error) from error


def _refused(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write the report to {folder}: {error.strerror}; choose another folder")


def _write(path: Path, text: str) -> Path:
    """Replace the file in one step, so that a reader of the old report never sees half of the new."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
