"""The section of a report that says how cells changed from run to run."""

from dataclasses import replace
from pathlib import Path

from factory import CPU, GPU, make_task
from nightly import TASK, nightly
from reading import column_of, headings_of, section_of, tables_of, texts_of
from windtunnel.analysis.results import load_results
from windtunnel.language import writing_in
from windtunnel.report.build import build_document
from windtunnel.report.document import Document, Figure
from windtunnel.report.sections.history import MOST_DRAWN

HEADING = "From run to run"


def report_of(folder: Path) -> Document:
    return build_document(load_results(folder))


def figures_of(document: Document) -> list[Figure]:
    return [block for block in section_of(document, HEADING).blocks if isinstance(block, Figure)]


def test_three_runs_of_a_cell_have_a_row_with_their_ends(tmp_path: Path):
    nightly(tmp_path, [1.0, 0.0, 1.5])

    document = report_of(tmp_path)

    (table,) = tables_of(document, HEADING)
    assert column_of(table, "cell") == ["training step"]
    assert column_of(table, "runs") == ["3"]
    assert [column_of(table, f"{end} (ms)")[0][:2] for end in ("first", "last")] == ["10", "14"]
    assert column_of(table, "changes of level") == ["not looked for"]
    assert "all other sections show the latest run" in texts_of(section_of(document, HEADING))


def test_two_runs_of_a_cell_are_no_history(tmp_path: Path):
    nightly(tmp_path, [1.0, 1.5])

    assert HEADING not in headings_of(report_of(tmp_path))


def test_only_cells_of_three_runs_have_a_row(tmp_path: Path):
    nightly(tmp_path, [1.0, 1.0, 1.0])
    nightly(tmp_path, [1.0, 1.0], task=make_task(workload="forward"), first=10)

    (table,) = tables_of(report_of(tmp_path), HEADING)

    assert column_of(table, "cell") == ["training step"]


def test_cells_whose_level_changed_are_drawn_first(tmp_path: Path):
    for length in range(8, 8 + 8 * MOST_DRAWN, 8):
        nightly(tmp_path, [1.0, 1.0, 1.0], task=make_task(context_length=length))
    nightly(tmp_path, [1.0] * 20 + [1.2] * 20, task=make_task(context_length=512), first=10)

    document = report_of(tmp_path)

    first, *others = figures_of(document)
    assert first.caption.startswith("context 512: Whole steps by run")
    assert len(first.plotly["layout"]["shapes"]) == 1
    assert len(others) == MOST_DRAWN - 1
    assert len(tables_of(document, HEADING)[0].rows) == MOST_DRAWN + 1


def test_a_new_version_goes_on_in_the_history_of_the_latest(tmp_path: Path):
    newer = replace(CPU, torch="2.13.0")
    nightly(tmp_path, [1.0, 1.0, 1.0], environments=[CPU, CPU, newer])

    document = report_of(tmp_path)

    (heading,) = [heading for heading in headings_of(document) if heading.startswith(HEADING)]
    assert "2.13.0" in heading
    assert column_of(tables_of(document, heading)[0], "runs") == ["3"]


def test_machines_are_not_joined(tmp_path: Path):
    nightly(tmp_path, [1.0, 1.0, 1.0], environments=[CPU, GPU, CPU])

    assert not any(heading.startswith(HEADING) for heading in headings_of(report_of(tmp_path)))


def test_an_earlier_run_that_changes_changes_the_section(tmp_path: Path):
    nightly(tmp_path / "one", [1.0, 1.0, 1.0])
    nightly(tmp_path / "other", [1.0, 1.1, 1.0])

    one, other = (section_of(report_of(tmp_path / name), HEADING) for name in ("one", "other"))

    assert one != other


def test_the_section_is_in_the_language_of_the_report(tmp_path: Path):
    nightly(tmp_path, [1.0] * 20 + [1.2] * 20)

    with writing_in("zh"):
        document = report_of(tmp_path)

    section = section_of(document, "历次运行的变化")
    (table,) = tables_of(document, section.heading)
    assert column_of(table, "运行次数") == ["40"]
    assert column_of(table, "水平的变化")[0].startswith("自 2026-01-21 02:00 起 +")


def test_what_was_asked_for_once_reads_no_repeats(tmp_path: Path):
    nightly(tmp_path, [1.0], task=TASK)

    assert load_results(tmp_path).repeats == ()
