"""The section of comparisons, also in a store that has nothing else."""

from collections.abc import Callable
from dataclasses import replace

from factory import CPU, compared, make_pair, make_record, make_task
from reading import column_of, headings_of, section_of, tables_of, texts_of
from windtunnel.analysis.results import Results, load_results
from windtunnel.records.pair import PairRecord
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import open_store
from windtunnel.report.build import build_document
from windtunnel.report.document import Document
from windtunnel.statistics.paired import Side

EAGER, SDPA = make_task(workload="train_step"), make_task(workload="train_step", attention="sdpa")


def document_of(*records: PairRecord) -> Document:
    return build_document(Results(rows=(), runs=(), comparisons=compared(*records)))


def test_a_store_of_comparisons_only_has_their_section():
    document = document_of(make_pair(EAGER, SDPA))

    assert headings_of(document) == ["Findings", "Comparisons"]
    assert document.title == "Comparisons on NVIDIA H200"


def test_a_store_with_both_has_both_under_its_machine(tmp_path):
    with open_store(tmp_path) as store:
        store.add(make_record(EAGER), CPU)
        store.add_comparison(make_pair(EAGER, SDPA), CPU, CPU)

    document = build_document(load_results(tmp_path))

    assert headings_of(document)[-1] == "Machine"
    assert {"Overview", "First thing to change", "Comparisons"} <= set(headings_of(document))


def test_a_store_without_comparisons_has_no_such_section(report_of: Callable[..., Document]):
    assert "Comparisons" not in headings_of(report_of(make_record(EAGER)))


def test_the_table_has_a_row_for_each_phase_with_its_verdict():
    (table,) = tables_of(document_of(make_pair(EAGER, SDPA, ratio=0.8)), "Comparisons")

    assert column_of(table, "phase") == ["whole step", "forward", "loss", "backward", "optimizer"]
    assert column_of(table, "verdict") == ["faster"] * 5
    assert column_of(table, "pairs") == ["16"] * 5


def test_the_text_says_what_differs_what_is_the_same_and_the_change():
    text = texts_of(section_of(document_of(make_pair(EAGER, SDPA, ratio=0.8, noise=0.0)), "Comparisons"))

    assert "A: attention eager. B: attention sdpa. Both cells in one process" in text
    assert "The same everywhere: tiny, train_step, context 16, batch 4, fp32, warm-up 5." in text
    assert "B takes 20.00 % less time than A in the whole step [-20.00 %, -20.00 %] (16 pairs; " in text


def test_the_same_on_both_sides_is_called_a_check():
    text = texts_of(section_of(document_of(make_pair(EAGER, EAGER)), "Comparisons"))

    assert "A and B are the same, so a difference would be a false alarm." in text


def test_a_grid_names_its_points_and_counts_its_verdicts():
    grid = [
        make_pair(make_task(context_length=length), make_task(context_length=length, attention="sdpa"), ratio=ratio)
        for length, ratio in ((8, 0.5), (16, 1.0), (32, 2.0))
    ]

    document = document_of(*grid)

    (table,) = tables_of(document, "Comparisons")
    assert column_of(table, "cell") == ["context 8", "context 16", "context 32"]
    assert "Whole steps of 3 comparisons: 1 faster, 1 slower, 1 equivalent." in texts_of(
        section_of(document, "Comparisons")
    )


def test_a_failure_says_whose_and_where():
    failure = Failure(stage="build", message="A and B do not fit together: use --pair process")
    failed = make_pair(EAGER, SDPA, status=Status.OUT_OF_MEMORY, failure=failure, failed_side=Side.B)

    text = texts_of(section_of(document_of(failed), "Comparisons"))

    assert "out of memory in build of B: A and B do not fit together: use --pair process" in text


def test_runs_are_told_apart_by_their_time():
    first, second = make_pair(EAGER, SDPA), make_pair(EAGER, SDPA, run_started_at="2026-01-03T00:00:00+00:00")

    document = document_of(first, replace(second, warnings=("B: wide",)))

    section = section_of(document, "Comparisons")
    assert len(tables_of(document, "Comparisons")) == 2
    assert any("2026-01-03 00:00:00 UTC" in getattr(block, "lead", "") for block in section.blocks)
    assert "B: wide" in texts_of(section)
