"""What the lines of a run, `list` and `show` say of a record, without measuring."""

import io
from pathlib import Path

from rich.console import Console

from calling import CallCli
from factory import CPU, make_record, make_results, make_task
from windtunnel.cli.progress import Display
from windtunnel.records.record import Failure, Record, Status

TIMES = [1.7, 1.2, 1.9, 1.1, 1.5, 1.4, 1.8, 1.3, 1.6, 1.0]
"""Their median is 1.45 ms, and its interval goes from the second to the ninth: 1.1 to 1.8 ms."""


def line_of(record: Record) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    Display(console).ended(record)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_finished_cell_shows_its_median_with_half_of_its_interval():
    line = line_of(make_record(make_task(steps=10), milliseconds=TIMES))

    assert "1.45 ms ± 24 % (n = 10)" in line


def test_a_finished_cell_with_too_few_samples_says_that_it_has_no_interval():
    line = line_of(make_record(make_task(steps=3), milliseconds=[1.0, 2.0, 3.0]))

    assert "2.00 ms, no interval (n = 3)" in line


def test_a_failed_cell_says_where_and_what():
    failure = Failure(stage="build", message="too large")

    line = line_of(make_record(make_task(), status=Status.OUT_OF_MEMORY, failure=failure))

    assert "out of memory in build: too large" in line


def test_list_has_the_median_and_half_of_its_interval(cli: CallCli, tmp_path: Path):
    make_results(tmp_path, [(make_record(make_task(steps=10), milliseconds=TIMES), CPU)])

    listed = cli("list", str(tmp_path))

    assert "1.45 ms" in listed.out
    assert "± 24 %" in listed.out


def test_show_sums_up_the_samples_of_each_phase_and_marks_the_whole_step(cli: CallCli, tmp_path: Path):
    record = make_record(make_task(workload="forward_backward", steps=10), milliseconds=TIMES)
    make_results(tmp_path, [(record, CPU)])

    shown = cli("show", record.task.key(), "--store", str(tmp_path))

    assert "median 435 µs ± 24 %, mean 435 µs ± 90.8 µs, n = 10\n" in shown.out
    assert "median 1.45 ms ± 24 %, mean 1.45 ms ± 303 µs, n = 10, imprecise\n" in shown.out
