"""What `verify` compares: both formats, sentence by sentence, cell by cell, finding by finding, record by record."""

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windtunnel.analysis.results import load_results
from windtunnel.errors import SpecError
from windtunnel.report.build import build_document
from windtunnel.report.displayed import ShownTable, read_displayed, read_report
from windtunnel.report.document import Document
from windtunnel.report.html import packed_plotly, render_html
from windtunnel.report.markdown import render_markdown
from windtunnel.report.verify import Verification, verify

RENDERERS = {"html": render_html, "md": render_markdown}
PATH = Path("report")


def verified(said: str, document: Document) -> Verification:
    render = RENDERERS["html" if said.startswith("<!doctype") else "md"]
    return verify(read_report(said, PATH), read_report(render(document), PATH))


@pytest.fixture(params=RENDERERS)
def render(request: pytest.FixtureRequest) -> Callable[[Document], str]:
    return RENDERERS[request.param]


def test_a_report_is_what_its_store_gives(full_store: Path, render: Callable[[Document], str]):
    document = build_document(load_results(full_store))

    found = verified(render(document), document)

    assert found.is_true
    assert found.sentences > 30
    assert found.cells > 500
    assert found.findings > 10
    assert found.records > 20


def test_both_formats_show_the_same_tables(full_store: Path):
    document = build_document(load_results(full_store))

    tables = [
        [
            (len(block.rows), len(block.rows[0]) if block.rows else 0)
            for section in read_displayed(render(document)).sections
            for block in section.blocks
            if isinstance(block, ShownTable)
        ]
        for render in RENDERERS.values()
    ]

    assert tables[0] == tables[1]
    assert len(tables[0]) > 5


def test_one_digit_of_a_cell_is_found_with_its_place(full_store: Path, render: Callable[[Document], str]):
    document = build_document(load_results(full_store))
    (section,) = (one for one in document.sections if one.heading == "Complete results")
    table = next(block for block in section.blocks if getattr(block, "caption", "").startswith("Complete results"))
    place = next(number for number, column in enumerate(table.columns) if column.name == "median")
    rows = list(table.rows)
    row = list(rows[4])
    row[place] = row[place]._replace(text=row[place].text.replace(row[place].text[-1], "x"))
    rows[4] = tuple(row)
    blocks = tuple(replace(block, rows=tuple(rows)) if block is table else block for block in section.blocks)
    changed = tuple(replace(one, blocks=blocks) if one is section else one for one in document.sections)

    found = verified(render(replace(document, sections=changed)), document)

    assert found.difference is not None
    assert "section 'Complete results', table 'Complete results, 18 cells', row 5" in found.difference.where
    assert "column 'median" in found.difference.where
    assert "x" in found.difference.said


def test_one_word_of_a_sentence_is_found(full_store: Path, render: Callable[[Document], str]):
    document = build_document(load_results(full_store))

    found = verified(render(document).replace("which is ", "which was ", 1), document)

    assert found.difference is not None
    assert "which was" in found.difference.said
    assert "which is" in found.difference.given


def test_a_sentence_that_was_taken_out_is_missed(full_store: Path, render: Callable[[Document], str]):
    document = build_document(load_results(full_store))
    sections = tuple(one for one in document.sections if one.heading != "Not measured")

    found = verified(render(replace(document, sections=sections)), document)

    assert found.difference is not None
    assert found.difference.given == "Not measured"


def test_a_number_of_the_ledger_alone_is_found(full_store: Path, render: Callable[[Document], str]):
    document = build_document(load_results(full_store))
    ledger = json.loads(document.claims)
    ledger["scopes"][0]["findings"][0]["numbers"]["count"] = 7

    found = verified(render(replace(document, claims=json.dumps(ledger))), document)

    assert found.difference is not None
    assert found.difference.where.startswith("claim ledger, scope")


TAMPERED = {
    "html": (
        ('aria-hidden="true">Complete results', 'aria-hidden="true">Every result'),
        ("</h2>", "</h2><div>small takes 1 ms</div>"),
        ('<main id="content" tabindex="-1">', '<main id="content" tabindex="-1"><p>small takes 1 ms</p>'),
        ("</style>", "section p{display:none}</style>"),
        ("<p>", "<p hidden>"),
        ("<title>", "<title>Best "),
        ("<footer>", "<footer>Best "),
        (' data-v="', ' data-v="1'),
        ('<span class="rows">[<a href="#', '<span class="rows">[<a href="#x'),
        ('"language":"en"', '"extra":"made up","language":"en"'),
    ),
    "md": (
        ("## ", "small takes 1 ms\n\n## "),
        ("# ", "# Best\n\n# "),
        ('<a id="', '<a id="x'),
        ('"language":"en"', '"extra":"made up","language":"en"'),
    ),
}


@pytest.mark.parametrize(("format", "old", "new"), [(one, *edit) for one in TAMPERED for edit in TAMPERED[one]])
def test_an_edit_around_the_sentences_is_found_by_its_line(full_store: Path, format: str, old: str, new: str):
    document = build_document(load_results(full_store))
    text = RENDERERS[format](document)
    assert old in text

    found = verified(text.replace(old, new, 1), document)

    assert found.difference is not None
    assert not found.changed


def test_what_follows_the_ledger_is_found(full_store: Path, render: Callable[[Document], str]):
    document = build_document(load_results(full_store))

    found = verified(f"{render(document)}\n## Errata\n\nsmall takes 1 ms\n", document)

    assert found.difference is not None
    assert "of the file" in found.difference.where
    assert found.difference.given == "nothing"


@settings(max_examples=300)
@given(data=st.data())
def test_no_character_of_a_report_changes_unseen(full_store: Path, data: st.DataObject):
    given = read_report(render_markdown(build_document(load_results(full_store))), PATH)
    place = data.draw(st.integers(0, len(given.text) - 2))
    other = data.draw(st.characters(exclude_characters=given.text[place], exclude_categories=["Cs"]))
    try:
        said = read_report(given.text[:place] + other + given.text[place + 1 :], PATH)
    except SpecError:
        return

    assert not verify(said, given).is_true


def test_another_plotly_is_no_difference_but_is_said(full_store: Path):
    document = build_document(load_results(full_store))
    page = render_html(document)
    packed, source = packed_plotly().base64_gzip, packed_plotly().source
    assert packed in page
    assert source in page
    other = base64.b64encode(gzip.compress(b"plotly of another version")).decode()

    found = verified(page.replace(packed, other).replace(source, "'sha256-another'"), document)

    assert found.is_true
    assert found.brings_another_plotly
    assert not verified(page, document).brings_another_plotly


@pytest.mark.parametrize("packed", ["", "abc", "!", base64.b64encode(b"no gzip").decode()])
def test_a_plotly_that_cannot_be_unpacked_is_another(full_store: Path, packed: str):
    document = build_document(load_results(full_store))

    found = verified(render_html(document).replace(packed_plotly().base64_gzip, packed), document)

    assert found.brings_another_plotly


@pytest.mark.parametrize("kind", ["comparison", "memory", "formats", "profile", "environment", "calibration"])
def test_whatever_a_report_rests_on_has_its_hash(full_store: Path, kind: str):
    ledger = json.loads(build_document(load_results(full_store)).claims)

    records = ledger["scopes"][0]["records"]

    assert [digest for key, digest in records.items() if key.startswith(kind)]
    assert all(len(digest) == 16 for digest in records.values())


def ledger_page(**fields: object) -> str:
    ledger = {"format": 1, "windtunnel": "1", "language": "en", "selection": "", "runs": {}, "scopes": []} | fields
    return f"# A page\n\n<!-- windtunnel claims {json.dumps(ledger)} -->\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# A page\n\nwithout anything\n", "no claim ledger"),
        ('# A page\n\n<!-- windtunnel claims {"format":1, -->\n', "cannot be read"),
        ("# A page\n\n<!-- windtunnel claims {} -->\n", "format: Field required"),
        ('# A page\n\n<!-- windtunnel claims ["format","runs","scopes"] -->\n', "should be"),
        (ledger_page(runs=[]), "runs: Input should be an object"),
        (ledger_page(scopes="abc"), "scopes: Input should be"),
        (ledger_page(scopes=[{"name": "x", "machine": "y", "findings": ["z"], "records": {}}]), "scopes.0.findings.0"),
    ],
)
def test_a_report_without_a_ledger_is_refused(text: str, message: str):
    with pytest.raises(SpecError, match=message):
        read_report(text, PATH)


def test_nothing_of_a_ledger_ends_its_comment_or_its_script():
    document = Document(title="x", sections=(), claims=json.dumps({"a": "--><!-- </script><script>", "b": "---"}))

    for render in RENDERERS.values():
        assert json.loads(read_displayed(render(document)).claims) == json.loads(document.claims)
    assert "<script>" not in render_markdown(document)
