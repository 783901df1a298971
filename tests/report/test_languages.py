"""Reports in other languages: the whole of them, verified like English ones, and a language is one file."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calling import CallCli, make_caller
from published import FOLDER, SEEDS
from reading import printed
from searching import asked as asked_for_largest
from searching import searched
from tunings import Lab
from tunings import asked as asked_for_fastest
from windtunnel.analysis.results import Results, load_results
from windtunnel.errors import SpecError
from windtunnel.language import current_language, languages, texts_of
from windtunnel.records.store import open_store
from windtunnel.report.build import build_document
from windtunnel.report.displayed import read_report
from windtunnel.report.document import Block, Callout, Document, Figure, Paragraph, Table
from windtunnel.report.html import render_html
from windtunnel.report.latex import render_latex
from windtunnel.report.markdown import render_markdown
from windtunnel.report.verify import Verification, verify
from windtunnel.sweep.trials import tune

PATH = Path("report")


@pytest.fixture(scope="module")
def chinese(full_store: Path) -> Document:
    return build_document(load_results(full_store), language="zh")


@pytest.mark.parametrize(
    ("name", "render"), [("report.zh.md", render_markdown), ("report.zh.tex", render_latex), ("report.zh.txt", printed)]
)
def test_the_chinese_report_is_as_it_was(
    grid: Results, golden: Callable[[str, str], None], name: str, render: Callable[[Document], str]
):
    golden(name, render(build_document(grid, language="zh")))


def test_the_chinese_page_is_as_it_was(grid: Results, golden: Callable[[str, str], None]):
    page = render_html(build_document(grid, language="zh"))
    shown = re.sub(r"(<style>|<script>).*?(</style>|</script>)", r"\1…\2", page, flags=re.DOTALL)
    shown = re.sub(r'(id="plotly">)[^<]*', r"\1…", shown)

    golden("report.zh.html", re.sub(r"sha256-[\w+/=]+", "sha256-…", shown))


def test_the_chinese_report_of_attention_is_as_it_was(attention_results: Results, golden: Callable[[str, str], None]):
    golden("attention.zh.md", render_markdown(build_document(attention_results, language="zh")))


def test_a_page_and_its_ledger_name_the_language(chinese: Document):
    page = render_html(chinese)

    assert '<html lang="zh-Hans">' in page
    assert read_report(page, PATH).ledger.language == "zh"
    assert current_language() == "en"


def test_the_same_sections_tables_and_rows_are_there_in_each_language(full_store: Path, chinese: Document):
    english = build_document(load_results(full_store))

    assert shape_of(chinese) == shape_of(english)


def shape_of(document: Document) -> list[list[tuple[str, int]]]:
    return [
        [(type(block).__name__, len(block.rows) if isinstance(block, Table) else 0) for block in section.blocks]
        for section in document.sections
    ]


DATA = (
    *("A small grid", "A course's grid", "A clean machine", "A CPU", "NVIDIA H200", "git commit"),
    *("CUDA out of memory", "a planted allocator", "layer norm", "mine.py:3 in forward", "logits float"),
    *("GiB asked for", "GiB free"),
    *(f"what is inside {phase}" for phase in ("forward_backward", "forward", "loss", "backward", "optimizer", "step")),
)
"""What fixtures say in records, and what others call their things."""
_WORDS = re.compile(r"[A-Za-z][A-Za-z_'’-]*(?: [A-Za-z][A-Za-z_'’-]*)+")
_COMMAND = re.compile(r"windtunnel [a-z]+(?: (?:--)?[\w.\"/-]+)*|--[\w-]+(?: [\w.,-]+)?")


def english_in(text: str) -> set[str]:
    """Return runs of two English words or more that are neither data nor a command."""
    for known in DATA:
        text = text.replace(known, "")
    return set(_WORDS.findall(_COMMAND.sub("", text)))


def texts_in(document: Document) -> Iterator[str]:
    """Yield every text that a format may show, charts and descriptions of columns among them."""
    yield document.title
    for section in document.sections:
        yield section.heading
        for block in section.blocks:
            yield from of_block(block)


def of_block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph() | Callout():
            yield block.text
            yield getattr(block, "lead", "")
        case Table():
            yield from (block.caption, block.note)
            for column in block.columns:
                yield from (column.name, column.unit, column.description, column.group)
            yield from (cell.text for row in block.rows for cell in row)
        case Figure():
            yield from (block.caption, block.alternative)
            yield from of_chart(block.plotly)


SHOWN = {"name", "text", "labels", "customdata", "x", "y"}


def of_chart(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, str) and key in SHOWN:
        yield value
    elif isinstance(value, Mapping):
        for name, entry in cast("Mapping[str, Any]", value).items():
            yield from of_chart(entry, name)
    elif isinstance(value, list | tuple):
        for entry in cast("list[Any]", value):
            yield from of_chart(entry, key)


def test_no_sentence_of_a_chinese_report_is_english(grid: Results, attention_results: Results, chinese: Document):
    documents = [chinese, *(build_document(results, language="zh") for results in (grid, attention_results))]

    texts = {text for document in documents for text in texts_in(document)}

    assert len(texts) > 1000
    assert {text: found for text in texts if (found := english_in(text))} == {}


def test_no_sentence_of_a_chinese_search_is_english(tmp_path: Path):
    lab = Lab({"eager": 25.0, "sdpa": 10.0, "flash-eager": 11.0})
    tune(asked_for_fastest(), store=tmp_path / "tune", launch=lab.launch, launch_at=lab.launch)
    broken = searched(tmp_path / "fit", asked_for_largest(), broken=frozenset({14}))
    documents = [build_document(results, language="zh") for results in (load_results(tmp_path / "tune"), broken)]

    texts = {text for document in documents for text in texts_in(document)}

    assert any("最快（初测时每步" in text for text in texts)
    assert any("放得下的最大" in text for text in texts)
    assert {text: found for text in texts if (found := english_in(text))} == {}


def test_the_search_for_english_finds_it():
    assert english_in("前向 takes longer 后") == {"takes longer"}
    assert english_in("请运行 windtunnel step --size small --mode forward") == set()


def verified(said: str, document: Document) -> Verification:
    render = render_html if said.startswith("<!doctype") else render_markdown
    return verify(read_report(said, PATH), read_report(render(document), PATH))


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_a_chinese_report_is_what_its_store_gives(
    full_store: Path, chinese: Document, render: Callable[[Document], str]
):
    again = build_document(load_results(full_store), language="zh")

    found = verified(render(chinese), again)

    assert found.is_true
    assert found.sentences > 30
    assert found.cells > 500


@given(seed=st.integers(0, 10_000))
def test_no_digit_of_a_chinese_report_changes_unseen(seed: int, chinese: Document):
    random = Random(seed)
    given = read_report(render_markdown(chinese), PATH)
    shown = given.shown
    places = [
        (s, b, match.start())
        for s, section in enumerate(shown.sections)
        for b, block in enumerate(section.blocks)
        if isinstance(block, str)
        for match in re.finditer(r"\d", block)
    ]
    at_section, at_block, place = random.choice(places)
    section = shown.sections[at_section]
    text = section.blocks[at_block]
    assert isinstance(text, str)
    digit = str((int(text[place]) + random.randint(1, 9)) % 10)
    blocks = list(section.blocks)
    blocks[at_block] = text[:place] + digit + text[place + 1 :]
    sections = list(shown.sections)
    sections[at_section] = replace(section, blocks=tuple(blocks))

    found = verify(replace(given, shown=replace(shown, sections=tuple(sections))), given)

    assert found.difference is not None
    assert section.heading in found.difference.where


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A language that is one more file: Chinese, of which each word of a whole step is marked."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for file in (resources.files("windtunnel") / "texts").iterdir():
        (folder / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    text = (folder / "zh.toml").read_text(encoding="utf-8")
    marked = text.replace('"Overview" = "概览"', '"Overview" = "XX"').replace('language = "zh-Hans"', 'language = "xx"')
    (folder / "xx.toml").write_text(marked, encoding="utf-8")
    monkeypatch.setattr("windtunnel.language.resources.files", lambda package: tmp_path)
    for cached in (languages, texts_of):
        cached.cache_clear()
    yield "xx"
    monkeypatch.undo()
    for cached in (languages, texts_of):
        cached.cache_clear()


def test_a_third_language_is_one_file(full_store: Path, third: str):
    results = load_results(full_store)

    document = build_document(results, language=third)

    assert document.sections[0].heading == "XX"
    assert [one.heading for one in document.sections[1:]] == [
        one.heading for one in build_document(results, language="zh").sections[1:]
    ]
    assert '<html lang="xx">' in render_html(document)
    assert printed(document).count("XX")


def test_an_unknown_language_is_an_error_that_names_those_there_are(
    grid: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cli: CallCli = make_caller(monkeypatch, capsys)

    with pytest.raises(SpecError, match="unknown language 'fr'; known: en, zh"):
        build_document(grid, language="fr")
    for command in (("report", str(tmp_path / "grid")), ("audit", "nothing.md")):
        outcome = cli(*command, "--lang", "fr")

        assert outcome.code == 2
        assert "unknown language 'fr'; known: en, zh" in outcome.err


def test_the_commands_write_and_verify_a_chinese_report(
    full_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cli: CallCli = make_caller(monkeypatch, capsys)

    written = cli("report", str(full_store), "--lang", "zh")
    checked = [
        cli("verify", str(full_store / "report" / f"report.{end}"), "--store", str(full_store))
        for end in ("html", "md")
    ]

    assert written.code == 0
    assert "概览" in written.out
    assert [(one.code, one.out.startswith("verified: ")) for one in checked] == [(0, True)] * 2
    with open_store(full_store) as store:
        rows = store._connection.execute("SELECT language FROM claims").fetchall()
    assert rows == [("zh",)]


_ENGLISH = re.compile(r" (?:the|is|are|in|with|and|than|takes) ")
"""Words that stand in nearly every English sentence, and in no name of these tables."""


@pytest.mark.parametrize("name", SEEDS)
def test_the_audit_of_a_published_table_is_chinese(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cli: CallCli = make_caller(monkeypatch, capsys)

    said = cli("audit", str(FOLDER / f"{name}.md"), "--batch", "4", "--unit", "ms", "--lang", "zh").out

    assert "读懂了什么" in said
    assert _ENGLISH.findall(without_commands(said)) == []


def without_commands(text: str) -> str:
    """Return text without commands, which end where the next line that is no part of them begins."""
    return re.sub(r"windtunnel [^\u4e00-\u9fff]*", "", text)


def test_a_gate_and_a_history_are_chinese(
    full_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cli: CallCli = make_caller(monkeypatch, capsys)

    said = [
        cli(*words, "--lang", "zh").out
        for words in (("gate", str(full_store), str(full_store)), ("history", str(full_store)))
    ]

    assert [len(re.findall("[\u4e00-\u9fff]", one)) > 100 for one in said] == [True, True]
    assert [_ENGLISH.findall(one) for one in said] == [[], []]
