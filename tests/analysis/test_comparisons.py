from dataclasses import replace
from typing import Any

import pytest

from factory import GPU, TINY, make_processes, make_record, make_row, make_row_of, make_task
from windtunnel.analysis.comparisons import cold_starts, matched, ratio_span, step_ratios, varying
from windtunnel.analysis.results import Row
from windtunnel.records.environment import Environment
from windtunnel.records.record import ClockName, ColdCause, Samples, Status, Telemetry
from windtunnel.statistics.interval import Estimate, Method

OTHER_MACHINE = replace(GPU, driver="590.0")
NEWER_WINDTUNNEL = replace(GPU, windtunnel="0.2.0")

UNLIKE: dict[str, Any] = {
    "size": TINY.model_copy(update={"num_layers": 3}),
    "precision": "bf16",
    "attention": "sdpa",
    "compile": "default",
    "batch_size": 5,
    "context_length": 17,
    "device": "cuda:0",
    "seed": 1,
    "steps": 11,
    "processes": 2,
    "warmup": 6,
}
"""A value of each thing that a number depends on, other than that of `make_task`; but the workload."""


def row(
    *,
    milliseconds: tuple[float, ...] = (10.0, 10.0, 10.0),
    status: Status = Status.OK,
    environment: Environment = GPU,
    is_first_in_process: bool = True,
    **task: Any,
) -> Row:
    record = make_record(
        make_task(**task),
        milliseconds=milliseconds,
        status=status,
        is_first_in_process=is_first_in_process,
    )
    return make_row(record, environment)


def forward(**fields: Any) -> Row:
    return row(workload="forward", **fields)


def forward_backward(**fields: Any) -> Row:
    return row(workload="forward_backward", **fields)


def cold(**fields: Any) -> Row:
    return row(**{"warmup": 0, "milliseconds": (50.0, 10.0, 12.0, 11.0), **fields})


def test_rows_that_differ_in_the_named_thing_only_are_paired():
    rows = [row(context_length=16), row(context_length=32)]
    others = [row(context_length=32, compile="default"), row(context_length=64, compile="default")]

    pairs = matched(rows, others, but_for=("compile",))

    assert pairs == ((rows[1], others[0]),)


def test_rows_are_paired_in_the_order_of_the_first_ones():
    rows = [row(seed=seed) for seed in (3, 1, 2)]
    others = [row(seed=seed, precision="bf16") for seed in (1, 2, 3)]

    pairs = matched(rows, others, but_for=("precision",))

    assert pairs == ((rows[0], others[2]), (rows[1], others[0]), (rows[2], others[1]))


def test_rows_may_differ_in_several_named_things():
    one, other = row(warmup=1, steps=5), row(warmup=7, steps=9)

    assert matched([one], [other], but_for=("warmup", "steps")) == ((one, other),)


@pytest.mark.parametrize("thing", UNLIKE)
def test_rows_that_differ_in_anything_else_are_never_paired(thing: str):
    one, unlike = row(), row(workload="train_step", **{thing: UNLIKE[thing]})

    assert matched([one], [unlike], but_for=("workload",)) == ()


@pytest.mark.parametrize("thing", [thing for thing in UNLIKE if thing != "size"])
def test_rows_that_differ_in_what_is_named_are_paired(thing: str):
    one, unlike = row(), row(**{thing: UNLIKE[thing]})

    assert matched([one], [unlike], but_for=(thing,)) == ((one, unlike),)


def test_rows_of_different_machines_are_never_paired():
    one, elsewhere = row(), row(workload="train_step", environment=OTHER_MACHINE)

    assert matched([one], [elsewhere], but_for=("workload",)) == ()


def test_rows_of_different_versions_of_windtunnel_on_a_machine_are_paired():
    one, other = row(), row(workload="train_step", environment=NEWER_WINDTUNNEL)

    assert matched([one], [other], but_for=("workload",)) == ((one, other),)


def test_the_ratio_of_steps_is_median_over_median():
    one = forward(milliseconds=(9.0, 10.0, 500.0))
    other = forward_backward(milliseconds=(29.0, 30.0, 90.0))

    (found,) = step_ratios([other, one])

    assert (found.forward, found.forward_backward) == (one, other)
    assert found.ratio == pytest.approx(3.0)


def test_the_ratio_of_phases_is_of_those_inside_the_same_steps():
    """The builder gives forward 0.3 of a step and backward 0.6 of it."""
    (found,) = step_ratios([forward(), forward_backward(milliseconds=(30.0, 30.0))])

    assert found.phase_ratio == pytest.approx(2.0)


def test_there_is_no_ratio_of_phases_where_only_the_whole_step_was_timed():
    whole = Samples(phase="forward_backward", clock=ClockName.HOST, nanoseconds=(30_000_000,))
    record = make_record(make_task(workload="forward_backward"), samples=(whole,))

    (found,) = step_ratios([forward(), make_row(record)])

    assert found.ratio == pytest.approx(3.0)
    assert found.phase_ratio is None


@pytest.mark.parametrize("thing", UNLIKE)
def test_steps_of_unlike_rows_have_no_ratio(thing: str):
    assert step_ratios([forward(), forward_backward(**{thing: UNLIKE[thing]})]) == ()


def test_steps_of_different_machines_have_no_ratio():
    assert step_ratios([forward(), forward_backward(environment=OTHER_MACHINE)]) == ()


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_a_failed_row_has_no_ratio(status: Status):
    assert step_ratios([forward(status=status), forward_backward()]) == ()
    assert step_ratios([forward(), forward_backward(status=status)]) == ()


def test_a_training_step_is_not_taken_for_forward_backward():
    assert step_ratios([forward(), row(workload="train_step")]) == ()


def test_a_cold_start_is_the_first_step_beside_the_median_of_the_rest():
    (found,) = cold_starts([cold(milliseconds=(50.0, 10.0, 12.0, 99.0))])

    assert found.first == pytest.approx(0.050)
    assert found.rest == pytest.approx(0.012)
    assert found.cost == pytest.approx(0.038)


def test_a_cold_start_without_a_warm_row_stands_alone():
    (found,) = cold_starts([cold()])

    assert found.warm_row is None
    assert found.warm is None


def test_a_cold_start_is_compared_with_the_row_of_the_most_warm_up():
    one, five = row(warmup=1, milliseconds=(12.0,)), row(warmup=5, milliseconds=(8.0,))

    (found,) = cold_starts([five, cold(), one])

    assert found.warm_row is five
    assert found.warm == pytest.approx(0.008)


@pytest.mark.parametrize("thing", [thing for thing in UNLIKE if thing != "warmup"])
def test_a_cold_start_is_not_compared_with_an_unlike_row(thing: str):
    (found,) = cold_starts([cold(), row(**{thing: UNLIKE[thing]})])

    assert found.warm_row is None


def test_a_cold_start_is_not_compared_with_another_machine():
    (found,) = cold_starts([cold(), row(environment=OTHER_MACHINE)])

    assert found.warm_row is None


def test_a_cold_start_is_not_compared_with_a_failed_row():
    (found,) = cold_starts([cold(), row(status=Status.TIMED_OUT)])

    assert found.warm_row is None


@pytest.mark.parametrize(
    "not_cold",
    [
        {"warmup": 1},
        {"is_first_in_process": False},
        {"milliseconds": (50.0,)},
        {"status": Status.TIMED_OUT},
    ],
    ids=str,
)
def test_only_the_first_steps_of_a_process_that_went_on_are_cold_starts(not_cold: dict[str, Any]):
    assert cold_starts([cold(**not_cold)]) == ()


def test_what_varies_among_rows_is_named():
    rows = [row(batch_size=4, seed=0), row(batch_size=8, seed=0)]
    getters = {"batch": lambda r: r.cell.batch_size, "seed": lambda r: r.cell.seed}

    assert varying(iter(rows), getters) == ("batch",)


def test_nothing_varies_among_no_rows():
    assert varying([], {"batch": lambda r: r.cell.batch_size}) == ()


def test_a_cold_start_in_several_processes_is_the_median_of_their_first_steps():
    times = ([50.0, 10.0, 12.0], [90.0, 11.0, 13.0], [60.0, 12.0, 14.0])

    (found,) = cold_starts([make_row_of(*make_processes(*times, warmup=0))])

    assert (found.first, found.rest) == (pytest.approx(0.060), pytest.approx(0.012))
    assert len(found.others) == 6


def test_a_ratio_of_steps_of_several_processes_is_that_of_their_mean_medians():
    plain, both = (
        make_row_of(*make_processes(*times, workload=workload))
        for workload, times in (("forward", ([1.0], [2.0] * 9)), ("forward_backward", ([4.0] * 9, [5.0])))
    )

    (found,) = step_ratios([plain, both])

    assert found.ratio == pytest.approx(4.5 / 1.5)


def with_telemetry(cold_row: Row, *readings: tuple[int, int], causes: dict[str, float] | None = None) -> Row:
    """Return the row with readings of (milliseconds, MHz); its first step takes 50 ms from the beginning on."""
    milliseconds, clock_mhz = zip(*readings, strict=True)
    telemetry = Telemetry(source="NVML", nanoseconds=tuple(at * 1_000_000 for at in milliseconds), clock_mhz=clock_mhz)
    record = replace(cold_row.record, telemetry=telemetry, began_nanoseconds=(0, 51, 62, 75), cold_causes=causes or {})
    return make_row(record)


def test_the_cost_of_a_cold_start_is_split_into_its_causes():
    """11 ms at 2,000 MHz are 22 ms at 1,000 MHz; 39 ms are the cost, and 3 ms of them the allocator's."""
    causes: dict[str, float] = {ColdCause.ALLOCATOR: 0.003}

    (start,) = cold_starts([with_telemetry(cold(), (10, 800), (40, 1200), (60, 2000), (80, 2000), causes=causes)])

    assert start.cost == pytest.approx(0.039)
    assert start.clocks == pytest.approx(0.011)
    assert start.allocator == pytest.approx(0.003)
    assert start.libraries == pytest.approx(0.025)


@pytest.mark.parametrize("readings", [((60, 2000), (80, 2000)), ((10, 1000), (20, 1000)), ((10, 0), (60, 2000))])
def test_without_a_clock_reading_inside_or_after_the_first_step_its_share_is_not_known(
    readings: tuple[tuple[int, int], ...],
):
    (start,) = cold_starts([with_telemetry(cold(), *readings)])

    assert start.clocks is None
    assert start.libraries == start.cost


def test_causes_that_are_more_than_the_cost_leave_a_negative_remainder():
    causes: dict[str, float] = {ColdCause.ALLOCATOR: 0.05}

    (start,) = cold_starts([make_row(replace(cold().record, cold_causes=causes))])

    assert start.libraries == pytest.approx(-0.011)


def estimate(value: float, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=10, method=Method.RANKS, confidence=0.95)


def test_the_span_of_a_ratio_divides_the_ends_of_its_intervals_crosswise():
    span = ratio_span(estimate(30.0, 28.0, 33.0), estimate(10.0, 8.0, 14.0))

    assert span == (28.0 / 14.0, 33.0 / 8.0)


@pytest.mark.parametrize("other", [None, estimate(10.0, None, None)])
def test_a_ratio_with_a_side_without_an_interval_has_no_span(other: Estimate | None):
    known = estimate(30.0, 28.0, 33.0)

    assert ratio_span(known, other) is ratio_span(other, known) is None


def test_the_ratio_of_steps_and_that_of_phases_have_their_spans():
    times = (9.0, 10.0, 11.0, 10.0, 10.0, 10.0, 9.5, 10.5, 10.0, 10.0)
    one, both = forward(milliseconds=times), forward_backward(milliseconds=tuple(3 * value for value in times))

    (pair,) = step_ratios([one, both])

    assert pair.span == pytest.approx((3 * 9.5 / 10.5, 3 * 10.5 / 9.5))
    assert pair.phase_span == pytest.approx((2 * 9.5 / 10.5, 2 * 10.5 / 9.5))
