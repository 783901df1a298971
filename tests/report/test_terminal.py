from collections.abc import Callable

from reading import printed
from windtunnel.report.document import Cell, Column, ColumnKind, Document, Section, Table


def test_the_output_is_as_it_was(document: Document, golden: Callable[[str, str], None]):
    golden("terminal.txt", printed(document))


def test_a_long_table_ends_early_and_says_so(document: Document):
    assert "and 16 more rows, in the report's files" in printed(document, max_rows=2)


def test_details_are_left_to_the_files(document: Document):
    text = printed(document)

    assert "Complete results" in text
    assert "Results by size" not in text


def test_a_number_is_never_cut_off():
    table = Table(
        caption="C",
        columns=tuple(Column(name="n", kind=ColumnKind.NUMBER) for _ in range(4)),
        rows=(tuple(Cell(text="123456789") for _ in range(4)),),
    )

    text = printed(Document(title="T", sections=(Section(heading="H", blocks=(table,)),)), width=24)

    assert "…" not in text
    assert "".join(character for character in text if character.isdigit()).count("9") == 4


def test_where_words_must_break_only_those_of_the_widest_column_do():
    row = (Cell("aten::scaled_dot_product"), Cell("bookkeeping"), Cell("3.8e-04"), Cell("5"))
    kinds = (ColumnKind.TEXT, ColumnKind.TEXT, ColumnKind.NUMBER, ColumnKind.NUMBER)
    columns = tuple(Column(name=name, kind=kind) for name, kind in zip("abcd", kinds, strict=True))
    table = Table(caption="C", columns=columns, rows=(row,))

    text = printed(Document(title="T", sections=(Section(heading="H", blocks=(table,)),)), width=36)

    assert {"bookkeeping", "3.8e-04", "5"} <= set(text.split())


def test_a_header_is_never_cut_off():
    columns = tuple(Column(name=name, kind=ColumnKind.NUMBER) for name in ("parameters", "launches", "predicted"))
    table = Table(caption="C", columns=columns, rows=(tuple(Cell(text="1") for _ in columns),))

    text = printed(Document(title="T", sections=(Section(heading="H", blocks=(table,)),)), width=20)

    assert "…" not in text


def test_a_hostile_record_cannot_steer_the_terminal(hostile: Document):
    text = printed(hostile)

    assert "\x1b" not in text


def test_text_in_brackets_is_no_markup_of_rich():
    table = Table(caption="[bold]C[/]", columns=(Column(name="[red]a"),), rows=((Cell(text="[/]"),),))

    text = printed(Document(title="[b]T", sections=(Section(heading="[i]H", blocks=(table,)),)))

    assert all(part in text for part in ("[bold]C[/]", "[red]a", "[/]", "[b]T", "[i]H"))


def test_details_are_left_out_of_a_table_where_not_all_columns_fit_unbroken():
    table = Table(
        caption="C",
        columns=(Column(name="a"), Column(name="b", unit="ms", kind=ColumnKind.NUMBER, is_detail=True)),
        rows=((Cell(text="one two"), Cell(text="12.5")),),
    )
    document = Document(title="T", sections=(Section(heading="H", blocks=(table,)),))

    wide, narrow = printed(document, width=13), printed(document, width=12)

    assert "12.5" in wide
    assert "12.5" not in narrow
    assert "one two" in narrow
    assert "b (ms): in a" in narrow


def test_the_grid_is_one_line_a_cell_in_a_narrow_terminal_too(document: Document):
    lines = printed(document, width=110).splitlines()

    assert len([line for line in lines if line.startswith("wide  forward + backward        5  40")]) == 1
