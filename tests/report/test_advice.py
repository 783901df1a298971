"""The outcome beside an advice: in words, and in the report of a store that has the pairs."""

from dataclasses import replace

import pytest

from advising import advice_with, rows_with_idle_compile
from factory import CPU, compared, make_attention_record, make_attention_task, make_pair, make_row
from windtunnel.analysis.advice import Advice, outcome_of
from windtunnel.analysis.results import Results
from windtunnel.records.record import Failure, Status
from windtunnel.report.build import build_document
from windtunnel.report.document import Section, Table
from windtunnel.report.judged import advised_of
from windtunnel.report.scope import scopes_of
from windtunnel.report.sections.advice import outcome_text

ONE = 'windtunnel compare --size small --context 64 --mode forward --b "--attention sdpa"'


def text_of(command: str = ONE, **fields: object) -> str:
    asked = advice_with(command)
    outcome = outcome_of(asked, compared(make_pair(*asked.pairs[0], **fields)))
    assert outcome is not None
    return outcome_text(outcome)


@pytest.mark.parametrize(
    ("ratio", "begins"),
    [
        (0.42, "measured in pairs here: -58.0 % [-58."),
        (1.5, "measured in pairs here, slower: +50.0 % [+49."),
        (1.0, "no gain: "),
    ],
)
def test_the_change_is_said_with_its_interval(ratio: float, begins: str):
    assert text_of(ratio=ratio).startswith(begins)


def test_pairs_without_a_verdict_say_why():
    assert "not settled: " in text_of(ratio=1.0, noise=0.2)


def test_a_failure_says_its_reason():
    failure = Failure(stage="build", message="no such kernel")

    text = text_of(status=Status.UNSUPPORTED, failure=failure)

    assert text == "failed: unsupported in build: no such kernel"


def test_of_a_grid_what_is_missing_is_counted():
    assert text_of(advice_with().command, ratio=0.5).endswith("; 1 more comparison not made")


def advised(results: Results) -> list[Advice]:
    return [one for scope in scopes_of(results) for one in advised_of(scope)]


def test_the_findings_of_rows_that_advise_a_comparison_are_found_once_for_each_command():
    found = advised(Results(rows=tuple(rows_with_idle_compile()), runs=()))

    assert found
    assert len({one.command for one in found}) == len(found)
    assert all("--compile default" in one.command for one in found)


def test_rows_of_attention_alone_have_none():
    row = make_row(make_attention_record(make_attention_task()))

    assert advised(Results(rows=(row,), runs=())) == []


def section_of(results: Results) -> Section | None:
    return next((one for one in build_document(results).sections if one.heading == "Advice, measured"), None)


def test_the_outcome_stands_beside_the_advice_in_the_report_and_nothing_does_before():
    rows = tuple(rows_with_idle_compile())
    results = Results(rows=rows, runs=())
    first = advised(results)[0]
    (a, b), *_ = first.pairs

    section = section_of(replace(results, comparisons=compared(make_pair(a, b, ratio=0.5), environment=CPU)))

    assert section is not None
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    (row,) = table.rows
    assert row[2].text == first.command
    assert row[3].text.startswith("measured in pairs here: -50.0 %")
    assert section_of(results) is None
