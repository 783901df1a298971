"""`windtunnel profile`, on tiny models with real workers, and on traces made elsewhere."""

import gzip
import json
from pathlib import Path

import pytest

from calling import CallCli
from nsys_exports import forward_pass
from profiles import training_step, write_chrome_trace
from windtunnel.analysis.results import load_results
from windtunnel.records.store import read_store

SHAPE = ("--d-model", "32", "--layers", "2", "--heads", "2", "--vocab", "11", "--context", "8", "--device", "cpu")


def test_a_profile_is_printed_stored_reported_and_its_trace_is_a_whole_one(cli: CallCli, tmp_path: Path):
    trace = tmp_path / "step.json.gz"

    outcome = cli("profile", *SHAPE, "--store", str(tmp_path / "s"), "--trace", str(trace))

    assert outcome.code == 0, outcome.err
    assert "What watching costs" in outcome.out
    assert "Operators by phase, of one step" in outcome.out
    assert "open it at ui.perfetto.dev" in outcome.out
    names = {event["name"] for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]}
    assert {"windtunnel::phase backward", "windtunnel::part softmax"} - names == {"windtunnel::part softmax"}
    assert "icicle" in (tmp_path / "s" / "report" / "report.html").read_text(encoding="utf-8")
    (stored,) = load_results(tmp_path / "s").profiles
    assert stored.look.cell is not None
    assert stored.look.cell.workload == "train_step"
    with read_store(tmp_path / "s") as store:
        assert list(store.records()) == [], "profiled times enter no table of times"
    assert "Profiled steps" in cli("report", str(tmp_path / "s")).out
    assert "1 profile in" in cli("list", str(tmp_path / "s")).out


def test_several_cells_make_a_profile_each_and_a_failed_one_the_exit_code_1(cli: CallCli, tmp_path: Path):
    outcome = cli("profile", *SHAPE, "--mode", "forward", "--precision", "fp32,tf32", "--store", str(tmp_path))

    assert outcome.code == 1
    assert "2 profiles" in outcome.out
    assert "unsupported in build" in outcome.out


@pytest.mark.parametrize("kind", ["trace", "nsys"])
def test_a_trace_made_elsewhere_has_the_same_tables(cli: CallCli, tmp_path: Path, kind: str):
    path = write_chrome_trace(training_step(), tmp_path / "t.json") if kind == "trace" else forward_pass(tmp_path)

    outcome = cli("profile", "--import", str(path), "--report", str(tmp_path / "r"))

    assert outcome.code == 0, outcome.err
    assert "Kernels by phase, of one step" in outcome.out
    assert "Parts of the model by kind of work" in outcome.out
    assert (tmp_path / "r" / "report.html").is_file()
    assert not (tmp_path / "windtunnel-results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode", "forward,train_step", "--trace", "a.json"), "--trace is of one cell, and these flags make 2"),
        (("--trace", "no/such/folder/a.json"), "its folder is not there; make it, or name another"),
        (("--nsys", "--trace", "a.json"), "--trace is of torch's profiler"),
        (("--nsys",), "nsys is not on the PATH"),
        (("seed-002-nsys",), "give no flags of a cell beside it"),
        (("--import", "a.json"), "--import shows what a file holds: give no cells"),
        (("--timeout", "soon"), "timeout"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_runs(
    cli: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
):
    monkeypatch.setenv("PATH", "/nowhere")

    outcome = cli("profile", *SHAPE, *arguments, "--store", str(tmp_path / "s"))

    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("name", ["attention-quick", "seed-002-nsy"])
def test_a_sweep_that_has_no_profiles_is_refused(cli: CallCli, tmp_path: Path, name: str):
    outcome = cli("profile", name, "--store", str(tmp_path / "s"))

    assert outcome.code == 2
    assert "attention alone" in outcome.err or "did you mean 'seed-002-nsys'" in outcome.err


def test_a_file_that_is_not_there_is_named(cli: CallCli, tmp_path: Path):
    outcome = cli("profile", "--import", str(tmp_path / "none.json"))

    assert outcome.code == 2
    assert "none.json" in outcome.err
