"""`windtunnel predict` and the plan of a sweep: what they say, and that they answer at once."""

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from calling import CallCli
from factory import CPU, GPU
from windtunnel.records.calibration import Calibration, Ceiling
from windtunnel.records.store import open_store

CELL = ("--size", "small", "--context", "256", "--mode", "train_step")


def calibration() -> Calibration:
    """Return a calibration of a machine of round numbers: 1 TFLOP/s in fp32, 1 TB/s, 1 µs a launch."""
    second = 1_000_000_000
    ceilings = (
        Ceiling(name="matmul fp32 cube 8x8x8", unit="FLOP/s", samples_ns=(second,), work=10**12),
        Ceiling(name="device copy of 1 GiB", unit="B/s", samples_ns=(second,), work=10**12),
        Ceiling(name="tiny kernels, host enqueues", unit="launch/s", samples_ns=(second,), work=10**6),
    )
    return Calibration(device="cuda:0", started_at="2026-01-01", seconds=1.0, ceilings=ceilings, left_out={})


@pytest.fixture
def calibrated(tmp_path: Path) -> Path:
    with open_store(tmp_path / "store") as store:
        store.add_calibration(calibration(), GPU)
    return tmp_path / "store"


def test_one_cell_has_its_work_time_memory_and_verdict(cli: CallCli) -> None:
    outcome = cli("predict", *CELL, "--device-name", "h100")

    assert outcome.code == 0, outcome.err
    assert (
        "small · train_step · fp32 · eager · batch 4 · context 256 on NVIDIA H100 80GB HBM3 with 80.0 GiB"
        in outcome.out
    )
    for word in (
        "129 M parameters",
        "772 GFLOP",
        "launches",
        "bound by",
        "gradients",
        "fits in 80.0 GiB",
        "A block keeps 84.1 MiB for backward; the largest are P 12.0 MiB, gate 12.0 MiB",
        "datasheet",
    ):
        assert word in outcome.out


def test_several_cells_are_rows_and_what_they_share_is_said_once(cli: CallCli) -> None:
    outcome = cli("predict", "--size", "small,2.7B", "--context", "256,4096", "--memory", "24GiB")

    assert outcome.code == 0, outcome.err
    assert "4 cells on NVIDIA H200 with 24.0 GiB" in outcome.out
    assert "The same in all: train_step · fp32 · eager · batch 4." in outcome.out
    rows = [line for line in outcome.out.splitlines() if " · context " in line and "same" not in line]
    assert [("yes" in row.split(), "no" in row.split()) for row in rows] == [(True, False), (False, True)] * 1 + [
        (False, True),
        (False, True),
    ]


def test_json_has_bytes_seconds_and_null_for_what_is_not_known(cli: CallCli) -> None:
    known, unknown = (
        json.loads(cli("predict", *CELL, "--device-name", name, "--json").out)[0] for name in ("h200", "Voodoo 3")
    )

    assert known["memory"]["peak_bytes"] == max(known["memory"]["phases"].values())
    assert known["seconds"] == pytest.approx(sum(phase["seconds"] for phase in known["phases"].values()))
    assert known["parameters"] == 128_625_408
    assert unknown["memory"] == known["memory"]
    assert (unknown["seconds"], unknown["fits"], unknown["rates"]) == (None, None, None)


def test_an_unknown_device_is_not_known_rather_than_zero(cli: CallCli) -> None:
    outcome = cli("predict", *CELL, "--device-name", "Voodoo 3")

    assert outcome.code == 0
    assert "capacity not known, rates not known" in outcome.out
    assert "Whether it fits is not known" in outcome.out


def test_a_calibration_takes_the_place_of_the_datasheet(cli: CallCli, calibrated: Path) -> None:
    plain = json.loads(cli("predict", *CELL, "--json").out)[0]
    outcome = cli("predict", *CELL, "--calibration", str(calibrated), "--json")
    found = json.loads(outcome.out)[0]

    assert found["device"] == {"name": "NVIDIA H200", "memory_bytes": GPU.device_memory_bytes}
    assert found["rates"] == "calibration of 2026-01-01"
    assert found["seconds"] > 10 * plain["seconds"]
    assert found["phases"]["forward"]["launch_seconds"] < plain["phases"]["forward"]["launch_seconds"]


def test_a_calibration_of_a_cpu_predicts_what_the_plan_of_a_sweep_there_predicts(
    cli: CallCli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("windtunnel.cli.measuring.describe_device", lambda _device: CPU)
    with open_store(tmp_path / "store") as store:
        store.add_calibration(replace(calibration(), device="cpu"), CPU)
    grid = ("--size", "small,medium", "--context", "256", "--mode", "train_step")

    predicted = cli("predict", *grid, "--calibration", str(tmp_path / "store"))
    planned = cli("step", *grid, "--dry-run", "--store", str(tmp_path / "store"))

    rows = [re.findall(r"(\d+ M .*)", outcome.out) for outcome in (predicted, planned)]
    assert (predicted.code, planned.code) == (0, 0), predicted.err + planned.err
    assert len(rows[0]) == 2
    assert rows[0] == rows[1]


def test_a_cpu_has_no_driver_and_no_workspace(cli: CallCli, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        store.add_calibration(replace(calibration(), device="cpu"), CPU)

    outcome = cli("predict", *CELL, "--calibration", str(tmp_path / "store"))

    assert "before backward; it fits in 128 GiB." in outcome.out
    assert "workspace" not in outcome.out


def test_a_calibration_of_another_device_is_refused(cli: CallCli, calibrated: Path) -> None:
    outcome = cli("predict", *CELL, "--calibration", str(calibrated), "--device-name", "a100-80")

    assert outcome.code == 2
    assert "no calibration of 'NVIDIA A100-SXM4-80GB'; it has: NVIDIA H200" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--memory", "80"), "is not a size of memory; write it as 80GiB, 24GB or 512MiB"),
        (("--optimizer", "adam"), "unknown optimizer 'adam'; known: adamw, sgd; did you mean 'adamw'?"),
        (("--parallel", "ddp"), "give --world-size from 2"),
        (("--world-size", "4"), "give --parallel"),
        (("--parallel", "tensor", "--world-size", "4"), "unknown parallel 'tensor'"),
        (
            ("--mode", "forward,forward_backward", "--optimizer", "sgd"),
            "optimizer 'sgd' has no effect on forward, forward_backward: leave it out, or use --mode train_step",
        ),
    ],
)
def test_wrong_requests_are_one_message(cli: CallCli, arguments: tuple[str, ...], message: str) -> None:
    outcome = cli("predict", *CELL, *arguments)

    assert outcome.code == 2
    assert message in outcome.err


def test_a_layout_says_what_each_device_sends(cli: CallCli) -> None:
    outcome = cli("predict", *CELL, "--parallel", "ddp", "--world-size", "2")

    assert "Each device sends 491 MiB in backward" in outcome.out
    assert "communication" in outcome.out


SPREAD = ("--parallel", "fsdp", "--world-size", "64", "--optimizer", "sgd")


def test_the_layout_and_an_optimizer_that_is_not_usual_are_named(cli: CallCli) -> None:
    one = cli("predict", *CELL, *SPREAD).out
    many = cli("predict", *CELL, *SPREAD, "--context", "256,512").out
    usual = cli("predict", *CELL).out

    assert " · context 256 · fsdp over 64 GPUs, per device · optimizer sgd on NVIDIA H200" in one
    assert " · batch 4 · fsdp over 64 GPUs, per device · optimizer sgd." in many
    assert "per device" not in usual
    assert "optimizer adamw" not in usual


def test_a_table_says_what_each_device_sends(cli: CallCli) -> None:
    sent = "491 MiB"  # 2 x 4 bytes x 128,625,408 x 1/2

    spread = cli("predict", *CELL, "--parallel", "ddp", "--world-size", "2", "--context", "256,512").out
    alone = cli("predict", *CELL, "--context", "256,512").out

    assert [line.split()[-2:] for line in spread.splitlines() if sent in line] == [sent.split()] * 2
    assert "Sent is what each device sends in a step" in spread
    assert "sent" not in alone.lower().split()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (SPREAD, ("fsdp", 64, "sgd")),
        ((), ("none", 1, "adamw")),
        (("--mode", "forward"), ("none", 1, None)),
    ],
)
def test_json_names_the_layout_and_the_optimizer_where_there_is_one(
    cli: CallCli, arguments: tuple[str, ...], said: tuple[object, ...]
) -> None:
    (found,) = json.loads(cli("predict", *CELL, *arguments, "--json").out)

    assert (found["parallel"], found["world_size"], found["optimizer"]) == said


def test_what_has_no_closed_form_says_so(cli: CallCli) -> None:
    one = cli("predict", *CELL, "--attention", "mine:attend")
    many = cli("predict", *CELL, "--attention", "mine:attend,eager")

    assert "memory and time are not predicted" in one.out
    assert "not predicted: attention 'mine:attend' has no closed form" in many.out
    assert (one.code, many.code) == (0, 0)


OWN = """
from torch import nn


class Lines(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 4)
        self.head = nn.Linear(4, vocab_size)

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def failing(vocab_size):
    raise RuntimeError("the weights are elsewhere")
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_predicted.py").write_text(OWN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")


@pytest.mark.usefixtures("own_code")
def test_a_model_of_ones_own_is_counted_and_says_so(cli: CallCli) -> None:
    outcome = cli("predict", "--model", "own_predicted:Lines", "--vocab", "7", "--context", "5", "--json")

    (found,) = json.loads(outcome.out)
    assert outcome.code == 0, outcome.err
    assert found["by"] == "counter"
    assert found["parameters"] == 7 * 4 + 4 * 7 + 7
    assert found["flops"]["forward"] == 2 * (4 * 5) * (4 * 7)
    assert found["memory"]["phases"]["backward"] > 4 * 4 * found["parameters"]
    assert found["seconds"] is None
    assert "is counted, not by formula" in found["unknown"]


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--model", "own_predicted:nothing"), "module 'own_predicted' has no attribute 'nothing'"),
        (("--model", "own_predicted:failing"), "its code raised RuntimeError: the weights are elsewhere"),
        (("--model", "own_predicted:Lines", "--optimizer", "sgd"), "optimizer 'sgd' is not counted"),
        (("--model", "mine:make", "--parallel", "fsdp", "--world-size", "2"), "not known of one of your own"),
    ],
)
def test_what_cannot_be_counted_of_a_model_of_ones_own_is_refused(
    cli: CallCli, flags: tuple[str, ...], said: str
) -> None:
    outcome = cli("predict", *flags)

    assert outcome.code == 2
    assert said in outcome.err


@pytest.mark.parametrize("flags", [("--checkpoint", "every:4"), ("--activation", "gelu"), ("--tied",)])
def test_what_changes_the_step_changes_the_prediction(cli: CallCli, flags: tuple[str, ...]) -> None:
    plain, other = (json.loads(cli("predict", *CELL, *more, "--json").out)[0] for more in ((), flags))

    assert other["memory"]["peak_bytes"] < plain["memory"]["peak_bytes"]


def test_a_prediction_loads_no_torch_and_answers_in_less_than_the_start_of_torch(tmp_path: Path) -> None:
    """The limit of 0.3 s is in benchmarks/startup.py: seconds in a test fail on a busy machine."""
    program = (
        "import sys\n"
        f"sys.argv = ['windtunnel', 'predict', *{CELL}]\n"
        "from windtunnel.cli import main\n"
        "try: main()\n"
        "finally: print('loaded:', sorted({'torch', 'numpy', 'scipy', 'plotly', 'sqlite3'} & set(sys.modules)))\n"
    )
    begin = time.perf_counter()

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "loaded: []" in done.stdout
    assert time.perf_counter() - begin < 10


def test_the_plan_of_a_sweep_predicts_each_cell_and_the_whole(
    cli: CallCli, monkeypatch: pytest.MonkeyPatch, calibrated: Path
) -> None:
    monkeypatch.setattr("windtunnel.cli.measuring.describe_device", lambda _device: GPU)
    arguments = ("step", "--size", "small,10B", "--mode", "train_step", "--dry-run", "--store")

    by_datasheet, by_calibration = cli(*arguments, "nowhere"), cli(*arguments, str(calibrated))

    assert by_datasheet.code == by_calibration.code == 0, by_datasheet.err
    assert "All steps together: about" in by_datasheet.out
    assert "by the datasheet" in by_datasheet.out
    assert "by the calibration of 2026-01-01" in by_calibration.out
    assert re.search(r" memory +in +fits ", by_datasheet.out)
    assert re.search(r"^ *10B .* no +\d", by_datasheet.out, re.MULTILINE)
    assert re.search(r"^ *small .* yes +\d", by_datasheet.out, re.MULTILINE)


SMALLEST = ("--d-model", "64", "--layers", "2", "--heads", "2", "--vocab", "200", "--context", "32")


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize(
    "flags", [("--size", "small,medium", "--context", "256,512"), ("--size", "small", "--context", "256")]
)
def test_on_a_narrow_terminal_labels_break_and_nothing_is_cut(
    cli: CallCli, monkeypatch: pytest.MonkeyPatch, columns: int, flags: tuple[str, ...]
) -> None:
    wide = cli("predict", *flags).out
    monkeypatch.setenv("COLUMNS", str(columns))

    narrow = cli("predict", *flags).out

    tables = [line for line in narrow.splitlines() if line.endswith(" ") or "  " in line]
    assert max(map(len, tables)) <= columns
    assert "…" not in narrow
    assert sorted(narrow.replace("─", "").split()) == sorted(wide.replace("─", "").split())


def test_the_plan_of_a_sweep_says_once_what_its_cells_share_and_fits_a_narrow_terminal(
    cli: CallCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windtunnel.cli.measuring.describe_device", lambda _device: GPU)
    monkeypatch.setenv("COLUMNS", "80")

    out = cli("step", "--size", "small", "--attention", "eager,flash-triton", "--mode", "train_step", "--dry-run").out

    assert "…" not in out
    assert "flash-triton" in out
    assert "The same in all: small · train_step · context 256 · batch 4 · fp32 · warm-up 5." in out


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (
            ("--precision", "bf16", "--device-name", "t4"),
            "precision 'bf16' needs compute capability 8.0; Tesla T4 has 7.5",
        ),
        (("--precision", "tf32", "--device-name", "v100"), "precision 'tf32' needs compute capability 8.0"),
        (
            ("--attention", "flash-attn"),
            "attention 'flash-attn' on cuda does not take float32; it takes float16, bfloat16",
        ),
    ],
)
def test_what_a_run_would_refuse_is_refused_with_the_reason(cli: CallCli, flags: tuple[str, ...], reason: str) -> None:
    one, many = cli("predict", *SMALLEST, *flags), cli("predict", *SMALLEST, *flags, "--batch", "1,2")
    (found,) = json.loads(cli("predict", *SMALLEST, *flags, "--json").out)

    assert f"refused: {reason}" in one.out
    assert "fits in" not in one.out
    assert f"refused: {reason}" in many.out
    assert many.out.count(" refused ") == 2
    assert (found["is_refused"], found["fits"], found["memory"], found["seconds"]) == (True, None, None, None)
    assert found["unknown"].startswith(reason)


def test_the_plan_of_a_sweep_on_a_cpu_refuses_attention_for_gpus(cli: CallCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windtunnel.cli.measuring.describe_device", lambda _device: CPU)
    names = ("flash-attn", "sdpa-cudnn", "flash-triton")

    out = cli("step", *SMALLEST, "--mode", "train_step", "--attention", ",".join((*names, "sdpa")), "--dry-run").out

    assert out.count(" refused ") == len(names)
    assert out.count(" yes ") == 1
    for name in names:
        assert f"refused: attention '{name}' does not run on cpu; it runs on cuda" in out


def test_the_plan_of_a_sweep_refuses_what_is_not_installed_here(cli: CallCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windtunnel.cli.measuring.describe_device", lambda _device: GPU)
    monkeypatch.setattr("windtunnel.spec.abilities.find_spec", lambda _package: None)
    asked = (*SMALLEST, "--mode", "train_step", "--precision", "bf16", "--attention", "flash-attn")

    here, elsewhere = cli("step", *asked, "--dry-run").out, cli("predict", *asked).out

    assert "refused: attention 'flash-attn' needs the package flash_attn, which is not installed" in here
    assert "fits in" in elsewhere


def test_a_time_that_is_missing_says_which_rate_is_not_known(cli: CallCli, calibrated: Path) -> None:
    outcome = cli("predict", *CELL, "--precision", "bf16", "--calibration", str(calibrated))

    assert "no time is predicted: the calibration of 2026-01-01 has no rate of bf16" in outcome.out


def test_what_does_not_help_is_named_with_what_was_tried(cli: CallCli) -> None:
    flags = ("--size", "small", "--context", "4096", "--memory", "2GiB")

    all_three = cli("predict", *flags).out
    one = cli("predict", *flags, "--compile", "default", "--batch", "1").out

    assert (
        "Neither fused attention nor checkpointing nor a smaller batch, nor all of them, is predicted to make it fit. "
        "Try a smaller model or --context" in all_three
    )
    assert "Fused attention is not predicted to make it fit. What checkpointing would do is not predicted:" in one


@pytest.mark.parametrize(
    ("flags", "advice"),
    [((), "--parallel fsdp --world-size N."), (("--parallel", "fsdp", "--world-size", "2"), "a larger --world-size.")],
)
def test_spreading_is_advised_as_far_as_it_is_not_done_yet(cli: CallCli, flags: tuple[str, ...], advice: str) -> None:
    out = cli("predict", "--size", "10B", "--context", "128", "--batch", "1", "--memory", "20GiB", *flags).out

    assert f"or spread it with {advice}" in out


@pytest.mark.usefixtures("own_code")
def test_a_model_of_ones_own_that_does_not_fit_gets_no_advice_that_was_not_tried(cli: CallCli) -> None:
    out = cli("predict", "--model", "own_predicted:Lines", "--vocab", "7", "--context", "5", "--memory", "512MiB").out

    assert "does not fit" in out or "may fit or not" in out
    assert "predicted to make it fit" not in out
    assert "--parallel" not in out


@pytest.mark.usefixtures("own_code")
def test_a_model_of_ones_own_is_refused_for_its_precision_before_it_is_counted(cli: CallCli) -> None:
    flags = ("--model", "own_predicted:Lines", "--vocab", "7", "--context", "5", "--precision", "bf16")

    out = cli("predict", *flags, "--device-name", "t4").out

    assert "refused: precision 'bf16' needs compute capability 8.0; Tesla T4 has 7.5" in out
