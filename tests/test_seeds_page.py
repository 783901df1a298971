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
TABLES = sorted((ROOT / "docs" / "results" / "h200" / "seeds").glob("*.md"))
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
