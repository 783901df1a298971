from dataclasses import replace
from pathlib import Path

import pytest

from factory import GPU, make_record, make_results, make_task
from windtunnel.analysis.checkpoints import AskedSearch, checkpoint_searches
from windtunnel.analysis.results import Results
from windtunnel.errors import StoreError
from windtunnel.records.record import Record
from windtunnel.records.store import Run
from windtunnel.report.build import build_document
from windtunnel.report.sections.checkpoints import checkpoints_section
from windtunnel.spec.model import ModelSpec

MIB = 2**20
DEEP = ModelSpec(name="deep", d_model=32, d_ff=64, num_layers=9, num_heads=4, vocab_size=101)
PEAKS = {
    "none": 40,
    "selective": 30,
    "ffn": 25,
    "every:1": 12,
    "every:2": 10,
    "every:3": 9,
    "every:5": 14,
    "every:9": 20,
}
ASKED = make_task(size=DEEP, workload="train_step", device="cuda:0", attention="sdpa")


def record_of(name: str, mib: int) -> Record:
    task = make_task(size=DEEP, workload="train_step", device="cuda:0", attention="sdpa", checkpoint=name)
    record = make_record(task, milliseconds=[10.0 + mib] * 10)
    assert record.memory is not None
    return replace(record, memory=replace(record.memory, peak_bytes=mib * MIB))


def run_of(budget_mib: int | None = None) -> Run:
    budget = None if budget_mib is None else budget_mib * MIB
    asked = AskedSearch(cell=ASKED.cell, plan=ASKED.plan, budget_bytes=budget)
    return Run(started_at="2026-01-02", sweep=asked.to_json(), machine=GPU.machine(), summary=None)


def stored(folder: Path, *names: str) -> Results:
    return make_results(folder, [(record_of(name, PEAKS[name]), GPU) for name in names])


def test_a_search_is_made_again_from_its_records(tmp_path: Path):
    results = stored(tmp_path, *PEAKS)

    (found,) = checkpoint_searches([run_of(13)], results.rows, ())

    assert found.lowest == "every:3"
    assert found.fastest == "every:3"
    assert found.measured["every:2"].peak_bytes == 10 * MIB


def test_what_was_measured_with_another_plan_is_not_part_of_it(tmp_path: Path):
    other = make_task(size=DEEP, workload="train_step", device="cuda:0", attention="sdpa", checkpoint="none", steps=3)
    results = make_results(tmp_path, [(make_record(other), GPU)])

    assert checkpoint_searches([run_of()], results.rows, ()) == ()


def test_a_search_that_was_stopped_says_what_it_lacks(tmp_path: Path):
    (found,) = checkpoint_searches([run_of()], stored(tmp_path, "none", "every:3").rows, ())

    assert found.measured["ffn"].outcome == "not measured"
    assert found.lowest == "every:3"


def test_the_same_search_asked_twice_is_shown_once(tmp_path: Path):
    rows = stored(tmp_path, *PEAKS).rows

    assert len(checkpoint_searches([run_of(13), run_of(13), run_of(30)], rows, ())) == 2


def test_a_damaged_search_is_refused():
    damaged = replace(run_of(), sweep={"kind": "checkpoint-search", "cell": "none"})

    with pytest.raises(StoreError, match="the search of 2026-01-02 cannot be read"):
        checkpoint_searches([damaged], (), ())


def test_the_report_of_a_store_has_the_answers_of_the_search(tmp_path: Path):
    results = stored(tmp_path, *PEAKS)

    document = build_document(replace(results, runs=(run_of(13),)))

    assert checkpoints_section(*checkpoint_searches([run_of(13)], results.rows, ())) in document.sections
