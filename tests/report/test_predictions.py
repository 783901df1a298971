from collections.abc import Callable
from dataclasses import replace

from factory import CPU, make_record, make_task
from reading import column_of, headings_of, section_of, tables_of, texts_of
from windtunnel.cost.prediction import predict, target_named
from windtunnel.records.record import Failure, Record, Status
from windtunnel.report.document import Document
from windtunnel.spec.own_model import OwnModel

Build = Callable[..., Document]

HEADING = "Predicted beside measured"
OUT = Failure(stage="warmup", message="out")


def record_off_by(error: float, **fields: object) -> Record:
    """Return a record whose measured peak makes its prediction too high by a share."""
    record = make_record(make_task(size="small", device="cuda:0", context_length=128, **fields))
    memory = predict(record.task.cell, target_named("NVIDIA H200")).memory
    assert memory is not None
    assert record.memory is not None
    return replace(record, memory=replace(record.memory, peak_bytes=round(memory.peak_bytes / (1 + error))))


def test_the_worst_error_is_named_with_its_sign_and_its_cell(report_of: Build):
    document = report_of(record_off_by(0.02), record_off_by(-0.04, workload="train_step"))

    text = texts_of(section_of(document, HEADING))

    assert "Predicted peaks of 2 cells are off by -4.0 % to +2.0 %" in text
    assert "the worst is -4.0 %: training step." in text


def test_of_one_cell_there_is_no_worst(report_of: Build):
    text = texts_of(section_of(report_of(record_off_by(0.02)), HEADING))

    assert "The predicted peak of forward is off by +2.0 % of the measured one." in text
    assert "The kernels of forward are predicted to take less than 1.5 times as long as their launches" in text
    assert "the predicted time of the step is " in text
    assert "the worst" not in text


def test_each_cell_has_its_error_and_its_ratio(report_of: Build):
    document = report_of(record_off_by(0.02), record_off_by(-0.04, workload="train_step"))

    (table,) = tables_of(document, HEADING)

    assert column_of(table, "peak memory: error") == ["+2.0 %", "-4.0 %"]
    assert all(text.endswith("x") for text in column_of(table, "whole step: ratio"))
    assert column_of(table, "whole step: bound by") == ["launch", "launch"]


def test_what_has_no_closed_form_has_dashes_and_a_reason(report_of: Build):
    own = make_record(make_task(size=OwnModel(factory="mine:make", vocab_size=10), device="cuda:0"))

    document = report_of(record_off_by(0.02), own)

    (table,) = tables_of(document, HEADING)
    assert column_of(table, "peak memory: error") == ["+2.0 %", "–"]
    assert column_of(table, "whole step: predicted (ms)")[1] == "–"
    assert "model 'mine:make' has no closed form" in texts_of(section_of(document, HEADING))


def test_a_report_of_nothing_to_compare_has_no_such_section(report_of: Build):
    document = report_of(make_record(make_task(size="small")), environment=CPU)

    assert HEADING not in headings_of(document)


def test_cells_that_ran_out_are_held_against_what_was_predicted(report_of: Build):
    failed = make_record(
        make_task(size="2.7B", device="cuda:0", workload="train_step", context_length=8192, batch_size=64),
        status=Status.OUT_OF_MEMORY,
        failure=OUT,
    )

    text = texts_of(section_of(report_of(record_off_by(0.02), failed), HEADING))

    assert (
        "Of 1 cell that ran out of memory, 1 was predicted not to fit. Of 1 cell that ran, 1 was predicted to fit."
        in text
    )


def test_phases_stand_in_a_section_of_their_own(report_of: Build):
    document = report_of(record_off_by(0.02, workload="train_step"))

    (table,) = tables_of(document, f"{HEADING}, by phase")

    assert [column.group for column in table.columns if column.name == "ratio"] == [
        "forward",
        "loss",
        "backward",
        "optimizer",
    ]
