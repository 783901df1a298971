"""The page that sets the published reports beside ours quotes what windtunnel says, and numbers that were measured."""

import itertools
import re
import shlex
from pathlib import Path

import pytest

from calling import CallCli, make_caller
from windtunnel.spec.presets import find_sweep
from windtunnel.spec.sweep import load_sweep

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")
SECTIONS: dict[str, str] = dict(re.findall(r"^## (Report \d{3})\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
H200 = ROOT / "docs" / "results" / "h200"
ASKED = {"000": ("000",), "001": ("001",), "002": ("002",), "003": ("003", "003-pivots")}
"""The pages with the tables that a report of ours has under "Tables as asked", in this order."""
DRAWN = (H200 / "seeds" / "004.md", H200 / "seeds" / "004-others.md")
"""Tables that windtunnel drew from the store itself, in more digits than the report has."""
PROFILES = H200 / "seeds" / "002-profiles.md"
VERDICTS = ("supported", "contradicted", "cannot be told", "cause not measured")

_LINK = re.compile(r"\]\((results/[^)#\s]+\.md)\)")
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*\.\d+(?![\w.])")
_RULE = re.compile(r"[|\s:-]+")


def entries(line: str) -> list[str]:
    """Return the entries of a row of a table."""
    return [entry.strip() for entry in line.strip().strip("|").split("|")]


def rows(text: str) -> list[list[str]]:
    """Return the rows of all tables, without headings and rules."""
    lines = text.splitlines()
    return [
        entries(line)
        for before, line in itertools.pairwise(lines)
        if line.startswith("|") and before.startswith("|") and not _RULE.fullmatch(line)
    ]


def is_sentence(row: list[str]) -> bool:
    """Say whether a row sets a sentence beside what windtunnel says: it ends with two verdicts."""
    return " / " in row[-1]


def plain(text: str) -> str:
    """Return text with one blank between words, as it was before lines were broken."""
    return " ".join(text.split())


def linked(section: str) -> str:
    """Return the text of all results that a section links, without the strokes that Markdown wants before signs."""
    texts = [(ROOT / "docs" / target).read_text(encoding="utf-8") for target in _LINK.findall(section)]
    return re.sub(r"\\([^\w\s])", r"\1", "\n".join(texts))


def quotes_of(section: str) -> list[str]:
    """Return what a section quotes."""
    return [plain(quote) for quote in re.findall(r"“(.*?)”", section, re.DOTALL)]


def said_of(section: str, cli: CallCli) -> str:
    """Return what the audits of a section and the results that it links say."""
    commands = re.findall(r"^windtunnel (audit .*)$", section, re.MULTILINE)
    assert len(commands) >= 2
    return plain("\n".join([cli(*shlex.split(command)).out for command in commands] + [linked(section)]))


def report_of(number: str) -> str:
    """Return our report of the grid of a published one."""
    return (H200 / f"seed-{number}" / "report.md").read_text(encoding="utf-8")


def tables_of(text: str) -> list[tuple[str, list[list[str]]]]:
    """Return the caption of each table that has one, and its lines, the headings first."""
    _, *parts = re.split(r"^\*\*(.+)\*\*$", text, flags=re.MULTILINE)
    return [
        (caption, [entries(line) for line in body.splitlines() if line.startswith("|") and not _RULE.fullmatch(line)])
        for caption, body in zip(parts[::2], parts[1::2], strict=True)
    ]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CallCli:
    monkeypatch.chdir(ROOT)
    return make_caller(monkeypatch, capsys)


def test_each_report_has_its_section() -> None:
    assert list(SECTIONS) == [f"Report 00{number}" for number in range(5)]


@pytest.mark.parametrize("heading", SECTIONS)
def test_what_is_quoted_is_what_windtunnel_says(heading: str, cli: CallCli) -> None:
    section = SECTIONS[heading]
    said = said_of(section, cli)

    quotes = quotes_of(section)

    assert quotes
    assert [quote for quote in quotes if quote not in said] == []


@pytest.mark.parametrize("heading", SECTIONS)
def test_ours_is_judged_by_what_its_report_finds(heading: str) -> None:
    number = heading.removeprefix("Report ")
    section = SECTIONS[heading]
    (findings,) = re.findall(r"^## Answer\n.*?(?=^## Charts$)", report_of(number), re.MULTILINE | re.DOTALL)
    found = plain(re.sub(r"\\([^\w\s])", r"\1", findings))

    judged = [row for row in rows(section) if is_sentence(row) and any(one in found for one in quotes_of(row[2]))]

    assert f"(results/h200/seed-{number}/report.md)" in section
    assert len(judged) >= 2


@pytest.mark.parametrize("heading", SECTIONS)
def test_each_number_of_ours_beside_a_sentence_was_said(heading: str, cli: CallCli) -> None:
    section = SECTIONS[heading]
    said = set(_NUMBER.findall(said_of(section, cli)))

    ours = [number for row in rows(section) if is_sentence(row) for number in _NUMBER.findall(row[2])]

    assert ours
    assert [number for number in ours if number not in said] == []


@pytest.mark.parametrize("heading", SECTIONS)
def test_each_number_of_a_table_of_ours_was_measured(heading: str) -> None:
    section = SECTIONS[heading]
    measured = set(_NUMBER.findall(linked(section)))

    ours = [
        number for row in rows(section) if not is_sentence(row) for entry in row for number in _NUMBER.findall(entry)
    ]

    assert ours
    assert [number for number in ours if number not in measured] == []


@pytest.mark.parametrize("heading", SECTIONS)
def test_each_sentence_has_a_verdict_on_both(heading: str) -> None:
    sentences = [row for row in rows(SECTIONS[heading]) if is_sentence(row)]

    assert len(sentences) >= 5
    assert {len(row) for row in sentences} == {4}
    assert {len(row[-1].split(" / ")) for row in sentences} == {2}
    assert {verdict for row in sentences for verdict in row[-1].split(" / ")} <= set(VERDICTS)


def test_the_page_counts_its_verdicts_right() -> None:
    verdicts = {
        heading: [row[-1].split(" / ") for row in rows(section) if is_sentence(row)]
        for heading, section in SECTIONS.items()
    }
    verdicts["all"] = list(itertools.chain.from_iterable(verdicts.values()))

    for heading, pairs in verdicts.items():
        sides = [[pair[side] for pair in pairs] for side in (0, 1)]
        counts = [" / ".join(str(side.count(verdict)) for side in sides) for verdict in VERDICTS]
        assert f"| {heading.removeprefix('Report ')} | {len(pairs)} | {' | '.join(counts)} |" in PAGE


def test_each_preset_that_the_page_names_draws_tables() -> None:
    names = set(re.findall(r"`windtunnel run (seed-\d{3})`", PAGE))

    assert names == {f"seed-00{number}" for number in range(5)}
    assert all(load_sweep(find_sweep(name)).tables for name in names)


@pytest.mark.parametrize("number", ASKED)
def test_tables_in_a_reports_shape_are_those_that_our_report_draws(number: str) -> None:
    (asked,) = (part for part in report_of(number).split("\n## ") if part.startswith("Tables as asked"))
    pages = [(H200 / "seeds" / f"{name}.md").read_text(encoding="utf-8") for name in ASKED[number]]

    ours = [table for page in pages for table in tables_of(page)]

    assert ours
    assert ours == tables_of(asked)
    assert all(f"](../seed-{number}/report.md)" in page for page in pages)


def test_profiled_steps_have_the_numbers_of_their_report() -> None:
    measured = set(_NUMBER.findall((H200 / "nsys" / "report.md").read_text(encoding="utf-8")))

    ours = [
        number
        for row in rows(PROFILES.read_text(encoding="utf-8"))
        for entry in row
        for number in _NUMBER.findall(entry)
    ]

    assert len(ours) == 12
    assert [number for number in ours if number not in measured] == []


def test_every_table_in_a_reports_shape_is_held_to_a_report() -> None:
    asked = {H200 / "seeds" / f"{name}.md" for names in ASKED.values() for name in names}

    assert {*(H200 / "seeds").glob("*.md")} == {*asked, *DRAWN, PROFILES}


def test_tables_drawn_from_the_store_of_report_004_are_the_rows_of_its_report() -> None:
    report = report_of("004").split("\n## ")
    (complete,) = (part for part in report if part.startswith("Complete results"))
    (memory,) = (part for part in report if part.startswith("Memory by phase"))
    spreads = {
        (*key, row[0].partition("<")[0].strip(), row[1]): [*row[5].split(" ± "), *row[8].split(" ± ")]
        for key, text in captioned(complete)
        for row in rows(text)
    }
    held = {(row[0], row[1], row[2], row[3]): row[4] for row in rows(memory)}

    ours = {
        ((row[2], "fp32") if "backend" in text else key) + (row[1], row[0]): row[-6:-1]
        for path in DRAWN
        for key, text in captioned(path.read_text(encoding="utf-8"))
        for row in rows(text)
    }

    assert len(ours) == 120
    assert ours.keys() == spreads.keys() == held.keys()
    for cell, drawn in ours.items():
        assert all(is_same(*pair) for pair in zip(drawn, [*spreads[cell], held[cell]], strict=True)), cell


def captioned(text: str) -> list[tuple[tuple[str, str], str]]:
    """Return the backend and the precision that captions name, each with the text up to the next caption."""
    _, *parts = re.split(r"^\*\*(.+)\*\*$", text, flags=re.MULTILINE)
    names = [re.sub(r"^seed-004, table 1 · ", "", caption).split(" · ") for caption in parts[::2]]
    return [((name[0], name[min(1, len(name) - 1)]), body) for name, body in zip(names, parts[1::2], strict=True)]


def is_same(one: str, other: str) -> bool:
    """Say whether two texts can be the same number, each rounded to its own digits."""
    shown = [text.replace(",", "") for text in (one, other)]
    slack = sum(0.5 * 10.0 ** -len(text.partition(".")[2]) for text in shown)
    return abs(float(shown[0]) - float(shown[1])) <= slack * (1 + 1e-9)
