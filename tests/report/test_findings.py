"""The findings on the page: their order, their links, and that no two of them contradict."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from calling import CallCli, make_caller
from factory import CPU, GPU, make_pair, make_record, make_results, make_task
from measured_grids import clean_records, write_grid
from profiles import make_profile
from reading import headings_of, printed, section_of, texts_of
from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.measured import Measured
from windtunnel.analysis.results import load_results
from windtunnel.analysis.rules import own
from windtunnel.errors import ContradictionError
from windtunnel.records.store import open_store
from windtunnel.report.anchors import shown_key, with_anchors
from windtunnel.report.build import build_document
from windtunnel.report.document import Callout, Cell, Column, Document, Paragraph, Section, Table
from windtunnel.report.html import render_html
from windtunnel.report.markdown import render_markdown


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Document:
    folder = write_grid(tmp_path_factory.mktemp("grid"), clean_records(3, contexts=(256, 512)))
    with open_store(folder) as store:
        a, b = (make_task(size="small", device="cuda:0", compile=compile) for compile in ("off", "default"))
        store.add_comparison(make_pair(a, b, ratio=0.5), GPU, GPU)
        store.add_look(make_profile(), GPU)
    return build_document(load_results(folder))


def sentences_of(document: Document) -> list[Paragraph | Callout]:
    headings = {"Answer", "First thing to change", "Findings", "Not measured"}
    sections = [section for section in document.sections if section.heading in headings]
    return [block for section in sections for block in section.blocks if isinstance(block, Paragraph | Callout)]


def test_the_page_goes_from_the_question_to_the_method(page: Document):
    headings = headings_of(page)

    wanted = ["Overview", "Answer", "First thing to change", "Findings", "Charts", "Not measured", "Method"]
    assert [heading for heading in headings if heading in wanted] == wanted


def test_the_answer_has_three_sentences_at_most_and_nothing_is_said_twice(page: Document):
    said = [block.text for block in sentences_of(page)]

    assert 1 <= len(section_of(page, "Answer").blocks) <= 3
    assert len(set(said)) == len(said)


def test_the_first_change_carries_the_command_that_tests_it(page: Document):
    (advice,) = section_of(page, "First thing to change").blocks

    assert isinstance(advice, Paragraph)
    assert advice.command.startswith("windtunnel compare --size small")
    assert advice.text.startswith("With --compile default the time of a step of ")


def test_each_sentence_of_what_was_not_measured_has_its_command(page: Document):
    assert all(block.command for block in section_of(page, "Not measured").blocks if isinstance(block, Paragraph))


@pytest.mark.parametrize(
    ("render", "links", "ids"),
    [
        (render_html, r'<a href="#(r-[^"]+)"', r'<tr id="(r-[^"]+)"'),
        (render_markdown, r"\]\(#(r-[^)]+)\)", r'<a id="(r-[^"]+)"></a>'),
    ],
)
def test_each_link_leads_to_one_row_of_the_page(
    page: Document, render: Callable[[Document], str], links: str, ids: str
):
    text = render(page)

    there = re.findall(ids, text)
    assert set(re.findall(links, text)) <= set(there)
    assert len(set(there)) == len(there) > 10
    assert {"comparison", "profile"} <= {identity.split("-")[2] for identity in there}


def test_a_link_to_a_row_that_is_not_on_the_page_is_left_out():
    table = Table(caption="t", columns=(Column(name="a"),), rows=((Cell("x"),), (Cell("y"),)), keys=("here", "here"))
    sentence = Paragraph(text="s", evidence=("here", "elsewhere", "here"))

    (section,) = with_anchors(Document(title="", sections=(Section(heading="", blocks=(sentence, table)),))).sections

    assert [getattr(block, "evidence", ()) for block in section.blocks] == [("here",), ()]
    assert section.blocks[1] == replace(table, keys=("here", ""))


def test_a_terminal_shows_the_commands(page: Document):
    assert "windtunnel profile --size" in printed(page, width=200)


def test_machines_are_never_merged(tmp_path: Path):
    records = [(make_record(make_task(), milliseconds=[ms] * 5), place) for ms, place in ((10.0, CPU), (90.0, GPU))]
    document = build_document(make_results(tmp_path, records))

    answers = [texts_of(section) for section in document.sections if section.heading.startswith("Answer")]

    assert len(answers) == 2
    assert "10.0 ms" in answers[0]
    assert "90.0 ms" not in answers[0]


def contradict(measured: Measured) -> list[Finding]:
    row = measured.rows[0]
    return [
        Finding(
            kind="time",
            claim="step_takes",
            subject=row.cell.workload,
            numbers={"name": "it", "seconds": 1.0, "low_seconds": 1.0, "high_seconds": 1.0, "n": 3, "clock": "host"},
            evidence=(row.key[:12],),
            strength=Strength.MEASURED,
        )
    ]


def test_findings_that_contradict_are_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cli: CallCli = make_caller(monkeypatch, capsys)
    results = make_results(tmp_path / "s", [(make_record(make_task()), CPU)])
    monkeypatch.setattr("windtunnel.analysis.judge.OWN_RULES", {**own.OWN_RULES, "liar": contradict})

    with pytest.raises(ContradictionError, match="two findings about time of 'forward' contradict"):
        build_document(results)
    outcome = cli("report", str(tmp_path / "s"), "--format", "md,terminal")

    assert outcome.code == 2
    assert "takes" not in outcome.out
    assert not (tmp_path / "s" / "report").exists()


def test_a_link_is_called_by_the_digits_of_what_it_leads_to():
    assert shown_key("2acb7e-profile f6d416881da9") == "f6d41688"
    assert shown_key("9e8879-4b6d4bcaa81c") == "4b6d4bca"
