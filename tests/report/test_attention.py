"""The sections about attention alone, and what keeps it apart from steps of models."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects
import pytest
from markdown_it import MarkdownIt

from factory import (
    CPU,
    GPU,
    compared,
    make_attention_record,
    make_attention_task,
    make_pair,
    make_record,
    make_results,
    make_task,
)
from reading import column_of, headings_of, printed, section_of, tables_of, texts_of
from windtunnel.analysis.results import Results
from windtunnel.records.calibration import Calibration, Ceiling
from windtunnel.records.record import Failure, Kernel, Record, Status
from windtunnel.records.store import Run
from windtunnel.report.build import build_document
from windtunnel.report.document import Callout, CalloutKind, Document, Figure, Section
from windtunnel.report.html import render_html
from windtunnel.report.markdown import render_markdown

Build = Callable[..., Document]

MIB = 2**20


def record(
    *,
    forward: float = 4.0,
    backward: float = 10.0,
    errors: tuple[float, ...] = (),
    failure: Failure | None = None,
    kernels: tuple[Kernel, ...] = (),
    memory: dict[str, int] | None = None,
    fields: dict[str, object] | None = None,
    **task: object,
) -> Record:
    return make_attention_record(
        make_attention_task(**task),
        forward=forward,
        backward=backward,
        errors=errors,
        failure=failure,
        kernels=kernels,
        **(memory or {}),
        **(fields or {}),
    )


def out_of_memory(**task: object) -> Record:
    failure = Failure(stage="measure", phase="backward", message="out", requested_bytes=8 * 2**30, free_bytes=2**30)
    return record(failure=failure, **task)


def callouts_of(section: Section) -> list[str]:
    return [block.text for block in section.blocks if isinstance(block, Callout)]


def test_the_report_is_as_it_was(attention_document: Document, golden: Callable[[str, str], None]):
    golden("attention.md", render_markdown(attention_document))


def test_the_output_is_as_it_was(attention_document: Document, golden: Callable[[str, str], None]):
    golden("attention.txt", printed(attention_document, width=120))


def test_attention_alone_has_its_own_sections(attention_document: Document):
    assert headings_of(attention_document) == [
        "Overview",
        "Answer",
        "First thing to change",
        "Findings",
        "Charts",
        "Comparisons",
        "Backends against one another",
        "Complete results",
        "Rates",
        "Memory by phase",
        "Predicted beside measured",
        "Out of memory",
        "Errors against float64",
        "Kernels that ran",
        "Not measured",
        "Failures",
        "Backends against one another, by phase",
        "Errors of every cell",
        "Predicted beside measured, by phase",
        "Method",
        "Machine",
    ]


def test_steps_of_models_and_attention_alone_share_no_section(report_of: Build):
    document = report_of(record(), make_record(make_task(device="cuda:0")))

    assert headings_of(document)[0] == "Overview, steps of models, NVIDIA H200"
    assert "Complete results, attention alone, NVIDIA H200" in headings_of(document)
    assert document.title == "Step times on NVIDIA H200"


def test_a_comparison_of_attention_stands_with_attention(tmp_path: Path):
    results = make_results(tmp_path, [(make_record(make_task(device="cuda:0")), GPU), (record(), GPU)])
    pair = make_pair(make_attention_task(), make_attention_task(backend="sdpa"))

    document = build_document(replace(results, comparisons=compared(pair)))

    assert [heading for heading in headings_of(document) if heading.startswith("Comparisons")] == [
        "Comparisons, attention alone, NVIDIA H200"
    ]


def test_the_runs_of_a_machine_with_both_are_told_apart_by_their_kind(tmp_path: Path):
    results = make_results(tmp_path, [(make_record(make_task(device="cuda:0")), GPU), (record(), GPU)])
    runs = tuple(
        Run(started_at="2026-01-02T03:04:05+00:00", sweep=sweep, machine=GPU.machine(), summary=None)
        for sweep in ({"name": "grid"}, {"name": "alone", "kind": "attention"})
    )

    document = build_document(replace(results, runs=runs))

    assert "Sweep grid." in texts_of(section_of(document, "Overview, steps of models, NVIDIA H200"))
    assert "Sweep alone." in texts_of(section_of(document, "Overview, attention alone, NVIDIA H200"))


def test_comparisons_of_attention_have_a_table_a_phase_and_a_row_a_point():
    pairs = [
        make_pair(make_attention_task(seq=seq), make_attention_task(seq=seq, backend="sdpa"), ratio=0.5)
        for seq in (1024, 2048)
    ]

    document = build_document(Results(rows=(), runs=(), comparisons=compared(*pairs)))

    tables = tables_of(document, "Comparisons")
    assert [table.caption.partition(", ")[2] for table in tables] == ["forward + backward", "forward", "backward"]
    assert column_of(tables[0], "cell") == ["seq 1024", "seq 2048"]
    assert column_of(tables[0], "verdict") == ["faster", "faster"]
    assert tables[0].note == "Times of the whole step are on the device clock."


def test_each_backend_has_a_table_with_a_row_for_each_shape(attention_document: Document):
    tables = tables_of(attention_document, "Complete results")

    assert [table.caption for table in tables] == [
        "eager · compile off · forward + backward, 6 cells",
        "eager · compile default · forward + backward, 6 cells",
        "sdpa-efficient · compile off · forward + backward, 6 cells",
        "eager · compile off · forward, no_grad, 3 cells",
    ]
    assert column_of(tables[1], "d") == ["16", "16", "16", "128", "128", "128"]
    assert column_of(tables[1], "seq") == ["1024", "8192", "16384"] * 2


def test_many_backends_share_a_table_for_each_workload(report_of: Build):
    document = report_of(*(record(backend=f"mine:attend_{number}") for number in range(17)))

    (table,) = tables_of(document, "Complete results")
    assert len(column_of(table, "backend")) == 17


def test_forward_with_graph_and_without_are_never_in_one_column(attention_document: Document):
    headers = [
        {column.header for column in table.columns} for table in tables_of(attention_document, "Complete results")
    ]

    assert all(("forward with graph (ms)" in each) != ("forward, no_grad (ms)" in each) for each in headers)


def test_a_cell_that_ran_out_of_memory_says_in_which_phase_and_what_was_asked(attention_document: Document):
    table = tables_of(attention_document, "Complete results")[0]

    assert column_of(table, "forward with graph (ms)")[2] == "out of memory"
    assert column_of(table, "remarks")[2] == "backward: asked 8.00 GiB"


def test_rates_divide_the_flops_of_each_phase_by_its_median(report_of: Build):
    """A product of batch 8, one head of 64, 1024 x 1024 pairs is 2 x 8 x 64 x 1024 x 1024 = 1.0737 GFLOP."""
    document = report_of(record(seq=1024, forward=1.0, backward=5.0))

    (table,) = tables_of(document, "Rates")

    assert column_of(table, "forward with graph (TFLOP/s)") == ["2.15"]
    assert column_of(table, "backward (TFLOP/s)") == ["1.07"]
    assert column_of(table, "forward + backward (TFLOP/s)") == ["1.25"]
    assert column_of(table, "of peak (%)") == ["3.2"]


def test_a_calibrated_ceiling_stands_in_place_of_the_datasheets(tmp_path: Path):
    """2.147 GFLOP in 4 ms are 0.537 TFLOP/s: half of what the machine reached in calibration."""
    results = make_results(tmp_path, [(record(seq=1024), GPU)])
    ceiling = Ceiling(name="matmul fp32 8192", unit="FLOP/s", samples_ns=(1_000_000,), work=1_073_741_824)
    calibration = Calibration(device="cuda:0", started_at="", seconds=20.0, ceilings=(ceiling,), left_out={})
    for row in results.rows:
        row.calibration = calibration

    (table,) = tables_of(build_document(results), "Rates")

    assert column_of(table, "of ceiling (%)") == ["50.0"]
    assert "of peak" not in [column.name for column in table.columns]


def test_a_rate_above_the_peak_is_called_a_fault(report_of: Build):
    document = report_of(record(seq=8192, forward=0.1, backward=0.25))

    (fault,) = callouts_of(section_of(document, "Rates"))

    assert fault.startswith("A fault in the measurement, the calibration or the declared precision")


def test_speed_ups_are_over_the_backend_that_came_first(report_of: Build):
    document = report_of(record(forward=8.0, backward=12.0), record(backend="sdpa", forward=2.0, backward=6.0))

    (table,) = tables_of(document, "Backends against one another")
    by_phase = tables_of(document, "Backends against one another, by phase")

    assert table.caption == "Speed-up of forward + backward over eager"
    assert column_of(table, "sdpa (x)") == ["2.50x"]
    assert [column_of(each, "sdpa (x)") for each in by_phase] == [["4.00x"], ["2.00x"]]
    assert "not paired" in texts_of(section_of(document, "Backends against one another"))


def test_short_calls_have_no_speed_up(report_of: Build):
    document = report_of(record(forward=0.1, backward=0.1), record(backend="sdpa", forward=0.05, backward=0.05))

    (table,) = tables_of(document, "Backends against one another")

    assert column_of(table, "sdpa (x)") == ["short"]
    assert (
        "no backend is told apart from the next (points with several backends: 1, of them 1 below 300 µs"
        in texts_of(section_of(document, "Answer"))
    )


def test_where_the_reference_did_not_run_the_other_runs(report_of: Build):
    document = report_of(
        record(), record(backend="sdpa"), out_of_memory(seq=4096), record(backend="sdpa", seq=4096, forward=9.0)
    )

    (table,) = tables_of(document, "Backends against one another")

    assert column_of(table, "eager (ms)")[1] == "out of memory"
    assert column_of(table, "sdpa (x)")[1] == "runs"


def test_one_backend_has_no_table_of_speed_ups(report_of: Build):
    assert "Backends against one another" not in headings_of(report_of(record(), record(seq=512)))


def test_memory_stands_by_phase_beside_the_least(report_of: Build):
    """Seed 004's row of 4133.2 MiB, and ours a dO of 4 MiB more: two matrices of 2048 MiB."""
    memory = {"allocated": round(4137.2 * MIB), "forward_peak": 6200 * MIB, "backward_peak": 8256 * MIB}

    (table,) = tables_of(report_of(record(seq=8192, d=16, memory=memory)), "Memory by phase")

    assert column_of(table, "before backward (MiB)") == ["4,137.2"]
    assert column_of(table, "forward peak (MiB)") == ["6,200.0"]
    assert column_of(table, "backward peak (MiB)") == ["8,256.0"]
    assert column_of(table, "least (MiB)") == ["32.2"]
    assert column_of(table, "peak / least") == ["256.00x"]
    assert column_of(table, "N x N held") == ["2.0"]


def test_without_a_count_of_the_device_memory_is_what_was_saved(report_of: Build):
    saved = record(seq=1024, device="cpu", memory={"saved": 64 * MIB + 6 * MIB})

    document = report_of(saved, environment=CPU)

    (table,) = tables_of(document, "Memory by phase")
    assert column_of(table, "saved (MiB)") == ["70.0"]
    assert column_of(table, "N x N held") == ["2.0"]
    assert "peak / least" not in [column.name for column in table.columns]
    assert "as this device does not count what is allocated" in texts_of(section_of(document, "Memory by phase"))


def test_memory_below_the_least_is_called_a_fault(report_of: Build):
    document = report_of(record(seq=8192, memory={"forward_peak": 10 * MIB, "backward_peak": 20 * MIB}))

    (fault,) = callouts_of(section_of(document, "Memory by phase"))

    assert "A fault in the measurement or the declared precision" in fault


def test_a_row_that_ran_out_stays_in_the_table_of_memory(report_of: Build):
    document = report_of(record(seq=512, memory={"forward_peak": 100 * MIB}), out_of_memory(seq=8192))

    (table,) = tables_of(document, "Memory by phase")

    assert column_of(table, "ran out") == ["", "backward, asked 8.00 GiB"]


def test_each_series_has_its_longest_and_its_shortest_that_ran_out(report_of: Build):
    document = report_of(record(seq=512), out_of_memory(seq=4096), out_of_memory(seq=8192), record(d=128, seq=512))

    (table,) = tables_of(document, "Out of memory")

    assert column_of(table, "longest that ran") == ["512", "512"]
    assert column_of(table, "shortest that ran out") == ["4096", "all fit"]
    assert column_of(table, "in") == ["backward", "–"]
    assert column_of(table, "asked for") == ["8.00 GiB", "–"]


def test_where_nothing_ran_out_all_fit(report_of: Build):
    document = report_of(record(seq=512), record(seq=4096))

    assert texts_of(section_of(document, "Out of memory")) == (
        "All fit: no cell ran out of memory, up to sequences of 4096."
    )


def test_a_shorter_sequence_that_ran_out_is_a_warning(report_of: Build):
    document = report_of(out_of_memory(seq=512), record(seq=4096))

    (warning,) = callouts_of(section_of(document, "Out of memory"))

    assert "seq 512 ran out of memory, and seq 4096 of the same series did not" in warning


def test_the_worst_errors_of_each_backend_come_first(report_of: Build):
    document = report_of(
        record(seq=512, errors=(1e-3, 2e-3, 3e-3, 4e-3)), record(seq=1024, errors=(2e-3, 1e-3, 1e-3, 1e-3))
    )

    (table,) = tables_of(document, "Errors against float64")

    assert column_of(table, "O") == ["2.0e-03"]
    assert column_of(table, "dV") == ["4.0e-03"]
    assert column_of(table, "largest of all at") == ["dV: seq 512"]
    assert section_of(document, "Errors of every cell").is_detail


def test_an_error_that_is_no_number_is_a_failure(report_of: Build):
    (table,) = tables_of(report_of(record(errors=(float("nan"),))), "Errors against float64")

    cell = next(cell for cell in table.rows[0] if cell.text == "nan")

    assert cell.is_failure


def test_kernels_are_told_by_backend_and_phase(attention_document: Document):
    (table,) = tables_of(attention_document, "Kernels that ran")

    assert column_of(table, "kinds")[0] == "GEMM, softmax"
    assert column_of(table, "launches")[0] == "3"
    assert column_of(table, "main kernel")[-1] == "fmha_cutlassB_f32_aligned_64x64_sm80"


def test_kernels_that_were_not_asked_for_are_a_warning_and_a_finding(attention_document: Document):
    (warning,) = callouts_of(section_of(attention_document, "Kernels that ran"))

    assert warning.startswith("Asked for eager, compile default, ran GEMM + softmax")
    said = texts_of(section_of(attention_document, "Findings"))
    assert "2 of 16 cells whose kernels were looked at ran something else than was asked for" in said


def test_the_answer_says_which_backend_is_fastest(attention_document: Document):
    said = texts_of(section_of(attention_document, "Answer"))

    assert (
        "Fastest in forward + backward by median, at 4 points with several backends: sdpa-efficient 4 points;" in said
    )


def test_a_finding_says_how_far_each_backend_gets(attention_document: Document):
    said = texts_of(section_of(attention_document, "Findings"))

    assert "eager ran up to 8192 and ran out of memory from 16384 on." in said


def test_charts_are_logarithmic_and_a_cross_ran_out(attention_document: Document):
    charts = [block for block in section_of(attention_document, "Charts").blocks if isinstance(block, Figure)]

    time = charts[0]
    layout, traces = time.plotly["layout"], time.plotly["data"]
    for chart in charts:
        plotly.graph_objects.Figure(chart.plotly)  # raises ValueError where it does not fit the schema
    assert (layout["xaxis"]["type"], layout["yaxis"]["type"]) == ("log", "log")
    lines = [trace["name"] for trace in traces if trace["mode"] == "lines+markers"]
    assert lines == ["eager · compile off", "eager · compile default", "sdpa-efficient · compile off"]
    crosses = [trace for trace in traces if trace["mode"] == "markers"]
    assert [trace["x"] for trace in crosses] == [[16384], [16384]]
    assert "Crosses above all points ran out of memory: eager · compile off at 16384" in time.alternative


def test_memory_has_a_chart_by_length(attention_document: Document):
    charts = [block for block in section_of(attention_document, "Charts").blocks if isinstance(block, Figure)]

    assert any(chart.caption.startswith("Peak memory by sequence length, d 16") for chart in charts)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Times are between two events of the device"),
        ({"cache": "cold"}, "A cold cache is flushed before each timed call"),
        ({"device": "cpu"}, "times are on the host's"),
    ],
)
def test_the_method_says_what_times_of_attention_depend_on(report_of: Build, fields: dict[str, object], said: str):
    assert said in texts_of(section_of(report_of(record(**fields)), "Method"))


def test_the_method_says_how_many_calls_make_a_sample(report_of: Build):
    document = report_of(record(fields={"calls_per_sample": 8}), record(seq=4096))

    assert "1 to 8 calls, in 1 cell more than one" in texts_of(section_of(document, "Method"))


def test_a_failed_cell_is_listed_with_its_whole_shape(report_of: Build):
    (table,) = tables_of(report_of(out_of_memory(heads=8, kv_heads=2, mask="window:64")), "Failures")

    assert column_of(table, "cell")[0].startswith("eager · fp32 · compile off · batch 8 · heads 8/2 · window:64 · d 64")


def test_a_grid_in_which_nothing_ran_is_a_report(report_of: Build):
    document = report_of(record(fields={"status": Status.UNSUPPORTED}), out_of_memory(seq=4096))

    assert "Complete results" in headings_of(document)
    assert "Charts" not in headings_of(document)


def test_names_of_the_users_own_are_no_markup(report_of: Build):
    evil = "</script><script>alert(1)</script>|`*x*`:attend"
    rows = [record(errors=(1e-3,)), record(backend=evil, errors=(2e-3,)), out_of_memory(backend=evil, seq=4096)]

    document = report_of(*rows)

    assert "<script>alert" not in render_html(document)
    html = MarkdownIt("commonmark").enable("table").render(render_markdown(document))
    assert "<script" not in html


def test_several_processes_are_said(report_of: Build):
    tasks = [make_attention_task(processes=3).model_copy(update={"replica": replica}) for replica in range(3)]

    document = report_of(*(make_attention_record(task) for task in tasks))

    (table,) = tables_of(document, "Complete results")
    assert column_of(table, "n") == ["3 x 20"]


def test_a_warning_of_kernels_is_no_failure(attention_document: Document):
    section = section_of(attention_document, "Kernels that ran")

    assert [block.kind for block in section.blocks if isinstance(block, Callout)] == [CalloutKind.WARNING]
