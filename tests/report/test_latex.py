import re
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from windtunnel.report.document import (
    Callout,
    CalloutKind,
    Cell,
    Column,
    ColumnKind,
    Document,
    Figure,
    Paragraph,
    Section,
    Table,
)
from windtunnel.report.latex import render_latex

NUMBER = ColumnKind.NUMBER


def latex_of(*blocks: Paragraph | Callout | Table | Figure) -> str:
    return render_latex(Document(title="T", sections=(Section(heading="H", blocks=blocks),)))


def written(text: str) -> str:
    """Return a text of a record as it stands in the file."""
    (found,) = re.findall(r"^BEGIN(.*)END\\par$", latex_of(Paragraph(text=f"BEGIN{text}END")), flags=re.MULTILINE)
    return found


def test_the_report_is_as_it_was(document: Document, golden: Callable[[str, str], None]):
    golden("report.tex", render_latex(document))


def test_a_report_in_english_is_ascii_so_that_every_engine_compiles_it(document: Document):
    assert render_latex(document).isascii()


def test_a_table_has_rules_a_caption_groups_and_a_note():
    table = Table(
        caption="A & B",
        columns=(
            Column(name="size"),
            Column(name="median", unit="ms", kind=NUMBER, group="step"),
            Column(name="CV", kind=NUMBER, group="step"),
        ),
        rows=((Cell("a_1"), Cell("1.0000"), Cell("5 %")),),
        note="Of 10.",
    )

    text = latex_of(table)

    body = text[text.index(r"\begin{longtable}") : text.index(r"\endgroup")]
    head = (
        "\\toprule\n"
        "\\multicolumn{1}{c}{} & \\multicolumn{2}{c}{step} \\\\\n"
        "\\cmidrule(lr){2-3}\n"
        "\\multicolumn{1}{l}{size} & \\multicolumn{1}{r}{\\shortstack[r]{median\\\\(ms)}} & "
        "\\multicolumn{1}{r}{CV} \\\\\n"
        "\\midrule\n"
    )
    assert body == (
        "\\begin{longtable}{@{}lrr@{}}\n"
        "\\caption{A \\& B}\\\\\n"
        f"{head}\\endfirsthead\n{head}\\endhead\n"
        "\\bottomrule\n\\endlastfoot\n"
        "a\\_1 & 1.0000 & 5 \\% \\\\\n"
        "\\end{longtable}\n"
        "\\par\\noindent Of 10.\\par\n"
    )


def test_a_figure_is_its_text():
    text = latex_of(Figure(caption="Time", plotly={}, alternative="From 1 to 2."))

    assert "\\textbf{Time.} From 1 to 2.\\par" in text


def test_a_callout_says_how_much_it_weighs():
    assert "\\textbf{Failed.} 2 cells\\par" in latex_of(Callout(kind=CalloutKind.FAILURE, text="2 cells"))


def test_another_document_can_take_one_table(document: Document):
    """All but tables is left out where it asks for one, and each table stands behind its number."""
    text = render_latex(document)
    tables = [block for section in document.sections for block in section.blocks if isinstance(block, Table)]

    numbers = re.findall(r"\\fi=(\d+) % Table", text)
    outside = re.sub(r"\\ifnum.*?\\endgroup\n\\fi", "", text, flags=re.DOTALL)
    outside = re.sub(r"^\\ifdefined\\windtunneltable\\else\n.*?\n\\fi\n\n", "", outside, flags=re.DOTALL | re.MULTILINE)

    assert numbers == [str(number) for number in range(1, len(tables) + 1)]
    assert [line for line in outside.splitlines() if line and not line.startswith("%")] == [
        r"\ifdefined\windtunneltable\expandafter\endinput\fi",
        r"\end{document}",
    ]


def test_details_are_left_out_of_a_table_that_is_too_wide():
    columns = tuple(Column(name=f"column {n} " + "x" * 20, is_detail=n > 2) for n in range(9))
    table = Table(caption="C", columns=columns, rows=(tuple(Cell("x") for _ in columns),))

    text = latex_of(table)

    assert "column 2" in text
    assert "column 3" not in text


def test_a_column_of_long_texts_wraps():
    table = Table(caption="C", columns=(Column(name="a"),), rows=((Cell("word " * 30),),))

    assert r"p{.25\linewidth}" in latex_of(table)


COMMAND = re.compile(r"\\(?:ensuremath\{(?:\\[A-Za-z]+|-|\^\d)\}|[A-Za-z]+\{\}|[{}$&#_%,])|\{\?\}|\{\}")


@given(st.text(st.characters(exclude_categories=["Zs", "Zl", "Zp"]), max_size=40))
def test_no_text_is_a_command_a_group_or_a_comment(text: str):
    """Without what our own table writes, nothing is left that TeX reads as anything but a letter."""
    left = COMMAND.sub("", written(text))

    assert not re.search(r"[\\{}$&#_%^~`'\"<>|]|--|,,", left)


def test_what_a_row_begins_with_is_no_argument_of_the_row_before():
    table = Table(caption="C", columns=(Column(name="a"),), rows=((Cell("x"),), (Cell("[1cm]"),), (Cell("*"),)))

    assert "x \\\\\n{}[1cm] \\\\\n{}* \\\\\n" in latex_of(table)


@given(st.text("abc019.:;()/+=!?@\\{}$&#_%^~<>|\"'`[]*-,±×−", max_size=40))
def test_text_survives_its_escaping(text: str):
    names = {
        "textbackslash": "\\",
        "textasciicircum": "^",
        "textasciitilde": "~",
        "textless": "<",
        "textgreater": ">",
        "textbar": "|",
        "textquotedbl": '"',
        "textquotesingle": "'",
        "textasciigrave": "`",
        r"\pm": "±",
        r"\times": "×",
        "-": "−",
    }

    def read(match: re.Match[str]) -> str:
        found = match[0]
        if found == "{}":
            return ""
        if found.startswith(r"\ensuremath"):
            return names[found[12:-1]]
        return names[found[1:-2]] if found.endswith("{}") else found[1]

    assert COMMAND.sub(read, written(text)) == text


def test_a_hostile_record_is_text(hostile: Document):
    text = render_latex(hostile)

    assert r"\textbackslash{}input\{/etc/passwd\}\%\$\&\#" in text
    assert r"\input{/etc" not in text
    assert not re.search("[\x00\x1b\u200f\u2028\u202e\u2066]", text)
