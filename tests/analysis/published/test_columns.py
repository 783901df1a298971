"""What a column of a published table is: rates and extremes are no means, columns are told apart, and all is said."""

import pytest

from published import findings_of, markdown, read
from windtunnel.analysis.finding import Severity
from windtunnel.analysis.published.entries import Declared


def meanings(text: str, declared: Declared | None = None) -> dict[str, str]:
    """Return what each heading of the first table was taken for."""
    table = read(text, declared or Declared()).tables[0]
    return {heading: " ".join(words) for heading, words in table.columns}


@pytest.mark.parametrize(
    "heading",
    [
        "tokens/s",
        "TFLOP/s",
        "steps/s",
        "samples/sec",
        "bandwidth (GB/s)",
        "tokens_per_second",
        "Throughput (tokens/s)",
        "forward tokens / s",
        "it/s",
        "steps per second",
        "TFLOPS",
        "吞吐量 (token/秒)",
        "每秒样本数",
    ],
)
def test_a_rate_is_said_and_is_no_time(heading: str) -> None:
    text = markdown(["size", "forward (ms)", heading], [["small", 10, 400], ["medium", 20, 200]])

    published = read(text)

    assert [one.source for one in published.observed.times] == ["line 3, forward (ms)", "line 4, forward (ms)"]
    assert published.observed.memory == ()
    assert meanings(text)[heading] == "rate"


@pytest.mark.parametrize("heading", ["s/step", "ms per step", "forward / ms", "time per step (ms)", "step time (s)"])
def test_a_time_of_a_step_is_no_rate(heading: str) -> None:
    assert len(read(markdown(["size", heading], [["small", 10]])).observed.times) == 1


def test_columns_without_a_unit_below_a_caption_of_a_rate_are_rates() -> None:
    text = "# Throughput (tokens/s)\n\n" + markdown(["size", "forward", "backward"], [["small", 400, 200]])

    assert read(text, Declared(unit="ms")).observed.times == ()
    assert meanings(text) == {"size": "size", "forward": "rate", "backward": "rate"}


def test_columns_that_only_their_names_tell_apart_are_cells_of_their_own() -> None:
    rows: list[list[object]] = [[1024, 10, 5, 3, 0.1], [2048, 40, 20, "OOM", "OOM"]]
    text = markdown(["context", "eager (ms)", "sdpa (ms)", "flash (ms)", "flash std (ms)"], rows)

    published = read(text)

    first = [(one.config.compile, one.config.others, one.mean, one.std_seconds) for one in published.observed.times[:3]]
    assert first == [
        ("off", (), 0.010, None),
        (None, (("column", "sdpa"),), 0.005, None),
        (None, (("column", "flash"),), 0.003, pytest.approx(0.0001)),
    ]
    assert (published.tables[0].observations, published.tables[0].failures) == (5, 1)
    assert meanings(text)["flash (ms)"] == "a time by its name mean ms"


def test_a_column_that_says_again_what_another_says_is_named() -> None:
    text = markdown(["size", "mean (ms)", "median (ms)", "std (ms)"], [["small", 10, 11, 0.5]])

    (one,) = read(text).observed.times

    assert (one.mean, one.std_seconds) == (0.010, 0.0005)
    assert meanings(text)["median (ms)"] == "a time not used, as mean (ms) says it"


def test_a_phase_that_a_row_and_a_heading_both_name_is_used_once_and_said() -> None:
    published = read(markdown(["mode", "time (ms)", "forward (ms)"], [["forward", 10, 12]]))

    assert [one.mean for one in published.observed.times] == [0.010]
    (problem,) = published.unread
    assert problem.reason == "forward (ms) is not used: time (ms) is of the same phase and cell"


def test_a_pivot_whose_caption_names_no_axis_keeps_all_of_its_numbers() -> None:
    text = markdown(["implementation", 1024, 2048, 4096], [["naive", 10, 40, "OOM"], ["flash", 5, 20, 70]])

    published = read(text, Declared(unit="ms"))

    assert [one.state for one in published.observed.times] == ["ok", "ok", "out of memory", "ok", "ok", "ok"]
    assert published.observed.times[1].config.others == (("column", "2048"),)


def test_a_pivot_by_an_axis_with_numbers_is_over_that_axis() -> None:
    text = "# Forward time (ms) by layers\n\n" + markdown(["size", 12, 24], [["mine", 10, 20]])

    assert [one.config.num_layers for one in read(text).observed.times] == [12, 24]


def test_memory_that_ran_out_counts_where_no_time_says_it() -> None:
    rows: list[list[object]] = [[128, 10, 900], [256, "-", "OOM"], [512, 30, 2000]]
    text = markdown(["context", "forward (ms)", "peak memory (MiB)"], rows)

    (found,) = [one for one in findings_of(text) if one.severity is Severity.ERROR]

    assert found.claim == "memory_not_monotone"
    assert found.evidence == ("line 4, peak memory (MiB)", "line 5, peak memory (MiB)")
    assert read(text).tables[0].failures == 1


def test_memory_that_ran_out_with_its_time_counts_once() -> None:
    text = markdown(["context", "forward (ms)", "peak memory (MiB)"], [[128, 10, 900], [256, "OOM", "OOM"]])

    assert read(text).tables[0].failures == 1


@pytest.mark.parametrize(
    ("heading", "meaning"),
    [
        ("min (ms)", "minimum"),
        ("forward max (ms)", "maximum"),
        ("p99 latency (ms)", "percentile"),
        ("95th percentile (ms)", "percentile"),
        ("最大 (ms)", "maximum"),
        ("ci95 (ms)", "other spread"),
    ],
)
def test_extremes_and_percentiles_are_said_and_not_judged_as_means(heading: str, meaning: str) -> None:
    text = markdown(["size", "forward (ms)", heading], [["small", 10, 99]])

    assert [one.mean for one in read(text).observed.times] == [0.010]
    assert meaning in meanings(text)[heading]


def test_a_difference_of_times_is_no_time_of_a_step() -> None:
    text = markdown(["size", "whole step (ms)", "residual (µs)"], [["small", 10, 20]])

    assert [one.mean for one in read(text).observed.times] == [0.010]
    assert meanings(text)["residual (µs)"] == "difference"


def test_a_time_of_the_loss_is_no_time_of_the_pass_in_its_row() -> None:
    text = markdown(["size", "mode", "loss (µs)"], [["small", "forward", 20]])

    assert [one.phase for one in read(text).observed.times] == ["loss"]


@pytest.mark.parametrize(("heading", "meaning"), [("p50 (ms)", "median"), ("max-autotune (ms)", "mean")])
def test_a_median_and_a_mode_of_the_compiler_are_judged(heading: str, meaning: str) -> None:
    text = markdown(["size", heading], [["small", 10]])

    assert len(read(text).observed.times) == 1
    assert meaning in meanings(text)[heading]


def test_a_deviation_without_a_phase_belongs_to_the_column_before() -> None:
    text = markdown(["size", "forward (ms)", "std (ms)", "backward (ms)", "std (ms)"], [["small", 10, 1, 20, 2]])

    assert [one.std_seconds for one in read(text).observed.times] == [0.001, 0.002]


def test_a_deviation_without_a_mean_is_said() -> None:
    text = markdown(["size", "forward (ms)", "backward std (ms)"], [["small", 10, 1]])

    assert meanings(text)["backward std (ms)"] == "a time not used: no mean stands beside it"
