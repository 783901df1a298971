"""`windtunnel profile`, on tiny models with real workers, and on traces made elsewhere."""

import gzip
import json
import os
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
        assert len(store.claims()) == 1, "its report can be verified"
    assert "Profiled steps" in cli("report", str(tmp_path / "s")).out
    assert "1 profile in" in cli("list", str(tmp_path / "s")).out


def test_several_cells_make_a_profile_each_and_a_failed_one_the_exit_code_1(cli: CallCli, tmp_path: Path):
    outcome = cli("profile", *SHAPE, "--mode", "forward", "--precision", "fp32,tf32", "--store", str(tmp_path))

    assert outcome.code == 1
    assert "2 profiles" in outcome.out
    assert "unsupported in build" in outcome.out


FAILING_MODELS = """
import os
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, vocab_size)

    def forward(self, tokens):
        return self.embedding(tokens)


class Crashes(Model):
    def forward(self, tokens):
        os.abort()


class TakesTooMuch(Model):
    def forward(self, tokens):
        return self.embedding(tokens) + torch.empty(2**50).sum()


class TakesMasks(Model):
    def forward(self, tokens, mask):
        return self.embedding(tokens) * mask
"""


def test_models_that_crash_or_take_too_much_or_other_arguments_are_told_and_the_next_is_profiled(
    cli: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "failing_models.py").write_text(FAILING_MODELS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    models = ",".join(f"failing_models:{name}" for name in ("Crashes", "TakesTooMuch", "TakesMasks", "Model"))
    cell = ("--vocab", "11", "--context", "8", "--mode", "forward", "--device", "cpu")

    outcome = cli("profile", "--model", models, *cell, "--store", str(tmp_path / "s"))

    assert outcome.code == 1, outcome.err
    looks = [one.look for one in load_results(tmp_path / "s").profiles]
    assert [look.status.value for look in looks] == ["crashed", "out of memory", "unsupported", "ok"]
    crash, memory, masks, fine = (look.failure for look in looks)
    assert crash is not None
    assert "SIGABRT" in crash.message
    assert memory is not None
    assert memory.requested_bytes == 2**52
    assert masks is not None
    assert "forward cannot take tokens alone: missing a required argument: 'mask'" in masks.message
    assert fine is None
    assert all(look.failure is None or look.failure.message[:40] in outcome.out for look in looks)


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
        (("--trace", "."), "--trace '.' is a folder; name a file, as 'name'"),
        (("--import", "a.json"), "have no effect with --import, which shows what a file holds: leave them out"),
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


@pytest.mark.parametrize("compress", [False, True])
def test_a_trace_cut_in_the_middle_is_told(cli: CallCli, tmp_path: Path, *, compress: bool):
    whole = write_chrome_trace(training_step(), tmp_path / "t.json").read_bytes()
    whole = gzip.compress(whole) if compress else whole
    cut = tmp_path / "cut.json"
    cut.write_bytes(whole[: len(whole) // 2])

    outcome = cli("profile", "--import", str(cut), "--report", str(tmp_path / "r"))

    assert outcome.code == 2
    assert "ends in the middle" in outcome.err
    assert not (tmp_path / "r").exists()


def test_a_file_that_is_not_there_is_named(cli: CallCli, tmp_path: Path):
    outcome = cli("profile", "--import", str(tmp_path / "none.json"))

    assert outcome.code == 2
    assert "none.json" in outcome.err
