"""Each published report's tables come out in their own shape by its preset, and no row hides what tells it apart."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from factory import GPU, make_attention_record, make_record
from published import read
from reading import column_of, headings_of, section_of, tables_of, texts_of
from windtunnel.analysis.results import load_results
from windtunnel.language import writing_in
from windtunnel.records.record import Failure, Record
from windtunnel.records.store import Run, open_store
from windtunnel.report.build import build_document
from windtunnel.report.document import Callout, Document, Table
from windtunnel.report.markdown import render_markdown
from windtunnel.spec.cell import Task
from windtunnel.spec.presets import find_sweep
from windtunnel.spec.sweep import AnySweep, load_sweep, make_sweep

Draw = Callable[..., Document]

HEADING = "Tables as asked"
SIZES = ["small", "medium", "large", "xl", "2.7B"]
OUT_OF_MEMORY = Failure(stage="measure", phase="forward", message="", requested_bytes=8 * 2**30, free_bytes=2**30)


def place_of(task: Task, tasks: Sequence[Task]) -> int:
    """Return the milliseconds that a cell takes: its place in the grid, from 10 on, so that each has its own."""
    return 10 + tasks.index(task)


def steps_record(task: Task, milliseconds: float) -> Record:
    """Return a record with a mean of so many milliseconds and a standard deviation of a tenth."""
    return make_record(task, milliseconds=[milliseconds * (1 + sign * 0.1) for sign in (-1, 0, 1)])


def attention_record(task: Task, milliseconds: float) -> Record:
    """Return a record that holds one MiB for each token, or is out of memory from 16,384 tokens on."""
    if task.cell.context_length >= 16384:
        return make_attention_record(task, failure=OUT_OF_MEMORY)
    return make_attention_record(
        task, forward=milliseconds, noise=0.0, allocated=task.cell.context_length * 2**20, forward_peak=2**40
    )


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Store all cells of a sweep, but those that `lacks` names, and return the report."""

    def build(sweep: AnySweep, *, asked: AnySweep | None = None, lacks: Sequence[int] = ()) -> Document:
        tasks = sweep.expand("cuda:0")
        with open_store(tmp_path / "drawn") as store:
            fields = (asked or sweep).model_dump(mode="json", exclude_defaults=True)
            store.begin_run(
                Run(started_at="2026-01-02T03:04:05+00:00", sweep=fields, machine=GPU.machine(), summary=None)
            )
            for place, task in enumerate(tasks):
                make = attention_record if task.cell.is_attention else steps_record
                if place not in lacks:
                    store.add(make(task, place_of(task, tasks)), GPU)
        return build_document(load_results(tmp_path / "drawn"))

    return build


def preset(name: str) -> AnySweep:
    return load_sweep(find_sweep(name))


def shape_of(table: Table) -> tuple[list[str], int]:
    headers = [f"{column.group}: {column.header}".removeprefix(": ") for column in table.columns]
    return headers, len(table.rows)


def test_report_000_is_one_long_table_in_seconds(draw: Draw) -> None:
    (table,) = tables_of(draw(preset("seed-000")), HEADING)

    assert shape_of(table) == (
        ["size", "workload", "d_model", "d_ff", "layers", "heads", "context", "mean (s)", "std (s)", "warm-up"],
        10,
    )
    assert column_of(table, "size") == [size for size in SIZES for _ in range(2)]
    assert column_of(table, "workload") == ["forward", "forward + backward"] * 5
    assert [cell.text for cell in table.rows[9]] == [
        "2.7B", "forward + backward", "2560", "10240", "32", "32", "256", "0.01900", "0.00190", "5"
    ]  # fmt: skip
    assert "fp32" in table.note
    assert "batch 4" in table.note
    assert "context" not in table.note


def test_report_001_has_phases_side_by_side_then_deviations_then_ratios(draw: Draw) -> None:
    times, deviations, ratios = tables_of(draw(preset("seed-001")), HEADING)

    assert shape_of(times) == (
        ["size", "forward mean ± std (ms)", "backward mean ± std (ms)", "total mean (ms)"],
        5,
    )
    assert [cell.text for cell in times.rows[0]] == ["small", "3.000 ± 0.300", "6.000 ± 0.600", "10.00"]
    assert shape_of(deviations) == (["size", "forward CV (%)", "backward CV (%)"], 5)
    assert column_of(deviations, "backward CV (%)") == ["10.0"] * 5
    assert shape_of(ratios) == (["size", "backward over forward"], 5)
    assert column_of(ratios, "backward over forward") == ["2.00x"] * 5


def test_report_002_keeps_the_shape_of_what_fails_and_each_warmup_apart(draw: Draw) -> None:
    cold, warm = tables_of(draw(preset("seed-002")), HEADING)

    headers = ["size", "d_model", "d_ff", "layers", "heads", "forward mean ± std (ms)", "backward mean ± std (ms)"]
    assert shape_of(cold) == shape_of(warm) == (headers, 5)
    assert (cold.caption, warm.caption) == ("seed-002, table 1 · warm-up 0", "seed-002, table 1 · warm-up 5")


def test_report_003_has_its_grid_its_sizes_and_its_pivots(draw: Draw) -> None:
    tables = tables_of(draw(preset("seed-003")), HEADING)

    grid, sizes, beside, warmups, pivots = tables[0], tables[1:6], tables[6], tables[7:9], tables[9:]
    assert shape_of(grid) == (
        ["size", "d_model", "context", "layers", "heads", "batch", "warm-up", "n", "workload", "mean (ms)", "std (ms)"],
        60,
    )
    assert {shape_of(table)[1] for table in sizes} == {12}
    assert [table.caption for table in sizes] == [f"seed-003, table 2 · {size}" for size in SIZES]
    assert shape_of(beside) == (
        ["size", "context", "warm-up", "forward: mean ± std (ms)", "forward + backward: mean ± std (ms)"],
        30,
    )
    assert [table.caption for table in warmups] == [
        "seed-003, table 4 · forward", "seed-003, table 4 · forward + backward"
    ]  # fmt: skip
    assert {shape_of(table)[1] for table in warmups} == {30}
    assert len(pivots) == 4
    assert shape_of(pivots[0]) == (["size", "warm-up 0: mean (ms)", "warm-up 1: mean (ms)", "warm-up 5: mean (ms)"], 5)


def test_no_entry_of_a_pivot_is_an_average_of_unlike_cells(draw: Draw) -> None:
    sweep = preset("seed-003")
    pivots = tables_of(draw(sweep), HEADING)[9:]

    shown = sorted(float(cell.text) for table in pivots for row in table.rows for cell in row[1:])

    assert shown == [10 + place for place in range(len(sweep.expand("cuda:0")))]


def test_report_004_has_what_is_held_before_backward_and_says_out_of_memory(draw: Draw) -> None:
    tables = tables_of(draw(preset("seed-004")), HEADING)

    assert [table.caption.removeprefix("seed-004, table 1 · ") for table in tables] == [
        f"{backend} · {precision}"
        for precision in ("fp32", "bf16")
        for backend in ("eager", "compiled", "flash-triton")
    ]
    headers, count = shape_of(tables[0])
    assert headers == [
        "seq", "d", "forward mean (ms)", "forward std (ms)", "backward mean (ms)", "backward std (ms)",
        "held before backward (MiB)", "batch",
    ]  # fmt: skip
    assert count == 20
    assert column_of(tables[0], "d") == [d for d in ("16", "32", "64", "128") for _ in range(5)]
    assert column_of(tables[0], "held before backward (MiB)")[:2] == ["256.0", "1,024.0"]
    assert [cell.text for cell in tables[0].rows[4]] == ["16384", "16", *["out of memory"] * 5, "8"]


def test_an_axis_that_is_no_column_makes_tables_of_its_own(draw: Draw) -> None:
    sweep = make_sweep({"size": "small", "context": [64, 128], "mode": "forward", "tables": [{"columns": ["mean"]}]})

    tables = tables_of(draw(sweep), HEADING)

    assert [table.caption for table in tables] == ["step, table 1 · context 64", "step, table 1 · context 128"]
    assert [len(table.rows) for table in tables] == [1, 1]


def test_a_cell_that_is_not_there_is_a_gap_of_a_pivot(draw: Draw) -> None:
    tables = [{"columns": ["context", "mean"], "across": "mode"}]
    sweep = make_sweep({"size": "small", "context": [64, 128], "mode": ["forward", "train_step"], "tables": tables})

    (table,) = tables_of(draw(sweep, lacks=[1]), HEADING)

    assert [[cell.text for cell in row] for row in table.rows] == [["64", "10.00", "–"], ["128", "12.00", "13.00"]]


def test_only_rows_of_the_sweep_that_asks_are_in_its_tables(draw: Draw) -> None:
    measured = make_sweep({"size": "small", "context": [64, 128], "mode": "forward"})
    asked = make_sweep({"size": "small", "context": 64, "mode": "forward", "tables": [{"columns": ["context", "n"]}]})

    (table,) = tables_of(draw(measured, asked=asked), HEADING)

    assert [[cell.text for cell in row] for row in table.rows] == [["64", "3"]]


def test_without_a_layout_there_is_no_such_section(draw: Draw) -> None:
    document = draw(make_sweep({"size": "small", "mode": "forward"}))

    assert HEADING not in headings_of(document)


def test_a_layout_that_this_version_does_not_know_is_said(tmp_path: Path) -> None:
    sweep = make_sweep({"name": "old", "size": "small", "mode": "forward", "tables": [{"columns": ["n"]}]})
    fields = {**sweep.model_dump(mode="json", exclude_defaults=True), "tables": [{"columns": ["moon"]}]}
    with open_store(tmp_path) as store:
        store.begin_run(Run(started_at="2026-01-02T03:04:05+00:00", sweep=fields, machine=GPU.machine(), summary=None))
        store.add(steps_record(sweep.expand("cuda:0")[0], 10), GPU)

    section = section_of(build_document(load_results(tmp_path)), HEADING)

    assert any(isinstance(block, Callout) for block in section.blocks)
    assert "The tables of sweep old cannot be drawn: unknown column 'moon'" in texts_of(section)


def test_columns_of_memory_shapes_and_medians_are_there_too(draw: Draw) -> None:
    columns = ["size", "parameters", "vocab", "median", "interval", "peak_memory", "optimizer.median"]
    sweep = make_sweep(
        {"size": "small", "mode": ["forward", "train_step"], "tables": [{"split": "mode", "columns": columns}]}
    )

    forward, training = tables_of(draw(sweep), HEADING)

    assert shape_of(forward)[0] == [
        "size", "parameters (M)", "vocabulary", "total median (ms)", "total 95 % interval (ms)", "peak memory (MiB)",
        "optimizer median (ms)",
    ]  # fmt: skip
    assert [cell.text for cell in forward.rows[0]] == ["small", "128.6", "10000", "10.00", "–", "3.0", "–"]
    assert column_of(training, "optimizer median (ms)") == ["0.8250"]


def test_a_report_in_chinese_has_them_in_chinese_and_the_audit_reads_it(draw: Draw) -> None:
    with writing_in("zh"):
        document = draw(preset("seed-000"))

    (table,) = tables_of(document, "按要求的表格")
    times = read(render_markdown(document)).observed.times

    headers = ["规模", "工作负载", "d_model", "d_ff", "层数", "头数", "上下文长度", "均值 (s)", "标准差 (s)", "预热"]
    assert shape_of(table) == (headers, 10)
    assert {(one.phase, one.config.size) for one in times} >= {
        (phase, size) for phase in ("forward", "forward_backward") for size in SIZES
    }
