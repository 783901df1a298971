"""Where lines end, by the records and the course of their search."""

from pathlib import Path

import pytest

from searching import LAST, asked, searched
from windtunnel.analysis.frontier import FrontierLine, frontier_lines
from windtunnel.analysis.results import Results
from windtunnel.errors import StoreError
from windtunnel.records.store import Run
from windtunnel.spec.frontier import make_frontier
from windtunnel.spec.sweep import make_sweep


def lines(results: Results) -> dict[tuple[str, str], FrontierLine]:
    found = frontier_lines(results.rows, results.runs)
    return {(line.line.template.model.name, line.line.template.attention): line for line in found}


def test_each_line_ends_where_its_records_say(tmp_path: Path):
    found = lines(searched(tmp_path, asked()))

    one = found["small", "eager"]
    assert (one.value(one.largest), one.value(one.smallest)) == (1300, 1400)
    assert found["xl", "sdpa"].smallest is None
    assert found["xl", "sdpa"].course.is_exhausted


def test_the_error_of_a_prediction_is_against_what_was_found(tmp_path: Path):
    found = lines(searched(tmp_path, asked()))

    assert found["small", "eager"].prediction_error == pytest.approx(1500 / 1300 - 1)
    assert found["xl", "sdpa"].prediction_error is None  # all fits, so where it ends is not known


def test_a_search_that_was_killed_has_lines_without_a_course(tmp_path: Path):
    found = lines(searched(tmp_path, asked(), ends=False))

    one = found["small", "eager"]
    assert one.course is None
    assert one.value(one.largest) == 1300


def test_probes_under_another_limit_are_another_line(tmp_path: Path):
    searched(tmp_path, asked(memory_limit="24GiB"), dict.fromkeys(LAST, 3))

    results = searched(tmp_path, asked())

    found = frontier_lines(results.rows, results.runs)
    assert sorted(line.value(line.largest) for line in found if line.largest)[:4] == [100, 400, 400, 400]
    assert len(found) == 8


def test_sizes_are_judged_in_the_order_of_the_line(tmp_path: Path):
    frontier = make_frontier(make_sweep({"size": ["xl", "large", "small"], "mode": "forward"}), along="size")
    places = {("small", "eager"): 1, ("large", "eager"): 1, ("xl", "eager"): 1}

    (line,) = frontier_lines((results := searched(tmp_path, frontier, places, predicted=1)).rows, results.runs)

    assert (line.value(line.largest), line.value(line.smallest)) == ("large", "xl")
    assert line.prediction_error is None


def test_a_summary_that_is_damaged_is_named(tmp_path: Path):
    results = searched(tmp_path, asked())
    damaged = Run(started_at="2026-01-01", sweep=results.runs[0].sweep, machine="m", summary={"lines": [{}]})

    with pytest.raises(StoreError, match="2026-01-01 is damaged"):
        frontier_lines(results.rows, [damaged])
