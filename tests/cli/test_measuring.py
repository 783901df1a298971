"""The commands that measure, on tiny models with real workers."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from calling import CallCli
from factory import CPU, GPU, make_pair, make_processes, make_record, make_results, make_task, with_telemetry
from windtunnel.analysis.results import load_results
from windtunnel.records.store import open_store
from windtunnel.spec.sweep import load_sweep

SHAPE = ("--d-model", "32", "--layers", "1", "--heads", "4", "--vocab", "11", "--device", "cpu")


def test_step_measures_prints_tables_and_ends_with_the_report(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli("step", *SHAPE, "--context", "8,16", "--steps", "3", "--store", str(tmp_path / "s"))

    assert outcome.code == 0, outcome.err
    assert "6 cells" in outcome.out
    assert "Where the time of this run went" in outcome.out
    last = outcome.out.strip().splitlines()[-1]
    assert Path(last.removeprefix("report: ")).is_file()
    assert {row.cell.context_length for row in load_results(tmp_path / "s")} == {8, 16}


def test_the_same_command_again_measures_nothing(cli: CallCli, tmp_path: Path) -> None:
    arguments = ("step", *SHAPE, "--mode", "forward", "--steps", "2", "--store", str(tmp_path))
    cli(*arguments)
    before = [row.record for row in load_results(tmp_path)]

    outcome = cli(*arguments)

    assert "1 of them stored already" in outcome.out
    assert [row.record for row in load_results(tmp_path)] == before


def test_stored_cells_of_own_code_are_said_once_to_be_known_by_name_only(
    cli: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ow.py").write_text("from windtunnel.attention.eager import attend\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    arguments = ("step", *SHAPE, "--mode", "forward", "--steps", "2", "--store", str(tmp_path / "s"))
    first = cli(*arguments, "--attention", "eager,ow:attend")
    said = "Of the stored, 1 measurement ran code of your own (ow:attend), which is known by its name only: if you"

    again = cli(*arguments, "--attention", "eager,ow:attend")
    fresh = cli(*arguments, "--attention", "ow:attend", "--fresh")
    without = cli(*arguments, "--attention", "eager")

    assert again.out.count(said) == 1
    assert "known by its name" not in first.out + fresh.out + without.out


def test_a_failed_cell_is_a_row_and_makes_the_exit_code_1(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli(
        "step", *SHAPE, "--mode", "forward", "--precision", "fp32,tf32", "--steps", "2", "--store", str(tmp_path)
    )

    assert outcome.code == 1
    assert "unsupported" in outcome.out
    assert [row.record.status.value for row in load_results(tmp_path)] == ["ok", "unsupported"]


def test_flags_and_toml_are_the_same_fields(cli: CallCli, tmp_path: Path) -> None:
    """The same request by file and by flags has the same keys, so the second run finds everything stored."""
    sweep = tmp_path / "mine.toml"
    sweep.write_text(
        'd_model = 32\nlayers = 1\nheads = 4\nvocab = 11\ncontext = [8]\nmode = "forward"\nsteps = 2\nwarmup = [1]\n'
    )
    store = str(tmp_path / "s")
    cli("run", str(sweep), "--device", "cpu", "--store", store)

    outcome = cli(
        "step", *SHAPE, "--context", "8", "--mode", "forward", "--steps", "2", "--warmup", "1", "--store", store
    )

    assert "1 of them stored already" in outcome.out


def test_dry_run_shows_the_cost_of_each_cell_and_stores_nothing(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli("step", "--size", "small", "--device", "cpu", "--dry-run", "--store", str(tmp_path / "s"))

    assert outcome.code == 0
    assert "129 M" in outcome.out  # parameters of small
    assert "257 GFLOP" in outcome.out  # forward at context 256, batch 4
    assert not (tmp_path / "s").exists()


def test_dry_run_says_each_reason_for_what_is_left_out_once_and_as_it_was_written(cli: CallCli, tmp_path: Path) -> None:
    sweep = tmp_path / "mine.toml"
    fields = 'd_model = 32\nlayers = 1\nheads = 4\nvocab = 11\ncontext = [8, 16, 32]\nmode = "forward"\n'
    left_out = "".join(f'[[exclude]]\ncontext = {context}\nreason = "too [/long] here"\n' for context in (16, 32))
    sweep.write_text(fields + left_out)

    outcome = cli("run", str(sweep), "--device", "cpu", "--dry-run", "--store", str(tmp_path / "s"))

    assert outcome.code == 0, outcome.err
    assert outcome.out.count("left out: too [/long] here") == 1


@pytest.mark.parametrize("command", ["run", "step --size small", "attention", "tune --size small"])
def test_a_dry_run_makes_no_report_and_refuses_what_would_be_of_one(cli: CallCli, tmp_path: Path, command: str) -> None:
    outcome = cli(*command.split(), "--dry-run", "--lang", "zh", "--report", str(tmp_path / "r"))

    assert outcome.code == 2
    assert "--report, --lang have no effect with --dry-run, which writes no report and prints its plan" in outcome.err
    assert outcome.out == ""


def test_list_and_show_find_what_was_measured(cli: CallCli, tmp_path: Path) -> None:
    cli("step", *SHAPE, "--mode", "forward_backward", "--steps", "3", "--store", str(tmp_path))
    (row,) = load_results(tmp_path)

    listed = cli("list", str(tmp_path))
    shown = cli("show", row.key[:6], "--store", str(tmp_path))
    missing = cli("show", "ffff", "--store", str(tmp_path))

    assert row.key in listed.out
    assert "forward_backward" in shown.out
    assert "d_model 32" in shown.out
    assert missing.code == 2
    assert "no key begins with 'ffff'" in missing.err


def test_show_says_what_the_sensors_said(cli: CallCli, tmp_path: Path) -> None:
    record = with_telemetry(
        make_record(make_task(device="cuda:0"), milliseconds=[10.0] * 20),
        clock_mhz=[1980] * 10 + [1900] * 10,
        power_watts=[699.6] * 20,
        throttle_reasons=[0] * 10 + [0x4] * 10,
    )
    (row,) = make_results(tmp_path, [(record, GPU)])

    shown = " ".join(cli("show", row.key, "--store", str(tmp_path)).out.split())

    assert "telemetry 20 readings during the timed steps (NVML), clock 1,940 MHz (1,900 to 1,980), power 700 W" in shown
    assert "software power cap in 50 %, throttled" in shown


def test_ctrl_c_says_what_is_stored_and_ends_with_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "windtunnel", "step", *SHAPE, "--context", "8,512", "--mode", "forward"]
    command += ["--steps", "20000", "--store", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while "1/2" not in lines[-1]:  # the first cell is stored, the second runs for minutes
        assert lines[-1], lines
        lines.append(process.stdout.readline())
    time.sleep(0.5)

    os.kill(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=30)

    assert process.returncode == 130, errors
    assert "1 of 2 cells are stored" in rest
    assert "same command again" in rest
    assert "Traceback" not in errors
    assert len(load_results(tmp_path)) == 1


@pytest.mark.parametrize("path", sorted(Path("src/windtunnel/presets").glob("*.toml")), ids=lambda path: path.stem)
def test_every_preset_and_benchmark_sweep_expands(path: Path) -> None:
    tasks = load_sweep(path).expand("cpu")

    assert len({task.key() for task in tasks}) == len(tasks)


def test_seed_003_has_60_cells_of_which_20_are_cold() -> None:
    tasks = load_sweep(Path("src/windtunnel/presets/seed-003.toml")).expand("cuda:0")

    assert len(tasks) == 60
    assert sum(task.plan.is_cold for task in tasks) == 20


def test_seed_004_has_the_grid_of_its_report_for_three_backends_in_two_precisions() -> None:
    tasks = load_sweep(Path("src/windtunnel/presets/seed-004.toml")).expand("cuda:0")

    shapes = {(task.cell.batch_size, task.cell.model, task.cell.context_length) for task in tasks}
    assert (len(shapes), len(tasks)) == (20, 120)
    assert {batch_size for batch_size, _, _ in shapes} == {8}


def test_several_processes_measure_a_cell_and_share_a_row(cli: CallCli, tmp_path: Path) -> None:
    arguments = ("step", *SHAPE, "--mode", "forward", "--steps", "6", "--processes", "3", "--store", str(tmp_path))

    outcome = cli(*arguments)
    again = cli(*arguments)

    assert outcome.code == 0, outcome.err
    assert "1 cell in 3 processes each, 3 measurements" in outcome.out
    assert "process 2 of 3" in outcome.out
    assert "3 x 6" in outcome.out
    (row,) = load_results(tmp_path)
    assert len({stored.record.process for stored in row.processes}) == 3
    assert all(stored.record.is_first_in_process for stored in row.processes)
    assert "3 measurements, 3 of them stored already" in again.out


def test_list_and_show_name_the_process(cli: CallCli, tmp_path: Path) -> None:
    make_results(tmp_path, [(record, CPU) for record in make_processes([1.0], [2.0])])
    (row,) = load_results(tmp_path)

    listed = cli("list", str(tmp_path))
    shown = cli("show", row.processes[1].key, "--store", str(tmp_path))

    assert all(stored.key in listed.out for stored in row.processes)
    assert "process 1 of 2" in listed.out
    assert "2 records in" in listed.out
    assert "samples 1; process 2 of 2" in shown.out


def test_list_says_once_what_is_the_same_in_all_cells(cli: CallCli, tmp_path: Path) -> None:
    make_results(tmp_path, [(make_record(make_task(context_length=length)), CPU) for length in (16, 32)])

    listed = cli("list", str(tmp_path)).out

    assert "The same in all: tiny · forward · batch 4 · fp32 · eager · warm-up 5." in listed
    assert listed.count("warm-up 5") == 1


def test_list_breaks_names_between_words_in_a_narrow_terminal(
    cli: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [make_task(context_length=length, attention=name) for length in (512, 2048) for name in ("eager", "sdpa")]
    make_results(tmp_path, [(make_record(task), CPU) for task in (*tasks, make_task(workload="forward_backward"))])
    with open_store(tmp_path) as store:
        store.add_comparison(make_pair(make_task(), make_task(attention="sdpa"), ratio=1.5), CPU, CPU)
    wide = cli("list", str(tmp_path)).out
    monkeypatch.setenv("COLUMNS", "80")

    narrow = cli("list", str(tmp_path)).out

    tables = [line for line in narrow.splitlines() if not line.endswith(str(tmp_path)) and "--store" not in line]
    assert max(map(len, tables)) <= 80
    assert sorted(narrow.replace("─", "").split()) == sorted(wide.replace("─", "").split())


def test_list_has_the_verdicts_of_comparisons(cli: CallCli, tmp_path: Path) -> None:
    pair = make_pair(make_task(), make_task(attention="sdpa"), ratio=1.5)
    with open_store(tmp_path) as store:
        store.add_comparison(pair, CPU, CPU)

    listed = cli("list", str(tmp_path)).out

    assert re.search(r"attention eager +attention sdpa +slower +\+50\.\d+ %", listed), listed
    assert "1 comparison in" in listed


def test_dry_run_counts_the_processes(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli("step", *SHAPE, "--mode", "forward", "--processes", "5", "--dry-run", "--store", str(tmp_path / "s"))

    assert outcome.code == 0
    assert "1 cell in 5 processes each, 5 measurements" in outcome.out
    assert outcome.out.count("d32-l1-h4") == 1
