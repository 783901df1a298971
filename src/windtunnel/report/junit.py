"""A gate as JUnit XML, which most CI systems show: a test case for each cell."""

import re
from collections.abc import Collection
from xml.etree import ElementTree

from windtunnel.analysis.gate import MISSING, CellVerdict, Gate
from windtunnel.analysis.results import Row
from windtunnel.report.document import printable
from windtunnel.statistics.paired import Verdict
from windtunnel.units import change

_NOT_XML = re.compile("[^\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


def render_junit(gate: Gate, *, unwanted: Collection[str]) -> str:
    """Return one suite: a verdict that is unwanted is a failure, an inconclusive one is skipped.

    A cell that failed in NEW only is an error; one of a single side, or that failed in both, is skipped, but one that
    is missing from NEW is a failure where that is unwanted.
    """
    suite = ElementTree.Element("testsuite", name="windtunnel gate")
    for cell in gate.cells:
        _add_cell(suite, cell, unwanted)
    for _, row in gate.broken:
        failure = row.record.failure
        message = f"{row.record.status.value}{f': {failure.message}' if failure else ''}"
        _add(_case(suite, row), "error", message, row.record.status.value)
    lost = gate.missing if MISSING in unwanted else ()
    for row in lost:
        _add(_case(suite, row), "failure", "in BASE, and missing from NEW", MISSING)
    for row in (*(row for _, row in gate.failing), *(one.row for one in gate.unmatched if one.row not in lost)):
        _add(_case(suite, row), "skipped", "not measured on both sides", "not compared")
    for row, _ in gate.mended:
        _case(suite, row)
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(1 for _ in suite.iter(tag))))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'


def _case(suite: ElementTree.Element, row: Row, seconds: float | None = None) -> ElementTree.Element:
    time = {} if seconds is None else {"time": f"{seconds:.9f}"}
    name = row.record.task.cell_label()
    attributes = {"classname": f"windtunnel.{row.key}", "name": xml_text(name), **time}
    return ElementTree.SubElement(suite, "testcase", attributes)


def _add_cell(suite: ElementTree.Element, cell: CellVerdict, unwanted: Collection[str]) -> None:
    case = _case(suite, cell.base, cell.whole.new_seconds)
    found, verdict = cell.whole.difference, cell.verdict
    message = f"{verdict.value}: {change(found.value)} [{change(found.low)}, {change(found.high)}]"
    if cell.moved:
        message += f"; {', '.join(f'{one.phase} {change(one.difference.value)}' for one in cell.moved)}"
    if verdict in unwanted:
        _add(case, "failure", message, verdict.value)
    elif verdict is Verdict.INCONCLUSIVE:
        _add(case, "skipped", f"{message}; {found.reason}", verdict.value)


def _add(case: ElementTree.Element, tag: str, message: str, kind: str) -> None:
    attributes = {"message": xml_text(message)} | ({} if tag == "skipped" else {"type": kind})
    ElementTree.SubElement(case, tag, attributes).text = xml_text(message)


def xml_text(text: str) -> str:
    """Return text without what XML cannot hold; the writer escapes the rest."""
    return _NOT_XML.sub("\ufffd", printable(text))
