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
DRAWN = (H200 / "seeds" / "004.md", H200 / "seeds" / "004-others.md")
"""Tables that windtunnel drew from the store itself, in more digits than the report has."""
TABLES = sorted(set((H200 / "seeds").glob("*.md")) - {*DRAWN})
VERDICTS = ("supported", "contradicted", "cannot be told", "cause not measured")

_LINK = re.compile(r"\]\((results/[^)#\s]+\.md)\)")
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*\.\d+(?![\w.])")


def entries(line: str) -> list[str]:
    """Return the entries of a row of a table."""
    return [entry.strip() for entry in line.strip().strip("|").split("|")]


def rows(text: str) -> list[list[str]]:
    """Return the rows of all tables, without headings and rules."""
    lines = text.splitlines()
    return [
        entries(line)
        for before, line in itertools.pairwise(lines)
        if line.startswith("|") and before.startswith("|") and not re.fullmatch(r"[|\s:-]+", line)
    ]


def is_sentence(row: list[str]) -> bool:
    """Say whether a row sets a sentence beside what windtunnel says: it ends with two verdicts."""
    return " / " in row[-1]


def plain(text: str) -> str:
    """Return text with one blank between words, as it was before lines were broken."""
    return " ".join(text.split())


def linked(section: str) -> str:
    """Return the text of all results that a section links."""
    return "\n".join((ROOT / "docs" / target).read_text(encoding="utf-8") for target in _LINK.findall(section))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CallCli:
    monkeypatch.chdir(ROOT)
    return make_caller(monkeypatch, capsys)


def test_each_report_has_its_section() -> None:
    assert list(SECTIONS) == [f"Report 00{number}" for number in range(5)]


@pytest.mark.parametrize("heading", SECTIONS)
def test_what_is_quoted_is_what_windtunnel_says(heading: str, cli: CallCli) -> None:
    section = SECTIONS[heading]
    commands = re.findall(r"^windtunnel (audit .*)$", section, re.MULTILINE)
    said = plain("\n".join([cli(*shlex.split(command)).out for command in commands] + [linked(section)]))

    quotes = [plain(quote) for quote in re.findall(r"“(.*?)”", section, re.DOTALL)]

    assert len(commands) >= 2
    assert quotes
    assert [quote for quote in quotes if quote not in said] == []


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


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_a_table_in_a_reports_shape_has_the_numbers_of_the_report_that_it_is_from(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    sources = re.findall(r"\]\((\.\./[^)]+|003\.md)\)", text)
    source = "\n".join((path.parent / name).resolve().read_text(encoding="utf-8") for name in sources)
    measured = {float(number.replace(",", "")) for number in _NUMBER.findall(source)}
    in_seconds = "mean (s)" in text

    ours = [float(number.replace(",", "")) for row in rows(text) for entry in row for number in _NUMBER.findall(entry)]

    assert sources
    assert ours
    assert [value for value in ours if round(value * (1000 if in_seconds else 1), 6) not in measured] == []


def test_tables_drawn_from_the_store_of_report_004_are_the_rows_of_its_report() -> None:
    report = (H200 / "seed-004" / "report.md").read_text(encoding="utf-8").split("\n## ")
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
