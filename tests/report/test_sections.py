from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from factory import CPU, GPU, TINY, make_processes, make_record, make_results, make_task, with_telemetry
from reading import column_of, headings_of, section_of, tables_of, texts_of
from windtunnel.analysis.results import Results
from windtunnel.records.record import ClockName, ColdCause, Failure, Probe, ProbeName, Status
from windtunnel.report.build import build_document
from windtunnel.report.document import Callout, CalloutKind, Document, Figure
from windtunnel.spec.own_model import OwnModel

Build = Callable[..., Document]

LEDGER = "Where a step's time goes"


def test_no_results_make_a_document_that_says_so():
    document = build_document(Results(rows=(), runs=()))

    assert texts_of(section_of(document, "Overview")) == "The store holds no results."


def test_the_title_names_sweep_and_machine(document: Document):
    assert document.title == "three-sizes on NVIDIA H200"


def test_a_title_of_the_users_own_is_kept(grid: Results):
    assert build_document(grid, title="My model").title == "My model"


def test_a_section_with_nothing_to_say_is_left_out(report_of: Build):
    document = report_of(make_record(make_task(device="cuda:0")))

    assert headings_of(document) == [
        "Overview",
        "Answer",
        "First thing to change",
        "Findings",
        "Charts",
        "Complete results",
        "Predicted beside measured",
        "Not measured",
        "Method",
        "Machine",
    ]


def test_the_overview_says_what_was_asked_in_the_sweeps_own_words(document: Document):
    assert "Sweep three-sizes. A small grid." in texts_of(section_of(document, "Overview"))


def test_the_overview_counts_failures_by_kind(document: Document):
    assert "2 cells failed: 2 out of memory." in texts_of(section_of(document, "Overview"))


def test_a_finding_gives_the_range_of_a_ratio_and_that_it_rises_with_size(document: Document):
    text = texts_of(section_of(document, "Findings"))

    assert "take 3.00x (tiny · forward + backward · warm-up 5) to 3.74x (deep · forward + backward · warm-up 5)" in text
    assert "over 3 pairs of cells, and more with each larger size" in text


def test_a_mixed_ratio_is_not_called_rising(report_of: Build):
    sizes = [TINY.model_copy(update={"name": str(layers), "num_layers": layers}) for layers in (1, 2, 3)]
    records = [
        make_record(make_task(size=size, workload=workload), milliseconds=[milliseconds] * 3)
        for size, both in zip(sizes, (30.0, 40.0, 20.0), strict=True)
        for workload, milliseconds in (("forward", 10.0), ("forward_backward", both))
    ]

    text = texts_of(section_of(report_of(*records, environment=CPU), "Findings"))

    assert "2.00x (3 · forward + backward) to 4.00x (2 · forward + backward)" in text
    assert "with no single direction over sizes" in text


def test_every_cell_is_a_row_of_the_grid(document: Document, grid: Results):
    _, table = tables_of(document, "Complete results")

    assert len(table.rows) == len(grid.rows) == 18


def test_an_axis_that_does_not_vary_is_said_once_and_has_no_column(document: Document):
    _, table = tables_of(document, "Complete results")

    assert [column.name for column in table.columns[:4]] == ["size", "workload", "warm-up", "n"]
    assert "fp32, attention eager, compile off, checkpoint none, batch 4, context 16, 40 timed steps" in texts_of(
        section_of(document, "Complete results")
    )


def test_the_whole_step_of_forward_backward_is_never_called_backward(document: Document):
    _, table = tables_of(document, "Complete results")

    assert set(column_of(table, "workload")) == {"forward", "forward + backward", "training step"}


def test_a_failed_cell_has_its_status_in_place_of_numbers(document: Document):
    _, table = tables_of(document, "Complete results")

    failed = [row for row in table.rows if row[4].is_failure]

    assert [[cell.text for cell in row[:6]] for row in failed] == [
        ["deep", "training step", "0", "–", "out of memory", "–"],
        ["deep", "training step", "5", "–", "out of memory", "–"],
    ]


def test_without_a_datasheet_there_is_no_column_of_it(report_of: Build):
    document = report_of(make_record(make_task()), environment=CPU)

    _, table = tables_of(document, "Complete results")

    assert "of peak" not in [column.name for column in table.columns]


def test_sizes_are_listed_with_their_shape(document: Document):
    table, _ = tables_of(document, "Complete results")

    assert [cell.text for cell in table.rows[0]] == ["tiny", "32", "64", "2", "4", "101", "27.1"]


def test_two_shapes_of_one_name_are_told_apart(report_of: Build):
    wider = TINY.model_copy(update={"vocab_size": 202})

    table, _ = tables_of(report_of(make_record(make_task()), make_record(make_task(size=wider))), "Complete results")

    assert column_of(table, "size") == ["tiny (vocab_size 101)", "tiny (vocab_size 202)"]


def test_each_size_has_a_table_without_a_column_of_sizes(document: Document):
    tables = tables_of(document, "Results by size")

    assert [table.caption for table in tables] == ["Size tiny", "Size wide", "Size deep"]
    assert [column.name for column in tables[0].columns[:2]] == ["workload", "warm-up"]


def test_every_pair_has_its_own_ratio(document: Document):
    steps, _ = tables_of(document, "Forward against forward + backward")

    assert column_of(steps, "ratio") == ["3.00x", "3.00x", "3.45x", "3.45x", "3.74x", "3.74x"]


def test_the_ratio_of_phases_is_not_that_of_steps(document: Document):
    _, inside = tables_of(document, "Forward against forward + backward")

    assert column_of(inside, "ratio") == ["2.00x"] * 6


def test_forward_in_training_and_forward_alone_share_no_column(document: Document):
    steps, inside = tables_of(document, "Forward against forward + backward")

    assert "forward (ms)" in [column.header for column in steps.columns]
    assert "forward with gradients (ms)" in [column.header for column in inside.columns]


def test_a_cold_start_is_the_first_step_minus_the_median_of_the_others(document: Document):
    (table,) = tables_of(document, "Cold start against warm")

    assert column_of(table, "first step (ms)")[0] == "209.90"
    assert column_of(table, "other steps (ms)")[0] == "10.00"
    assert column_of(table, "warm cell (ms)")[0] == "10.00"
    assert column_of(table, "cost (ms)")[0] == "199.9"
    assert column_of(table, "factor")[0] == "20.99x"


def test_the_spread_of_a_cold_cell_is_given_with_and_without_its_first_sample(document: Document):
    (table,) = tables_of(document, "Cold start against warm")

    assert column_of(table, "mean ± std, all (ms)")[0] == "15.00 ± 31.61"
    assert column_of(table, "mean ± std, without first (ms)")[0] == "10.00 ± 0.06"


def test_a_cell_that_was_not_first_in_its_process_shows_no_cold_start(report_of: Build):
    first = make_record(make_task(warmup=0), milliseconds=[100, 10, 10])
    later = make_record(make_task(warmup=0, context_length=32), milliseconds=[11, 10, 10], is_first_in_process=False)

    document = report_of(first, later)

    (table,) = tables_of(document, "Cold start against warm")
    assert column_of(table, "context") == ["16"]
    assert "Not shown: 1 cell without warm-up" in texts_of(section_of(document, "Cold start against warm"))


def test_the_start_of_a_cell_is_split_by_cause(report_of: Build):
    causes = {ColdCause.CONTEXT: 0.4, ColdCause.ALLOCATOR: 0.002}
    record = make_record(make_task(warmup=0, device="cuda:0"), milliseconds=[100, 10, 10], cold_causes=causes)

    _, table = tables_of(report_of(record), "Cold start against warm")

    names = ["context", "cost", "allocator", "remainder"]
    assert [column.name for column in table.columns][1:] == names
    assert [cell.text for cell in table.rows[0]][1:] == ["400.0", "90.00", "2.00", "88.00"]


def test_causes_that_took_no_time_share_the_unit_of_the_cost(report_of: Build):
    task = make_task(warmup=0, device="cuda:0")
    record = make_record(task, milliseconds=[100, *[10] * 9], cold_causes={ColdCause.ALLOCATOR: 0.002})
    record = with_telemetry(record, clock_mhz=[1980] * 19)

    _, table = tables_of(report_of(record), "Cold start against warm")

    names = [column.name for column in table.columns]
    assert table.rows[0][names.index("clocks")].text == "0.00"
    assert {column.unit for column in table.columns if column.group} == {"ms"}


def test_causes_of_several_processes_are_medians(report_of: Build):
    contexts = (0.1, 0.4, 0.2)
    records = [
        replace(record, cold_causes={ColdCause.CONTEXT: seconds})
        for record, seconds in zip(make_processes([9.0], [9.0], [9.0], device="cuda:0"), contexts, strict=True)
    ]

    (table,) = tables_of(report_of(*records), "Start of a cell by cause")

    assert [[cell.text for cell in row] for row in table.rows] == [["forward", "200.0"]]


def test_a_negative_remainder_is_said(report_of: Build):
    record = make_record(make_task(warmup=0), milliseconds=[100, 10, 10], cold_causes={ColdCause.ALLOCATOR: 0.2})

    _, table = tables_of(report_of(record), "Cold start against warm")

    assert table.note.startswith("The remainder is negative in 1 cell")


def test_a_warm_compiled_cell_says_what_compiling_took(report_of: Build):
    record = make_record(make_task(compile="default"), cold_causes={ColdCause.COMPILE: 12.5})

    (table,) = tables_of(report_of(record), "Start of a cell by cause")

    assert [cell.text for cell in table.rows[0]] == ["forward", "12.50"]


def test_causes_that_nobody_measured_have_no_table(report_of: Build):
    assert len(tables_of(report_of(make_record(make_task(warmup=0))), "Cold start against warm")) == 1


def test_the_ledger_of_a_step_adds_up(report_of: Build):
    (table,) = tables_of(report_of(make_record(make_task(workload="train_step", device="cuda:0"))), LEDGER)

    assert [cell.text for cell in table.rows[0]] == ["training step", "10.09", "10.04", "50.45", "0.5"]
    assert [column.header for column in table.columns[1:]] == [
        "whole step (ms)",
        "phases (ms)",
        "residual (µs)",
        "residual (%)",
    ]


def test_a_residual_above_one_percent_is_pointed_out(report_of: Build):
    records = [make_record(make_task(workload=workload)) for workload in ("train_step", "forward_backward")]

    text = texts_of(section_of(report_of(*records), LEDGER))

    assert "In 1 cell more than 1 % of the step is in no phase, most in forward + backward: 8.0 %." in text


def test_on_a_cpu_the_report_says_why_there_are_no_probes(report_of: Build):
    document = report_of(make_record(make_task(workload="train_step")), environment=CPU)

    assert "On a CPU a call returns when its work is done" in texts_of(section_of(document, LEDGER))
    assert len(tables_of(document, LEDGER)) == 1


def test_probes_say_what_waiting_costs_with_their_interval(report_of: Build):
    times = {
        (ProbeName.PLAIN, ClockName.HOST): 10_000,
        (ProbeName.SYNCHRONISED, ClockName.HOST): 11_000,
        (ProbeName.PLAIN, ClockName.DEVICE): 9_000,
        (ProbeName.QUEUED, ClockName.DEVICE): 6_300,
    }
    probes = tuple(Probe(name=name, clock=clock, nanoseconds=(value,) * 8) for (name, clock), value in times.items())
    record = make_record(make_task(workload="train_step", device="cuda:0"), probes=probes)

    _, table = tables_of(report_of(record), LEDGER)

    assert [cell.text for cell in table.rows[0]] == [
        "training step",
        "8",
        "10.0",
        "10.0 to 10.0",
        "30.0",
        "30.0 to 30.0",
        "–",
    ]


def test_probes_of_several_processes_have_a_row_each(report_of: Build):
    clocks = (ClockName.HOST, ClockName.DEVICE)
    first, second = (
        replace(
            record,
            probes=tuple(
                Probe(name=name, clock=clock, nanoseconds=((1 if name is ProbeName.PLAIN else factor) * 1000,) * 8)
                for name in ProbeName
                for clock in clocks
            ),
        )
        for record, factor in zip(
            make_processes([1.0], [1.0], workload="train_step", device="cuda:0"), (2, 3), strict=True
        )
    )

    _, table = tables_of(report_of(first, second), LEDGER)

    name, rounds = "training step", "8"
    assert [[cell.text for cell in row[:3]] for row in table.rows] == [[name, rounds, "100.0"], [name, rounds, "200.0"]]


def test_phases_name_their_clock(document: Document):
    both, _ = tables_of(document, "Phases of a step")

    assert list(dict.fromkeys(column.group for column in both.columns if column.group)) == [
        "forward, device events",
        "loss, device events",
        "backward, device events",
        "total, host clock",
    ]


def test_a_training_step_has_its_optimizer(document: Document):
    _, training = tables_of(document, "Phases of a step")

    assert column_of(training, "optimizer, device events: median (ms)")[:2] == ["2.703", "2.971"]


def test_a_forward_with_the_loss_inside_shares_no_table_with_one_without(report_of: Build):
    """Records of version 0.1.0 before the loss had a phase of its own."""
    new = make_record(make_task(workload="forward_backward"))
    timed = {name: inside for name, inside in new.timed.items() if name != "loss"}
    samples = tuple(series for series in new.samples if series.phase != "loss")
    task = make_task(workload="forward_backward", context_length=32)
    old = replace(new, task=task, timed=timed, samples=samples)

    first, second = tables_of(report_of(new, old), "Phases of a step")

    assert [first.caption, second.caption] == [
        "Phases of forward + backward",
        "Phases of forward + backward, loss inside forward",
    ]
    assert "loss" not in " ".join(column.group for column in second.columns)
    assert [len(first.rows), len(second.rows)] == [1, 1]


def test_a_failed_cell_is_a_row_of_its_phases_too(document: Document):
    _, training = tables_of(document, "Phases of a step")

    assert [cell.text for cell in training.rows[-1][:4]] == ["deep", "5", "out of memory", "–"]


def test_a_failure_keeps_its_whole_configuration_and_its_bytes(document: Document):
    (table,) = tables_of(document, "Failures")

    assert [cell.text for cell in table.rows[0]] == [
        "deep · fp32 · attention eager · compile off · checkpoint none · batch 4 · context 16 · training step"
        " · warm-up 0 · 40 timed steps · seed 0 · cuda:0",
        "out of memory",
        "backward",
        "CUDA out of memory.",
        "512 MiB",
        "3.00 MiB",
    ]


def test_a_report_of_failures_alone_can_be_made(report_of: Build):
    record = make_record(
        make_task(), status=Status.TIMED_OUT, samples=(), failure=Failure(stage="build", message="too slow")
    )

    document = report_of(record)

    assert headings_of(document) == ["Overview", "Complete results", "Failures", "Method", "Machine"]


def test_a_warning_is_shown_once_with_its_cells(report_of: Build):
    records = [make_record(make_task(context_length=length), warnings=("clock unstable",)) for length in (8, 16)]

    (table,) = tables_of(report_of(*records), "Warnings")

    assert [[cell.text for cell in row] for row in table.rows] == [["clock unstable", "2", "context 8; context 16"]]


def irregular(kind: str) -> list[float]:
    """Return forty samples of one kind."""
    even = [10 + 0.002 * (7 * place % 11 - 5) for place in range(40)]
    changes = {
        "even": lambda _: 0.0,
        "slow first": lambda place: 5.0 * (place == 0),
        "drift": lambda place: 0.02 * place,
        "step": lambda place: 0.5 * (place >= 17),
        "two states": lambda place: 0.5 * (place // 4 % 2),
    }
    return [value + changes[kind](place) for place, value in enumerate(even)]


KINDS = ("even", "slow first", "drift", "step", "two states")


@pytest.fixture
def mixed(report_of: Build) -> Document:
    """A report with a cell of each kind, told apart by their seeds."""
    return report_of(
        *(make_record(make_task(seed=seed, steps=40), milliseconds=irregular(k)) for seed, k in enumerate(KINDS))
    )


def test_irregular_cells_stand_with_the_size_of_what_was_found(mixed: Document):
    (table,) = tables_of(mixed, "Irregular samples")

    assert table.caption == "4 of 5 measured cells"
    assert [column.header for column in table.columns] == [
        "seed", "slow start", "first", "drift", "step", "at sample",
        "low state (ms)", "95 % interval (ms)", "share", "high state (ms)", "95 % interval (ms)", "share", "switches",
    ]  # fmt: skip
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["1", "1", "1.50x", *["–"] * 10],
        ["2", "–", "–", "+7.4 %", *["–"] * 9],
        ["3", "–", "–", "–", "+5.0 %", "18", *["–"] * 7],
        ["4", *["–"] * 5, "9.997", "9.994 to 10.004", "50 %", "10.502", "10.498 to 10.506", "50 %", "9"],
    ]


def test_only_the_kinds_that_were_found_are_explained_and_have_columns(report_of: Build):
    document = report_of(make_record(make_task(steps=40), milliseconds=irregular("drift")))

    (table,) = tables_of(document, "Irregular samples")
    text = texts_of(section_of(document, "Irregular samples"))
    assert [column.name for column in table.columns] == ["workload", "drift"]
    assert text.startswith("Drift: ")
    assert "Two states" not in text
    assert "the cause of none of this was measured" in text


def test_a_cold_start_is_no_irregularity(report_of: Build):
    cold = make_record(make_task(warmup=0, steps=40), milliseconds=irregular("slow first"), is_first_in_process=True)

    assert "Irregular samples" not in headings_of(report_of(cold))


def test_an_even_cell_is_not_listed_as_irregular(report_of: Build):
    assert "Irregular samples" not in headings_of(report_of(make_record(make_task(), milliseconds=irregular("even"))))


def test_the_grid_has_the_marks_of_each_cell(mixed: Document):
    _, table = tables_of(mixed, "Complete results")

    assert column_of(table, "marks") == ["", "cold", "drifting, imprecise", "imprecise, step", "imprecise, two states"]


def test_a_grid_without_a_mark_has_no_column_of_them(report_of: Build):
    _, table = tables_of(report_of(make_record(make_task(), milliseconds=irregular("even"))), "Complete results")

    assert "marks" not in [column.name for column in table.columns]
    assert "Marks" not in table.note


def test_the_marks_that_occur_and_no_others_are_explained_under_the_grid(report_of: Build):
    _, table = tables_of(report_of(make_record(make_task(), milliseconds=irregular("slow first"))), "Complete results")

    assert "Marks: cold (" in table.note
    assert "drifting" not in table.note


def test_the_note_counts_the_cells_that_are_too_short_to_be_searched(report_of: Build):
    records = [
        make_record(make_task(seed=seed), milliseconds=irregular("even")[:n]) for seed, n in enumerate((29, 30, 10))
    ]

    _, table = tables_of(report_of(*records), "Complete results")

    assert "are looked for from 30 samples on: not in 2 of 3 measured cells." in table.note


def test_the_overview_counts_the_marks(mixed: Document):
    text = texts_of(section_of(mixed, "Overview"))

    assert "4 of 5 measured cells have a mark: 3 imprecise, 1 cold, 1 drifting, 1 step, 1 two states." in text


def test_the_overview_says_when_no_cell_has_a_mark(report_of: Build):
    document = report_of(make_record(make_task(), milliseconds=irregular("even")))

    assert "No measured cell has one." in texts_of(section_of(document, "Overview"))


def test_a_sentence_about_times_says_how_well_they_are_known(report_of: Build):
    precise = make_record(make_task(), milliseconds=irregular("even"))
    short = make_record(make_task(seed=1), milliseconds=[10, 11, 12])

    known = texts_of(section_of(report_of(precise), "Answer"))
    unknown = texts_of(section_of(report_of(precise, short), "Answer"))

    assert "takes 10.0 ms [9.996 ms, 10.00 ms] (median, n = 40, host clock)" in known
    assert "11.0 ms (seed 1) (medians, n = 3, host clock); the longer has no interval" in unknown


def test_a_ratio_has_its_range_and_says_that_its_cells_are_unpaired(document: Document):
    steps, inside = tables_of(document, "Forward against forward + backward")

    assert column_of(steps, "range")[:2] == ["2.97x to 3.03x", "2.98x to 3.02x"]
    assert column_of(inside, "range")[:2] == ["1.98x to 2.02x", "1.98x to 2.02x"]
    assert "unpaired" in texts_of(section_of(document, "Forward against forward + backward"))


def test_each_phase_has_its_median_its_interval_and_its_mean(document: Document):
    both, _ = tables_of(document, "Phases of a step")

    assert [column.header for column in both.columns[2:5]] == ["median (ms)", "95 % interval (ms)", "mean ± std (ms)"]
    assert column_of(both, "backward, device events: 95 % interval (ms)")[0] == "17.93 to 18.11"


CLOCKS = "Clocks, power and temperature"


def test_a_cell_without_telemetry_has_no_conditions(document: Document):
    assert CLOCKS not in headings_of(document)


def test_the_conditions_of_each_cell_with_telemetry_are_a_row(report_of: Build):
    """A reading at the boundary of two steps is in both: ten steps at 1900 MHz, one at 1940, nine at 1980."""
    plain = make_record(make_task(device="cuda:0", context_length=8))
    hot = with_telemetry(
        make_record(make_task(device="cuda:0"), milliseconds=[10.0] * 20),
        clock_mhz=[1980] * 10 + [1900] * 10,
        power_watts=[699.6] * 20,
        temperature_celsius=[60, 61] * 10,
        throttle_reasons=[0] * 10 + [0x4] * 10,
    )

    document = report_of(plain, hot)

    (table,) = tables_of(document, CLOCKS)
    assert [column.header for column in table.columns] == [
        "context",
        "readings",
        "clock (MHz)",
        "range (MHz)",
        "cycles (M)",
        "power (W)",
        "temperature (°C)",
        "held down by",
    ]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["16", "20", "1,940", "1,900 to 1,980", "19.2", "700", "61", "software power cap 50 %"]
    ]
    assert "Throttled: 1 of 1 measurement with telemetry." in texts_of(section_of(document, CLOCKS))


def test_cool_and_sustained_are_shown_where_they_differ(report_of: Build):
    steady = make_record(make_task(context_length=8, device="cuda:0"), milliseconds=[5.0] * 20)
    slowing = make_record(make_task(device="cuda:0"), milliseconds=[10.0] * 5 + [11.0] * 15)

    document = report_of(*(with_telemetry(record, clock_mhz=[1980] * 25) for record in (steady, slowing)))

    (table,) = tables_of(document, CLOCKS)
    assert column_of(table, "cool (ms)") == ["–", "10.00"]
    assert column_of(table, "sustained (ms)") == ["–", "11.00"]
    assert column_of(table, "change") == ["–", "+10.0 %"]
    assert column_of(table, "held down by") == ["nothing", "nothing"]
    assert "throttled." not in texts_of(section_of(document, CLOCKS))


def test_a_cell_whose_steps_follow_the_clock_says_so(report_of: Build):
    clocks = ([2000] * 6 + [1000] * 6) * 4
    record = make_record(make_task(device="cuda:0"), milliseconds=[20_000 / clock for clock in clocks])
    record = with_telemetry(record, clock_mhz=clocks)
    assert record.telemetry is not None
    record = replace(record, telemetry=replace(record.telemetry, nanoseconds=record.began_nanoseconds))

    (table,) = tables_of(report_of(record), CLOCKS)

    assert [float(text) < -0.5 for text in column_of(table, "time with clock")] == [True]


def test_the_method_says_what_is_inside_each_timed_region(document: Document):
    regions, _ = tables_of(document, "Method")

    assert ["training step", "optimizer", "what is inside optimizer"] in [
        [cell.text for cell in row[:3]] for row in regions.rows
    ]


def test_the_method_says_where_the_time_of_the_last_run_went(document: Document):
    _, times = tables_of(document, "Method")

    assert [[cell.text for cell in row] for row in times.rows] == [["start", "4.00 s"], ["measure", "2.50 s"]]


def test_rows_of_different_machines_share_no_table(tmp_path: Path):
    cpu, gpu = make_record(make_task()), make_record(make_task(device="cuda:0", context_length=32))

    document = build_document(make_results(tmp_path, [(cpu, CPU), (gpu, GPU)]))

    assert "Complete results, A CPU" in headings_of(document)
    assert "Complete results, NVIDIA H200" in headings_of(document)
    for machine in ("A CPU", "NVIDIA H200"):
        _, table = tables_of(document, f"Complete results, {machine}")
        assert len(table.rows) == 1


def test_machines_of_one_name_are_told_apart_by_what_differs(tmp_path: Path):
    record = make_record(make_task(device="cuda:0"))

    document = build_document(make_results(tmp_path, [(record, GPU), (record, replace(GPU, torch="2.13.0"))]))

    assert "Machine, NVIDIA H200 (torch 2.13.0)" in headings_of(document)


@pytest.mark.parametrize("heading", ["Overview", "Irregular samples", "Forward against forward + backward"])
def test_no_sentence_asserts_a_cause(document: Document, heading: str):
    sections = [section for section in document.sections if section.heading == heading]

    text = " ".join(texts_of(section).lower() for section in sections)

    assert not [word for word in ("because", "due to", "caused by", "bound", "throttl") if word in text]


def test_units_of_a_column_fit_its_numbers(report_of: Build):
    document = report_of(make_record(make_task(), milliseconds=[0.02, 0.021]))

    _, table = tables_of(document, "Complete results")

    assert column_of(table, "median (µs)") == ["20.50"]


def test_a_single_sample_has_a_mean_and_no_deviation(report_of: Build):
    document = report_of(make_record(make_task(steps=1), milliseconds=[10]))

    _, table = tables_of(document, "Complete results")

    assert column_of(table, "mean ± std (ms)") == ["10.00"]
    assert column_of(table, "CV (%)") == ["–"]


def test_figures_stand_in_the_charts_section_only(document: Document):
    with_figures = [
        section.heading for section in document.sections if any(isinstance(block, Figure) for block in section.blocks)
    ]

    assert with_figures == ["Charts"]


def test_the_grid_shows_the_interval_of_the_median(report_of: Build):
    times = [1.7, 1.2, 1.9, 1.1, 1.5, 1.4, 1.8, 1.3, 1.6, 1.0]

    document = report_of(make_record(make_task(steps=10), milliseconds=times))

    _, table = tables_of(document, "Complete results")
    assert column_of(table, "95 % interval (± %)") == ["24.14"]
    assert column_of(table, "95 % interval (ms)") == ["1.100 to 1.800"]


def test_the_method_says_how_automatic_counts_were_found(report_of: Build):
    record = make_record(make_task(steps=10), warmed_by="cap", stopped_by="target")

    document = report_of(record)

    said = texts_of(section_of(document, "Method"))
    assert "0 steps here; 1 of 1 cell reached the cap before" in said
    assert "10 samples here; 0 of 1 cell reached a cap before the target" in said


def test_one_warm_up_step_and_one_sample_are_said_in_the_singular(report_of: Build):
    document = report_of(make_record(make_task(warmup=1, steps=1), milliseconds=[10.0]))

    said = texts_of(section_of(document, "Method"))
    assert "Each cell was given 1 untimed warm-up step and then 1 timed step;" in said


def test_a_row_of_several_processes_shows_their_number_their_mean_median_and_its_interval(report_of: Build):
    document = report_of(*make_processes([1.0] * 9, [2.0] * 9, [3.0] * 9), make_record(make_task(steps=9)))

    _, table = tables_of(document, "Complete results")

    assert column_of(table, "n") == ["3 x 9", "9"]
    assert column_of(table, "median (ms)")[0] == "2.000"
    assert column_of(table, "95 % interval (ms)")[0] == "-0.484 to 4.484"
    assert "its interval is a t interval over these, from 3 processes on" in table.note


def test_without_several_processes_nothing_is_said_of_their_interval(document: Document):
    _, table = tables_of(document, "Complete results")

    assert "t interval" not in table.note
    assert "Between processes" not in headings_of(document)


def test_processes_of_unlike_length_show_the_range(report_of: Build):
    document = report_of(*make_processes([1.0] * 9, [2.0] * 5))

    _, table = tables_of(document, "Complete results")

    assert column_of(table, "n") == ["2 x 5 to 9"]


def test_the_spread_between_processes_has_a_section_of_its_own(report_of: Build):
    document = report_of(*make_processes([9.0, 9.0], [10.0, 10.0], [11.0, 11.0]))

    (table,) = tables_of(document, "Between processes")

    assert column_of(table, "processes") == ["3"]
    assert column_of(table, "lowest median (ms)") == ["9.000"]
    assert column_of(table, "highest median (ms)") == ["11.000"]
    assert column_of(table, "spread (%)") == ["10.0"]
    assert column_of(table, "between (± %)") == ["24.8"]


def test_processes_that_lack_are_a_warning_and_marked_in_the_grid(report_of: Build):
    document = report_of(*make_processes([9.0] * 4, [10.0] * 4, processes=5))

    _, grid_table = tables_of(document, "Complete results")
    (warning,) = (block for block in section_of(document, "Between processes").blocks if isinstance(block, Callout))

    assert column_of(grid_table, "n") == ["2 of 5 x 4"]
    assert warning.kind is CalloutKind.WARNING
    assert "forward has 2 of 5. The same command again measures the rest." in warning.text


def test_a_cell_that_failed_in_one_process_says_in_which(report_of: Build):
    good, bad = make_processes([1.0], [1.0])
    failure = Failure(stage="measure", phase="forward", message="CUDA out of memory.")

    document = report_of(good, replace(bad, status=Status.OUT_OF_MEMORY, failure=failure))

    (table,) = tables_of(document, "Failures")
    assert column_of(table, "where") == ["measure, forward, process 2 of 2"]


def test_a_warning_of_any_process_is_shown_once(report_of: Build):
    first, *others = make_processes([1.0], [1.0], [1.0])

    document = report_of(first, *(replace(record, warnings=("mind the gap",)) for record in others))

    (table,) = tables_of(document, "Warnings")
    assert column_of(table, "warning") == ["mind the gap"]
    assert column_of(table, "cells") == ["1"]


def test_the_method_says_where_between_process_variation_was_not_measured(report_of: Build, tmp_path: Path):
    alone = make_record(make_task())
    several = make_processes([1.0], [2.0], [3.0])

    said = [
        texts_of(section_of(build_document(make_results(tmp_path / name, [(one, GPU) for one in records])), "Method"))
        for name, records in (("alone", [alone]), ("mixed", [alone, *several]), ("several", several))
    ]

    assert "Between-process variation was not measured." in said[0]
    assert "Between-process variation of the 1 cell in one process was not measured." in said[1]
    assert "was not measured" not in said[2]
    assert "10 timed steps in each of 3 processes" in said[2]


def test_the_peak_memory_of_a_row_is_that_of_its_largest_process(report_of: Build):
    first, second = make_processes([1.0], [2.0])
    assert second.memory is not None
    larger = replace(second, memory=replace(second.memory, peak_bytes=7 * 2**20))

    _, table = tables_of(report_of(first, larger), "Complete results")

    assert column_of(table, "peak memory (MiB)") == ["7.00"]


def test_the_sizes_say_what_of_a_model_is_not_as_in_the_named_ones(report_of: Build):
    special = TINY.model_copy(update={"is_tied": True, "activation": "relu", "name": "special"})

    plain = report_of(make_record(make_task()))
    mixed = report_of(make_record(make_task()), make_record(make_task(size=special)))

    assert not {"activation", "head"} & {column.name for column in tables_of(plain, "Complete results")[0].columns}
    sizes = tables_of(mixed, "Complete results")[0]
    assert dict(zip(column_of(sizes, "size"), column_of(sizes, "activation"), strict=True)) == {
        TINY.name: "swiglu",
        "special": "relu",
    }
    assert dict(zip(column_of(sizes, "size"), column_of(sizes, "head"), strict=True)) == {
        TINY.name: "own",
        "special": "tied",
    }


def test_of_a_users_own_model_only_what_was_counted_is_said(report_of: Build):
    own = OwnModel(factory="my.models:make", vocab_size=50)

    document = report_of(
        make_record(make_task(size=own)), make_record(make_task(size=own, workload="train_step"), parameters=None)
    )

    sizes, cells = tables_of(document, "Complete results")
    assert [cell.text for cell in sizes.rows[0]] == ["my.models:make", *["–"] * 4, "50", "4.3"]
    assert not {"rate", "of peak"} & {column.name for column in cells.columns}
    assert "attention its own" in texts_of(section_of(document, "Complete results"))
