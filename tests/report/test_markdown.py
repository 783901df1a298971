import re
from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt

from windtunnel.report.document import (
    Callout,
    CalloutKind,
    Cell,
    Column,
    ColumnKind,
    Document,
    Paragraph,
    Section,
    Table,
)
from windtunnel.report.markdown import render_markdown


def document_of(*blocks: Paragraph | Callout | Table) -> Document:
    return Document(title="T", sections=(Section(heading="H", blocks=blocks),))


def test_the_report_is_as_it_was(document: Document, golden: Callable[[str, str], None]):
    golden("report.md", render_markdown(document))


def test_columns_are_padded_and_numbers_stand_right():
    table = Table(
        caption="C",
        columns=(Column(name="size"), Column(name="time", unit="ms", kind=ColumnKind.NUMBER)),
        rows=((Cell(text="a"), Cell(text="1.0")), (Cell(text="longer"), Cell(text="10.0"))),
    )

    text = render_markdown(document_of(table))

    assert text == (
        "# T\n\n## H\n\n**C**\n\n"
        "| size   | time (ms) |\n"
        "| ------ | --------: |\n"
        "| a      |       1.0 |\n"
        "| longer |      10.0 |\n"
    )


def test_a_pipe_does_not_end_an_entry():
    table = Table(caption="C", columns=(Column(name="a"),), rows=((Cell(text="x | y"),),))

    html = MarkdownIt("commonmark").enable("table").render(render_markdown(document_of(table)))

    assert "<td>x | y</td>" in html


@pytest.mark.parametrize(
    "text",
    ["<b>x</b>", "`x`", "*x*", "_x_", "[x](y)", "![x](y)", "~~x~~", "&lt;", "\\", "# x", "- x", "+ x", "1. x", "1) x"],
)
def test_text_is_never_markup(text: str):
    html = (
        MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
        .render(render_markdown(document_of(Paragraph(text=text))))
    )

    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert html.endswith(f"<p>{escaped}</p>\n")


def test_names_with_underscores_stay_readable():
    assert "train_step" in render_markdown(document_of(Paragraph(text="a train_step")))


def test_a_failure_is_a_caution_of_github():
    text = render_markdown(document_of(Callout(kind=CalloutKind.FAILURE, text="2 cells failed")))

    assert text.endswith("> [!CAUTION]\n> 2 cells failed\n")


def test_a_hostile_record_makes_no_html(hostile: Document):
    html = MarkdownIt("commonmark").enable("table").render(render_markdown(hostile))

    assert "<script" not in html
    assert all(code.startswith("windtunnel ") for code in re.findall("<code>(.*?)</code>", html, re.DOTALL))
    assert 'href="javascript' not in html
    assert "<img" not in html
    assert not re.search("[\x00\x1b\u200f\u2028\u202e\u2066]", html)
