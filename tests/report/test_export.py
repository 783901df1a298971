"""What other programs are given: every format read back, failures in each, hostile text escaped."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import CPU, GPU, make_processes, make_record, make_results, make_task
from windtunnel.analysis.results import Results
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.records.record import Failure, Record, Status
from windtunnel.report.export import EXPORTS, export_results
from windtunnel.report.exports.csv_table import render_csv
from windtunnel.report.exports.openmetrics import escaped

HOSTILE = '=HYPERLINK("http://x";"<script>alert(1)</script>")\nnext \\ "line"'


def failed(message: str = "CUDA out of memory", **task: object) -> Record:
    failure = Failure(stage="measure", phase="backward", message=message, requested_bytes=2**34)
    return make_record(make_task(context_length=64, **task), status=Status.OUT_OF_MEMORY, failure=failure)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    records = [make_record(make_task(workload="train_step")), failed(HOSTILE)]
    return make_results(tmp_path, [(record, GPU) for record in records])


def lines_of(results: Results, *, with_samples: bool = False) -> list[dict[str, str]]:
    text = export_results(results, "csv", with_samples=with_samples).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_a_line_for_each_phase_and_for_the_failure(results: Results):
    lines = lines_of(results)

    assert [line["phase"] for line in lines] == ["forward", "loss", "backward", "optimizer", "step", "backward"]
    assert [line["status"] for line in lines] == ["ok"] * 5 + ["out of memory"]
    assert float(lines[4]["estimate_seconds"]) == pytest.approx(0.0101)
    assert lines[4]["is_whole_step"] == "True"
    assert lines[5]["estimate_seconds"] == ""
    assert lines[5]["failure_requested_bytes"] == str(2**34)


def test_csv_disarms_what_a_spreadsheet_would_compute(results: Results):
    (message,) = (line["failure_message"] for line in lines_of(results) if line["status"] != "ok")

    assert message == f"'{HOSTILE}"


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "\n=1"])
def test_no_cell_of_text_begins_a_formula(start: str, tmp_path: Path):
    text = render_csv(make_results(tmp_path, [(failed(start), GPU)]), with_samples=False)

    (line,) = csv.DictReader(io.StringIO(text, newline=""))
    assert line["failure_message"].startswith("'")


@given(message=st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_any_message_stays_in_its_cell(message: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "windtunnel.report.exports.csv_table.phase_rows", lambda _: iter([{"message": message, "after": 3}])
        )
        text = render_csv(Results(rows=(), runs=()), with_samples=False)

    (line,) = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert line[1] == "3"
    assert not line[0].startswith(("=", "+", "-", "@"))


def test_samples_are_all_there_in_order_with_their_clock_and_process(tmp_path: Path):
    processes = make_processes([10.0, 11.0], [12.0, 13.0])
    results = make_results(tmp_path, [(record, CPU) for record in (*processes, failed())])

    lines = lines_of(results, with_samples=True)

    whole = [line for line in lines if line["phase"] == "forward"]
    assert [int(line["time_nanoseconds"]) for line in whole] == [10_000_000, 11_000_000, 12_000_000, 13_000_000]
    assert [line["process_number"] for line in whole] == ["0", "0", "1", "1"]
    assert [line["status"] for line in lines if not line["phase"]] == ["out of memory"]


@pytest.mark.parametrize("with_samples", [False, True])
def test_parquet_has_the_columns_of_csv_with_types(results: Results, with_samples: bool):
    parquet = pytest.importorskip("pyarrow.parquet")

    written = export_results(results, "parquet", with_samples=with_samples)

    table = parquet.read_table(io.BytesIO(written))
    lines = lines_of(results, with_samples=with_samples)
    assert table.num_rows == len(lines)
    assert table.column_names == list(lines[0])
    number = "time_nanoseconds" if with_samples else "estimate_seconds"
    assert str(table.schema.field(number).type) == ("int64" if with_samples else "double")
    assert table.column(number)[-1].as_py() is None
    assert table.column("failure_message")[-1].as_py() == HOSTILE


def test_parquet_without_pyarrow_says_how_to_get_it(results: Results, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)

    with pytest.raises(UnsupportedError, match=re.escape("pip install 'windtunnel[parquet]'")):
        export_results(results, "parquet")


def test_pytest_benchmark_has_its_statistics_and_the_failures_beside_them(results: Results):
    document = json.loads(export_results(results, "pytest-benchmark", with_samples=True))

    step = document["benchmarks"][-1]
    assert step["fullname"].endswith("::step")
    assert step["stats"]["rounds"] == len(step["stats"]["data"]) == 10
    assert step["stats"]["min"] <= step["stats"]["q1"] <= step["stats"]["median"] <= step["stats"]["max"]
    assert step["stats"]["ops"] == pytest.approx(1 / step["stats"]["mean"])
    assert document["machine_info"]["device_name"] == "NVIDIA H200"
    assert [one["status"] for one in document["windtunnel_failures"]] == ["out of memory"]


def test_bencher_has_latency_in_nanoseconds_with_its_interval_and_the_failure(results: Results):
    document = json.loads(export_results(results, "bencher"))

    step = next(measures for name, measures in document.items() if name.endswith("· step"))
    latency = step["latency"]
    assert latency["value"] == pytest.approx(10.1e6)
    assert latency["lower_value"] <= latency["value"] <= latency["upper_value"]
    assert step["failed"] == {"value": 0.0}
    assert [set(measures) for measures in document.values() if measures.get("failed") == {"value": 1.0}] == [
        {"failed", "peak_memory"}
    ]


def test_github_action_benchmark_has_entries_of_numbers(results: Results):
    entries = json.loads(export_results(results, "github-action-benchmark"))

    assert all(isinstance(entry["value"], int | float) for entry in entries)
    assert len({entry["name"] for entry in entries}) == len(entries)
    step = next(entry for entry in entries if entry["name"].endswith("· step"))
    assert (step["unit"], step["value"]) == ("ms", pytest.approx(10.1))
    assert entries[-1] == {"name": "failed cells", "unit": "cells", "value": 1}
    assert any(entry["name"].endswith("· failed") and HOSTILE in entry["extra"] for entry in entries)


_LINE = re.compile(r'[a-z_]+\{([a-z_]+="(\\[\\"n]|[^\\"\n])*",?)+\} (-?[\d.e+-]+|NaN|[+-]Inf)')


def test_openmetrics_is_lines_of_its_grammar_and_ends(results: Results):
    text = export_results(results, "openmetrics").decode()

    *lines, end, empty = text.split("\n")
    assert (end, empty) == ("# EOF", "")
    assert all(line.startswith("# ") or _LINE.fullmatch(line) for line in lines), lines
    names = [line.split(" ")[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert sum(line.startswith("windtunnel_cell_failed{") for line in lines) == 2
    assert "windtunnel_phase_time_seconds" in text


@given(text=st.text(max_size=60))
def test_a_label_never_ends_before_its_end(text: str):
    written = escaped(text)

    assert re.fullmatch(r'(\\[\\"n]|[^\\"\n])*', written)
    written.encode()


@pytest.mark.parametrize("name", EXPORTS)
def test_every_format_takes_a_store_of_failures_and_one_of_nothing(name: str, tmp_path: Path):
    if name == "parquet":
        pytest.importorskip("pyarrow")

    assert export_results(make_results(tmp_path, [(failed(), CPU)]), name)
    assert export_results(Results(rows=(), runs=()), name)


def test_cells_of_one_name_are_told_apart_by_their_keys(tmp_path: Path):
    both = [make_record(make_task(seed=seed)) for seed in (0, 1)]

    document = json.loads(export_results(make_results(tmp_path, [(record, CPU) for record in both]), "bencher"))

    assert len(document) == 2
    assert all(any(record.task.key() in name for name in document) for record in both)


def test_two_machines_are_not_merged_into_a_format_of_one(tmp_path: Path):
    record = make_record(make_task())
    results = make_results(tmp_path, [(record, CPU), (record, GPU)])

    with pytest.raises(SpecError, match=r"bencher holds one machine, and there are \w{12} \(A CPU\), .*--machine"):
        export_results(results, "bencher")
    assert len(json.loads(export_results(results, "bencher", machine=GPU.machine()[:6]))) == 1
    with pytest.raises(SpecError, match="no machine begins with 'xyz'"):
        export_results(results, "csv", machine="xyz")


def test_samples_are_refused_where_they_have_no_place(results: Results):
    with pytest.raises(SpecError, match=r"openmetrics has no place for raw samples.*csv, parquet, pytest-benchmark"):
        export_results(results, "openmetrics", with_samples=True)


def test_a_data_frame_has_the_rows_and_knows_what_is_missing(results: Results):
    pandas = pytest.importorskip("pandas")

    frame, samples = results.to_pandas(), results.to_pandas(samples=True)

    assert len(frame) == len(lines_of(results))
    assert str(frame["num_samples"].dtype) == "Int64"
    assert frame["estimate_seconds"].iloc[-1] is pandas.NA
    assert samples["time_nanoseconds"].notna().sum() == 50
    assert len(samples) == 51


def test_a_data_frame_without_pandas_says_how_to_get_it(results: Results, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)

    with pytest.raises(UnsupportedError, match="pip install pandas"):
        results.to_pandas()
