from dataclasses import replace
from pathlib import Path

import pytest

from factory import CPU, GPU, make_processes, make_record, make_results, make_row, make_row_of, make_task
from windtunnel.analysis import results as results_module
from windtunnel.analysis.results import load_results
from windtunnel.errors import StoreError
from windtunnel.records.record import ClockName, Samples, Status
from windtunnel.records.store import Run, open_store
from windtunnel.statistics.interval import Method


def test_rows_come_in_the_order_in_which_they_were_measured(tmp_path: Path):
    records = [make_record(make_task(seed=seed)) for seed in (3, 1, 2)]

    results = make_results(tmp_path, [(record, GPU) for record in records])

    assert [row.record for row in results] == records
    assert len(results) == 3


def test_the_latest_repeat_of_a_task_takes_its_place_in_the_order(tmp_path: Path):
    first, second = (make_record(make_task(seed=seed)) for seed in (1, 2))
    again = replace(first, process=2)

    results = make_results(tmp_path, [(first, GPU), (second, GPU), (again, GPU)])

    assert [row.record for row in results] == [second, again]
    assert [row.repeat for row in results] == [0, 1]


def test_a_failure_is_a_row_without_numbers(tmp_path: Path):
    record = make_record(make_task(), status=Status.OUT_OF_MEMORY)

    (row,) = make_results(tmp_path, [(record, GPU)])

    assert not row.is_ok
    assert row.summary() is None
    assert row.samples() == ()
    assert row.flops_per_second() is None
    assert row.peak_fraction() is None


def test_rows_are_grouped_by_machine_in_order_of_first_appearance(tmp_path: Path):
    records = [make_record(make_task(seed=seed)) for seed in range(4)]

    results = make_results(tmp_path, zip(records, (GPU, CPU, GPU, CPU), strict=True))

    groups = results.by_machine()
    assert list(groups) == [GPU.machine(), CPU.machine()]
    assert [[row.record for row in rows] for rows in groups.values()] == [records[::2], records[1::2]]


def test_the_runs_of_a_store_come_with_its_rows(tmp_path: Path):
    run = Run(started_at="2026-01-02T03:04:05+00:00", sweep={"a": 1}, machine="m", summary=None)
    with open_store(tmp_path) as store:
        store.begin_run(run)

    assert load_results(tmp_path).runs == (run,)


def test_results_are_loaded_from_a_path_its_text_or_an_open_store(tmp_path: Path):
    (row,) = make_results(tmp_path, [(make_record(make_task()), GPU)])

    with open_store(tmp_path) as store:
        loaded = [load_results(source) for source in (tmp_path, str(tmp_path), store)]

    assert [[found.record for found in results] for results in loaded] == [[row.record]] * 3


def test_results_of_a_folder_without_a_store_are_an_error(tmp_path: Path):
    with pytest.raises(StoreError, match="no store in"):
        load_results(tmp_path)


def test_the_phases_end_with_the_whole_step():
    row = make_row(make_record(make_task(workload="train_step")))

    assert row.phases == ("forward", "loss", "backward", "optimizer", "step")
    assert row.record.total == row.phases[-1]


@pytest.mark.parametrize(("device", "clock"), [("cuda:0", ClockName.DEVICE), ("cpu", ClockName.HOST)])
def test_a_phase_is_shown_on_the_clock_of_the_device_where_there_is_one(device: str, clock: ClockName):
    row = make_row(make_record(make_task(workload="train_step", device=device)))

    assert row.clock("forward") is clock


def test_the_whole_step_is_shown_on_the_clock_of_the_host_even_where_the_device_timed_it():
    series = tuple(
        Samples(phase="forward", clock=clock, nanoseconds=(1_000_000,)) for clock in (ClockName.DEVICE, ClockName.HOST)
    )
    row = make_row(make_record(make_task(device="cuda:0"), samples=series))

    assert row.record.total == "forward"
    assert row.clock("forward") is ClockName.HOST


def test_a_summary_is_of_the_whole_step_unless_a_phase_is_named():
    row = make_row(make_record(make_task(workload="train_step"), milliseconds=[10.0, 20.0, 60.0]))

    step, forward = row.summary(), row.summary("forward")

    assert step is not None
    assert forward is not None
    assert (step.n, step.median) == (3, pytest.approx(0.020))
    assert forward.median == pytest.approx(0.006)


def test_a_summary_can_be_asked_for_on_another_clock():
    task = make_task(device="cuda:0")
    host, enqueue = (
        Samples(phase="forward", clock=clock, nanoseconds=(nanoseconds,))
        for clock, nanoseconds in ((ClockName.HOST, 9_000_000), (ClockName.ENQUEUE, 2_000_000))
    )
    row = make_row(make_record(task, samples=(host, enqueue)))

    medians = [row.summary(clock=clock) for clock in (None, ClockName.ENQUEUE, ClockName.DEVICE)]

    assert [summary and summary.median for summary in medians] == [
        pytest.approx(0.009),
        pytest.approx(0.002),
        None,
    ]


def test_warm_up_is_no_sample():
    samples = Samples(
        phase="forward",
        clock=ClockName.HOST,
        nanoseconds=(1_000_000,),
        warmup_nanoseconds=(900_000_000,),
    )
    row = make_row(make_record(make_task(), samples=(samples,)))

    summary = row.summary()

    assert row.samples() == (1_000_000,)
    assert summary is not None
    assert summary.maximum == pytest.approx(0.001)


def test_the_rate_of_a_step_is_the_work_of_its_phases_over_its_median():
    record = make_record(
        make_task(workload="train_step"),
        milliseconds=[1000.0, 2000.0, 9000.0],
        flops={"forward": 10, "backward": 20},
    )

    row = make_row(record)

    assert row.flops() == 30
    assert row.flops_per_second() == pytest.approx(30 / 2.0)
    assert row.flops_per_second("backward") == pytest.approx(20 / 1.2)


def test_a_phase_without_matrix_products_has_no_rate():
    row = make_row(make_record(make_task(workload="train_step")))

    assert row.flops("optimizer") is None
    assert row.flops_per_second("optimizer") is None


@pytest.mark.parametrize(
    ("precision", "peak"),
    [("fp32", 67e12), ("tf32", 494.7e12), ("bf16", 989.4e12), ("bf16-pure", 989.4e12)],
)
def test_a_rate_is_a_fraction_of_the_peak_of_its_precision(precision: str, peak: float):
    task = make_task(precision=precision, device="cuda:0")
    record = make_record(task, milliseconds=[1000.0], flops={"forward": 10**13})

    row = make_row(record, GPU)

    assert row.peak_flops_per_second == pytest.approx(peak)
    assert row.peak_fraction() == pytest.approx(1e13 / peak)


def test_a_device_of_unknown_peak_gives_a_rate_and_no_fraction():
    row = make_row(make_record(make_task()), CPU)

    assert row.flops_per_second() is not None
    assert row.peak_flops_per_second is None
    assert row.peak_fraction() is None


def test_an_estimate_is_the_median_in_seconds_with_an_interval_around_it():
    """The binomial ranks of 10 independent samples at 95 % are the second and the ninth."""
    times = [1.7, 1.2, 1.9, 1.1, 1.5, 1.4, 1.8, 1.3, 1.6, 1.0]
    row = make_row(make_record(make_task(steps=10), milliseconds=times))

    estimate = row.estimate()

    assert estimate is not None
    assert estimate.value == pytest.approx(1.45e-3)
    assert (estimate.low, estimate.high) == pytest.approx((1.1e-3, 1.8e-3))


def test_too_few_samples_have_a_median_and_no_interval():
    row = make_row(make_record(make_task(steps=3), milliseconds=[1.0, 3.0, 2.0]))

    estimate = row.estimate()

    assert estimate is not None
    assert estimate.value == pytest.approx(2e-3)
    assert (estimate.low, estimate.high) == (None, None)


def test_the_processes_of_a_cell_are_one_row_in_their_order(tmp_path: Path):
    cells = [make_processes([1.0], [2.0], [3.0], seed=seed) for seed in (1, 2)]
    (a0, a1, a2), (b0, b1, b2) = cells

    results = make_results(tmp_path, [(record, GPU) for record in (a0, b0, a2, b2, a1, b1)])

    assert [[stored.record for stored in row.processes] for row in results] == cells
    assert [row.record for row in results] == [a0, b0]
    assert [row.key for row in results] == [a0.task.key(), b0.task.key()]


def test_the_processes_of_different_machines_and_plans_are_different_rows(tmp_path: Path):
    two, three = make_processes([1.0], [2.0]), make_processes([1.0], [2.0], [3.0])
    alone = make_record(make_task())

    results = make_results(
        tmp_path,
        [(alone, GPU), *((record, GPU) for record in two + three), *((record, CPU) for record in two)],
    )

    assert [len(row.processes) for row in results] == [1, 2, 3, 2]
    assert [row.machine == GPU.machine() for row in results] == [True, True, True, False]


def test_the_latest_repeat_of_each_process_counts(tmp_path: Path):
    first, second = make_processes([1.0], [2.0])
    again = replace(first, process=2)

    (row,) = make_results(tmp_path, [(first, GPU), (second, GPU), (again, GPU)])

    assert [stored.record for stored in row.processes] == [again, second]


def test_samples_of_processes_follow_one_another_and_are_summarized_together():
    row = make_row_of(*make_processes([1.0, 2.0], [5.0, 4.0]))

    summary = row.summary()

    assert row.samples() == (1_000_000, 2_000_000, 5_000_000, 4_000_000)
    assert row.samples_by_process() == ((1_000_000, 2_000_000), (5_000_000, 4_000_000))
    assert summary is not None
    assert (summary.n, summary.mean) == (4, pytest.approx(3e-3))


def test_the_estimate_of_processes_is_the_t_interval_of_their_medians():
    """With 2 degrees of freedom t is 4.3027 at 95 %; the deviation of 1, 2 and 3 is 1."""
    row = make_row_of(*make_processes([0.9, 1.0, 9.0], [2.0, 2.0, 2.0], [3.0, 0.1, 3.1]))

    estimate = row.estimate()

    assert estimate is not None
    assert (estimate.method, estimate.n) == (Method.PROCESSES, 3)
    half = 4.302652729911275 / 3**0.5
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2e-3, (2 - half) * 1e-3, (2 + half) * 1e-3))


def test_two_processes_have_a_location_and_no_interval():
    row = make_row_of(*make_processes([1.0] * 10, [2.0] * 10))

    estimate = row.estimate()

    assert estimate is not None
    assert (estimate.method, estimate.low) == (Method.TOO_FEW_PROCESSES, None)
    assert estimate.value == pytest.approx(1.5e-3)


def test_the_only_stored_process_of_several_has_the_interval_of_its_samples():
    row = make_row_of(*make_processes([1.0, 1.1, 0.9, 1.2, 0.8] * 4, processes=3))

    estimate = row.estimate()

    assert not row.is_complete
    assert estimate is not None
    assert estimate.method is Method.RANKS


def test_the_location_of_processes_lies_in_their_interval_and_is_what_rates_use():
    """Most samples are of the slow process, so that the median of all together is its own."""
    row = make_row_of(*make_processes([1.0], [1.1], [1.2], [1.3] * 99))

    estimate, summary = row.estimate(), row.summary()

    assert estimate is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assert summary is not None
    assert estimate.value != pytest.approx(summary.median)
    assert estimate.low < estimate.value < estimate.high
    assert row.flops_per_second() == pytest.approx(row.flops() / estimate.value)


def test_phases_of_processes_have_their_own_estimates():
    row = make_row_of(*make_processes([10.0], [20.0], [30.0], workload="train_step"))

    estimate = row.estimate("forward")

    assert estimate is not None
    assert (estimate.value, estimate.n) == (pytest.approx(6e-3), 3)


def test_a_row_is_failed_when_one_of_its_processes_is_and_shows_the_first_of_these():
    good, *_ = make_processes([1.0], [1.0], [1.0])
    failed, worse = (
        make_record(make_task(processes=3, replica=replica), status=status)
        for replica, status in ((1, Status.OUT_OF_MEMORY), (2, Status.CRASHED))
    )

    row = make_row_of(good, failed, worse)

    assert not row.is_ok
    assert row.record is failed
    assert row.key == failed.task.key()


def test_a_row_knows_whether_all_its_processes_are_stored():
    records = make_processes([1.0], [2.0], [3.0])

    rows = [make_row_of(*records[:2]), make_row_of(*records), make_row(make_record(make_task()))]

    assert [row.is_complete for row in rows] == [False, True, True]


def test_a_row_comes_apart_into_its_processes():
    row = make_row_of(*make_processes([1.0], [2.0]))

    assert [part.samples() for part in row.apart()] == [(1_000_000,), (2_000_000,)]


def test_a_phase_has_an_estimate_of_its_own():
    row = make_row(make_record(make_task(workload="train_step", steps=10), milliseconds=[10.0] * 10))

    forward, absent = row.estimate("forward"), row.estimate("prefill")

    assert forward is not None
    assert (forward.value, forward.n) == (pytest.approx(3e-3), 10)
    assert absent is None


def test_the_statistics_of_all_rows_are_computed_in_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []

    def noting(name: str) -> None:
        function = getattr(results_module, name)
        monkeypatch.setattr(results_module, name, lambda series: asked.append(len(series)) or function(series))

    for name in ("median_intervals", "irregularities_of_each"):
        noting(name)
    results = make_results(tmp_path, [(make_record(make_task(seed=seed)), GPU) for seed in range(3)])

    for row in results:
        row.estimate()
    for row in results:
        _ = row.irregularities

    assert asked == [3, 3]


def test_irregularities_are_of_the_whole_step_in_nanoseconds():
    times = [10 + 0.5 * (place // 4 % 2) for place in range(40)]
    row = make_row(make_record(make_task(workload="forward_backward"), milliseconds=times))

    states = row.irregularities.two_states

    assert states is not None
    assert (states.low, states.high) == (10_000_000, 10_500_000)


def test_a_row_without_samples_has_nothing_irregular():
    row = make_row(make_record(make_task(), status=Status.OUT_OF_MEMORY))

    assert row.irregularities.is_clean
    assert row.estimate() is None


def test_a_difference_between_processes_is_no_irregularity_inside_one():
    steady, slower = [10.0, 10.1] * 20, [12.0, 12.1] * 20
    row = make_row_of(*make_processes(steady, slower, slower))

    assert row.irregularities.trend is row.irregularities.step is None


def test_a_row_is_irregular_when_one_of_its_processes_is():
    noise = [10 + 0.1 * (place * 7 % 5) for place in range(40)]
    stepped = [value + (1 if place >= 20 else 0) for place, value in enumerate(noise)]
    row = make_row_of(*make_processes(noise, stepped, noise))

    step = row.irregularities.step

    assert step is not None
    assert step.index == 20
