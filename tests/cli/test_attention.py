"""`windtunnel attention`: what it asks to be measured, what it refuses, and the comparisons after the sweep."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from calling import CallCli
from factory import CPU, GPU, make_pair, make_record
from windtunnel.analysis.results import load_results
from windtunnel.records.environment import Environment
from windtunnel.records.record import Failure, Status
from windtunnel.spec.cell import Task
from windtunnel.statistics.pairing import PairPlan
from windtunnel.sweep.engine import measure_sweep
from windtunnel.sweep.launch import Answer, OnStage, PairAnswer
from windtunnel.sweep.pairs import compare_tasks

SMALL = ("--heads", "2", "--d", "16", "--seq", "32,64", "--device", "cpu")


@dataclass
class Lab:
    """Launches fake workers: sdpa takes half as long as anything else, and what `fails` says runs out of memory."""

    environment: Environment = CPU
    fails: Callable[[Task], bool] = lambda _: False
    interrupted_after: int | None = None
    measured: list[Task] = field(default_factory=list)
    compared: list[tuple[Task, Task]] = field(default_factory=list)
    plans: set[PairPlan] = field(default_factory=set)

    def launch(self, _place: object = None) -> "FakeWorker":
        return FakeWorker(self)


class FakeWorker:
    """A worker without a process."""

    is_fresh = True

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def describe(self, device: str) -> Environment:
        return self.lab.environment

    def measure(self, task: Task, *, timeout: float, on_stage: OnStage, with_probes: bool = True) -> Answer:
        self.lab.measured.append(task)
        if self.lab.fails(task):
            failure = Failure(stage="warmup", message="too long")
            return Answer(record=make_record(task, status=Status.OUT_OF_MEMORY, failure=failure), leaked_bytes=0)
        milliseconds = 1.0 if task.cell.attention == "sdpa" else 2.0
        return Answer(record=make_record(task, milliseconds=[milliseconds] * task.plan.steps), leaked_bytes=0)

    def compare(self, a: Task, b: Task, *, plan: PairPlan, seed: int, timeout: float, on_stage: OnStage) -> PairAnswer:
        if len(self.lab.compared) == self.lab.interrupted_after:
            raise KeyboardInterrupt
        self.lab.compared.append((a, b))
        self.lab.plans.add(plan)
        return PairAnswer(record=replace(make_pair(a, b, ratio=0.5), plan=plan), leaked_bytes=0)

    def close(self) -> None:
        pass


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab()
    monkeypatch.setattr("windtunnel.cli.measuring.measure_sweep", partial(measure_sweep, launch=made.launch))
    monkeypatch.setattr("windtunnel.cli.measuring.describe_device", lambda _device: made.environment)
    monkeypatch.setattr("windtunnel.cli.comparing.compare_tasks", partial(compare_tasks, launch=made.launch))
    return made


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        (("--backend", "spda"), ("unknown backend 'spda'", "did you mean 'sdpa'")),
        (("--mask", "causal,window:x"), ("unknown mask 'window:x'", "window:N")),
        (("--d", "512"), ("d is 512", "at most 256")),
        (("--seq", "12x"), ("seq is '12x'", "a whole number")),
        (("--heads", "6", "--kv-heads", "4"), ("kv_heads 4 does not divide heads 6",)),
        (("--precision", "bf16-pure"), ("name bf16",)),
        (("--backend", "compiled", "--compile", "default"), ("'compiled' compiles itself",)),
        (("--phase", "backward"), ("unknown phase 'backward'", "forward_backward")),
        (("--cache", "lukewarm"), ("cache is 'lukewarm'", "'cold' or 'warm'")),
        (("--compare", "eager:sdpa"), ("compare is 'eager:sdpa'", "eager/sdpa")),
        (("--compare", "eager/flex"), ("does not measure flex",)),
        (("seed-04",), ("unknown preset 'seed-04'", "did you mean 'seed-004'")),
        (("seed-003",), ("sweep of kind 'step'", "windtunnel run seed-003")),
        (("seed-004", "--seq", "8"), ("seed-004 says what to measure, and so do --seq",)),
    ],
)
def test_a_wrong_request_is_one_message_and_ends_with_2(
    cli: CallCli, arguments: tuple[str, ...], faults: tuple[str, ...]
) -> None:
    outcome = cli("attention", *arguments)

    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert all(part in line for part in faults), line


def test_every_fault_has_a_line(cli: CallCli) -> None:
    outcome = cli("attention", "--d", "0", "--mask", "half", "--backend", "spda", "--steps", "0")

    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 4


def test_flags_and_a_file_of_their_kind_are_the_same_request(cli: CallCli, lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'kind = "attention"\nheads = 2\nd = 16\nseq = [32, 64]\nmask = ["full", "window:8"]\nkv_heads = 1\n'
        'phase = "forward"\nsteps = 12\ncache = "warm"\n'
    )
    store = str(tmp_path / "s")
    flags = ("--mask", "full,window:8", "--kv-heads", "1", "--phase", "forward", "--steps", "12", "--cache", "warm")

    by_flags = cli("attention", *SMALL, *flags, "--store", store)
    by_run = cli("run", str(path), "--store", store)
    by_name = cli("attention", str(path), "--store", store)

    assert (by_flags.code, by_run.code, by_name.code) == (0, 0, 0), by_flags.err + by_run.err + by_name.err
    assert len(lab.measured) == 8
    assert "8 cells, 8 of them stored already" in by_run.out
    assert "8 cells, 8 of them stored already" in by_name.out


def test_a_dry_run_says_what_a_cell_costs_and_what_is_compared(cli: CallCli, lab: Lab, tmp_path: Path) -> None:
    lab.environment = GPU

    outcome = cli(
        *("attention", "--seq", "4096", "--heads", "16", "--precision", "bf16", "--mask", "full", "--dry-run"),
        *("--compare", "eager/sdpa", "--store", str(tmp_path / "s")),
    )

    assert outcome.code == 0, outcome.err
    assert "The same in all: h16 d64 full · attention_forward_backward · seq 4096 · batch 1 · bf16" in outcome.out
    assert "241 GFLOP" in outcome.out  # 3.5 times 4·B·H·S²·d
    assert "parameters" not in outcome.out
    assert re.search(
        r"^ *sdpa .* yes +9\d\d µs +compute", outcome.out, re.MULTILINE
    )  # at three eighths of the sustained rate
    assert "eager against sdpa: 1 comparison in pairs, each for at most 10.0 s" in outcome.out
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("environment", "name"), [(CPU, "attention-quick"), (GPU, "attention-h200")])
def test_without_a_request_it_measures_a_preset_for_the_machine(
    cli: CallCli, lab: Lab, environment: Environment, name: str
) -> None:
    lab.environment = environment

    outcome = cli("attention", "--dry-run")

    assert outcome.out.startswith(f"{name}: ")


def test_backends_are_compared_after_the_sweep_where_both_were_measured(cli: CallCli, lab: Lab, tmp_path: Path) -> None:
    lab.fails = lambda task: task.cell.attention == "eager" and task.cell.context_length == 64

    outcome = cli(
        "attention",
        *SMALL,
        "--backend",
        "sdpa,eager,flex",
        "--compare",
        "eager/sdpa,flex/sdpa",
        "--store",
        str(tmp_path),
    )

    assert outcome.code == 1, outcome.err
    points = [(a.cell.attention, b.cell.attention, a.cell.context_length) for a, b in lab.compared]
    assert points == [("eager", "sdpa", 32), ("flex", "sdpa", 32), ("flex", "sdpa", 64)]
    assert {task.plan.cache for pair in lab.compared for task in pair} == {"cold"}
    assert "1 of 4 comparisons left out: a backend that was not measured there has nothing to compare" in outcome.out
    assert "3/3 h2 d16 causal · attention_forward_backward · seq 64 · batch 1 · fp32 · warm-up 5" in outcome.out
    assert "cold cache · flex against sdpa" in outcome.out
    assert {plan.max_seconds for plan in lab.plans} == {10.0}
    assert len(load_results(tmp_path).comparisons) == 3


def test_attention_is_measured_by_a_real_worker(cli: CallCli, tmp_path: Path) -> None:
    arguments = ("--backend", "eager,sdpa", *SMALL, "--steps", "3", "--compare", "eager/sdpa", "--store", str(tmp_path))

    outcome = cli("attention", *arguments)

    assert outcome.code == 0, outcome.err
    results = load_results(tmp_path)
    points = [(row.cell.attention, row.cell.context_length) for row in results]
    assert points == [("eager", 32), ("eager", 64), ("sdpa", 32), ("sdpa", 64)]
    assert all(len(row.samples("backward")) == 3 for row in results)
    assert [one.record.status for one in results.comparisons] == [Status.OK, Status.OK]


def test_the_tables_of_the_run_have_its_comparisons(cli: CallCli, lab: Lab, tmp_path: Path) -> None:
    arguments = ("attention", *SMALL, "--compare", "eager/sdpa", "--store", str(tmp_path))

    outcome = cli(*arguments)
    report = cli("report", str(tmp_path), "--format", "terminal")

    assert outcome.code == 0, outcome.err
    assert "Whole steps of 2 comparisons: 2 faster." in outcome.out
    assert "comparing in pairs" in outcome.out
    assert "Whole steps of 2 comparisons: 2 faster." in report.out


def test_the_same_request_again_compares_nothing_and_shows_what_was(cli: CallCli, lab: Lab, tmp_path: Path) -> None:
    arguments = ("attention", *SMALL, "--compare", "eager/sdpa", "--store", str(tmp_path))
    cli(*arguments)

    again = cli(*arguments)
    fresh = cli(*arguments, "--fresh")

    assert "Whole steps of 2 comparisons: 2 faster." in again.out
    assert (again.code, fresh.code) == (0, 0)
    assert len(lab.compared) == 4


def test_ctrl_c_in_the_comparisons_keeps_what_is_stored_and_the_next_call_goes_on(
    cli: CallCli, lab: Lab, tmp_path: Path
) -> None:
    arguments = ("attention", *SMALL, "--compare", "eager/sdpa", "--store", str(tmp_path))
    lab.interrupted_after = 1

    stopped = cli(*arguments)
    lab.interrupted_after = None
    again = cli(*arguments)

    assert stopped.code == 130
    assert "all cells and 1 of 2 comparisons are stored" in stopped.out
    assert again.code == 0
    assert [a.cell.context_length for a, _ in lab.compared] == [32, 64]


def test_list_and_show_say_what_was_attended(cli: CallCli, lab: Lab, tmp_path: Path) -> None:
    cli("attention", *SMALL, "--kv-heads", "1", "--compare", "eager/sdpa", "--store", str(tmp_path))
    row = next(iter(load_results(tmp_path)))

    listed = cli("list", str(tmp_path)).out
    shown = " ".join(cli("show", row.key, "--store", str(tmp_path)).out.split())

    assert "The same in all: h2/1 d16 causal · attention_forward_backward · batch 1" in listed
    assert "seq 32 · eager" in listed
    assert "-50" in listed or "−50" in listed
    assert "attention alone num_heads 2, num_kv_heads 1, d_head 16, mask causal" in shown
    assert "parameters" not in shown
    assert "asked: warm-up 5, samples 30; used" in shown
    assert "cold cache" in shown


def test_two_files_of_attention_are_two_sides(cli: CallCli, lab: Lab, tmp_path: Path, monkeypatch) -> None:
    from windtunnel.sweep.pairs import compare_sweeps

    monkeypatch.setattr("windtunnel.cli.compare.compare_sweeps", partial(compare_sweeps, launch=lab.launch))
    for backend in ("eager", "sdpa"):
        (tmp_path / f"{backend}.toml").write_text(
            f'kind = "attention"\nbackend = "{backend}"\nheads = 2\nd = 16\nseq = [32, 64]\n'
        )

    outcome = cli(
        "compare", str(tmp_path / "eager.toml"), str(tmp_path / "sdpa.toml"), "--json", "--store", str(tmp_path / "s")
    )

    assert outcome.code == 0, outcome.err
    cells = [one["cell"] for one in json.loads(outcome.out)]
    assert [cell.split(" · ")[2] for cell in cells] == ["seq 32", "seq 64"]
    assert all("h2 d16 causal" in cell and "cold cache" in cell for cell in cells)
