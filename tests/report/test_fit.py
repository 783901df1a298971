"""What a report says of searches."""

from pathlib import Path

import plotly.graph_objects

from factory import GPU, make_record, make_results, make_task
from reading import section_of
from searching import GIB, LAST, asked, searched
from windtunnel.report.build import build_document
from windtunnel.report.document import Callout, Document, Figure, Paragraph, Table
from windtunnel.report.write import write_report


def texts(document: Document, kind: type, heading: str = "What fits") -> list[str]:
    return [block.text for block in section_of(document, heading).blocks if isinstance(block, kind)]


def tables(document: Document) -> list[Table]:
    return [block for block in section_of(document, "What fits").blocks if isinstance(block, Table)]


def test_the_table_has_ends_failure_prediction_and_probes(tmp_path: Path):
    table, _ = tables(build_document(searched(tmp_path, asked())))

    row = {column.name: cell.text for column, cell in zip(table.columns, table.rows[0], strict=True)}
    assert row["largest that fits"] == "1300"
    assert row["smallest that does not"] == "1400"
    assert (row["in"], row["asked for"], row["free"]) == ("backward", "2.00 GiB", "1.00 GiB")
    assert (row["predicted"], row["error"]) == ("1500", "+15.4 %")


def test_the_heat_map_and_its_table_have_sizes_across(tmp_path: Path):
    document = build_document(searched(tmp_path, asked()))

    (figure,) = (block for block in section_of(document, "What fits").blocks if isinstance(block, Figure))
    _, table = tables(document)
    (trace,) = figure.plotly["data"]

    plotly.graph_objects.Figure(figure.plotly)  # raises ValueError where it does not follow the schema
    assert trace["x"] == ["small", "xl"]
    assert trace["y"] == ["attention eager", "attention sdpa"]
    assert trace["text"] == [["1300", "100"], ["2100", "≥ 3200"]]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["attention eager", "1300", "100"],
        ["attention sdpa", "2100", "≥ 3200"],
    ]


def test_a_line_of_which_nothing_fits_is_said(tmp_path: Path):
    results = searched(tmp_path, asked(), LAST | {("xl", "eager"): -1})

    document = build_document(results)

    assert "xl · attention eager: already the smallest that was tried, 100, does not fit." in texts(document, Callout)
    assert any(cell.text == "none" and cell.is_failure for row in tables(document)[0].rows for cell in row)


def test_a_line_of_which_all_fits_says_how_to_go_on(tmp_path: Path):
    said = texts(build_document(searched(tmp_path, asked())), Callout)

    assert said == ["xl · attention sdpa: 3200 fits, and no more was asked for: the end is further out (--most)."]


def test_what_failed_once_and_fitted_later_is_said(tmp_path: Path):
    said = texts(build_document(searched(tmp_path, asked(), predicted=None, flaky=frozenset({12}))), Callout)

    assert any(
        "small · attention eager: 1300 ran out of memory once and fitted when tried again" in text for text in said
    )


def test_a_line_that_broke_says_at_what_and_why(tmp_path: Path):
    said = texts(build_document(searched(tmp_path, asked(), broken=frozenset({14}))), Callout)

    assert any("1500 failed for another reason than memory" in text and "crashed in warmup" in text for text in said)


def test_where_only_something_else_failed_what_fits_is_not_known(tmp_path: Path):
    document = build_document(searched(tmp_path, asked(), broken=frozenset({14})))

    said = texts(document, Callout)
    table, heat = tables(document)
    row = {column.name: cell for column, cell in zip(table.columns, table.rows[0], strict=True)}
    assert (row["largest that fits"].text, row["largest that fits"].is_failure) == ("not known", True)
    assert heat.rows[0][1].text == "not known"
    assert any("what fits is not known, as 1500 failed for another reason than memory: crashed" in one for one in said)


def test_a_search_that_was_stopped_before_anything_fitted_does_not_say_that_nothing_does(tmp_path: Path):
    document = build_document(searched(tmp_path, asked(), dict.fromkeys(LAST, -1), ends=False))

    column = [one.name for one in tables(document)[0].columns].index("largest that fits")
    assert {row[column].text for row in tables(document)[0].rows} == {"not known"}


def test_memory_that_is_missing_afterwards_is_said(tmp_path: Path):
    said = texts(build_document(searched(tmp_path, asked(), missing=3 * GIB)), Callout)

    assert any("3.00 GiB less were free on the device than before" in text for text in said)


def test_the_limit_and_the_range_are_said(tmp_path: Path):
    (text,) = texts(build_document(searched(tmp_path, asked(memory_limit="24GiB"))), Paragraph)

    assert "fits into 24.0 GiB of the 140 GiB of this device" in text
    assert "in steps of 100 up to 3,200" in text


def test_probes_stand_in_no_table_of_times(tmp_path: Path):
    searched(tmp_path, asked())
    timed = make_record(make_task(device="cuda:0"))

    document = build_document(make_results(tmp_path, [(timed, GPU)]))

    headings = [section.heading for section in document.sections]
    assert "What fits, what fits of models, NVIDIA H200" in headings
    overview = section_of(document, "Overview, steps of models, NVIDIA H200")
    assert any("1 cell, all measured" in block.text for block in overview.blocks if isinstance(block, Paragraph))


def test_every_probe_is_in_the_report(tmp_path: Path):
    results = searched(tmp_path, asked())

    (table,) = section_of(build_document(results), "Probes").blocks

    assert isinstance(table, Table)
    assert len(table.rows) == len(results.rows)


def test_the_report_is_written_with_its_heat_map(tmp_path: Path):
    results = searched(tmp_path / "store", asked())

    html, markdown = write_report(results, tmp_path / "report")

    assert '"heatmap"' in html.read_text()
    assert "Largest context that fits, by size" in markdown.read_text()
