from dataclasses import replace

import pytest

from factory import CPU, GPU, make_record, make_task
from windtunnel.analysis.predictions import predictions_of
from windtunnel.analysis.results import Row
from windtunnel.cost.prediction import predict, target_named
from windtunnel.records.calibration import Calibration
from windtunnel.records.environment import Environment
from windtunnel.records.record import Failure, Memory, Record, Status
from windtunnel.records.store import StoredRecord
from windtunnel.spec.own_model import OwnModel


def row_of(record: Record, environment: Environment = GPU, calibration: Calibration | None = None) -> Row:
    stored = StoredRecord(key=record.task.key(), repeat=0, record=record, environment=environment)
    return Row(stored, calibration=calibration)


def gpu_record(**fields: object) -> Record:
    return make_record(make_task(size="small", device="cuda:0", context_length=128, **fields))


CALIBRATION = Calibration(
    device="cuda:0", started_at="2026-01-02T00:00:00+00:00", seconds=1.0, ceilings=(), left_out={}
)


def with_peak(record: Record, peak: int) -> Record:
    memory = Memory(
        built_bytes=0, peak_bytes=peak, peak_reserved_bytes=None, capacity_bytes=None, source="CUDA caching allocator"
    )
    return replace(record, memory=memory)


def test_the_error_is_signed_by_whether_the_prediction_is_too_high():
    record = gpu_record()
    memory = predict(record.task.cell, target_named("NVIDIA H200")).memory
    assert memory is not None
    row = row_of(with_peak(record, 2 * memory.peak_bytes))

    (beside,) = predictions_of([row]).beside

    assert beside.peak.error == pytest.approx(-0.5)
    assert beside.peak.ratio == pytest.approx(0.5)


def test_a_step_and_its_phases_stand_beside_their_medians():
    row = row_of(gpu_record(workload="train_step"))

    (beside,) = predictions_of([row]).beside

    step, forward = row.estimate(), row.estimate("forward")
    assert step is not None
    assert forward is not None
    assert beside.step.measured == step.value
    assert beside.phases["forward"].measured == forward.value
    assert list(beside.phases) == ["forward", "loss", "backward", "optimizer"]
    assert all(phase.ratio is not None for phase in beside.phases.values())


def test_the_time_of_a_cold_cell_is_not_compared_and_its_memory_is():
    (beside,) = predictions_of([row_of(gpu_record(warmup=0))]).beside

    assert beside.step.ratio is None
    assert beside.peak.ratio is not None


def test_a_cpu_without_calibration_has_nothing_to_compare():
    (beside,) = predictions_of([row_of(make_record(make_task(size="small")), CPU)]).beside

    assert beside.peak.ratio is None
    assert beside.step.ratio is None


def test_a_model_of_ones_own_says_why_it_has_no_prediction():
    model = OwnModel(factory="mine:make", vocab_size=10)

    (beside,) = predictions_of([row_of(make_record(make_task(size=model, device="cuda:0")))]).beside

    assert "no closed form" in beside.unknown
    assert (beside.peak.ratio, beside.step.ratio) == (None, None)


def test_what_ran_out_of_memory_has_a_prediction_and_no_measured_peak():
    failure = Failure(stage="warmup", message="out")
    record = make_record(make_task(size="small", device="cuda:0"), status=Status.OUT_OF_MEMORY, failure=failure)

    (beside,) = predictions_of([row_of(record)]).beside

    assert beside.peak.predicted is not None
    assert beside.peak.measured is None
    assert beside.fit == "yes"


def test_what_failed_otherwise_is_left_out():
    record = make_record(
        make_task(size="small", device="cuda:0"), status=Status.CRASHED, failure=Failure(stage="build", message="no")
    )

    assert predictions_of([row_of(record)]).beside == ()


def test_of_many_cells_every_nth_is_predicted():
    rows = [row_of(make_record(make_task(device="cuda:0", context_length=length))) for length in range(1, 11)]

    found = predictions_of(rows, most_cells=4)

    assert found.stride == 3
    assert [one.row.cell.context_length for one in found.beside] == [1, 4, 7, 10]


def test_the_rates_are_those_of_the_calibration_where_there_is_one():
    record = gpu_record()

    by_name = predictions_of([row_of(record)])
    measured = predictions_of([row_of(record, calibration=CALIBRATION)])

    assert by_name.source is not None
    assert by_name.source.startswith("datasheet")
    assert measured.source == "calibration of 2026-01-02T00:00:00+00:00"


def test_the_forward_of_older_rows_has_the_loss_in_its_prediction_too():
    new = gpu_record(workload="forward_backward")
    old = replace(new, timed={name: text for name, text in new.timed.items() if name != "loss"})

    now, then = predictions_of([row_of(new), row_of(old)]).beside

    forward, loss = now.phases["forward"].predicted, now.phases["loss"].predicted
    assert forward is not None
    assert loss is not None
    assert then.phases["forward"].predicted == pytest.approx(forward + loss)
