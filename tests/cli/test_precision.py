"""`windtunnel precision`, on tiny models with real workers."""

from pathlib import Path

import pytest

from calling import CallCli
from windtunnel.analysis.results import load_results

TOY = ("--model", "windtunnel.models.toy:make_toy", "--vocab", "11", "--context", "8", "--batch", "2")
ON_CPU = ("--device", "cpu", "--loss-steps", "3")


def test_formats_are_printed_stored_and_reported(cli: CallCli, tmp_path: Path):
    outcome = cli("precision", *TOY, *ON_CPU, "--precision", "fp16", "--store", str(tmp_path / "s"))

    assert outcome.code == 0, outcome.err
    assert "Format of each component" in outcome.out
    assert "Gradient elements that are lost" in outcome.out
    assert "Format of each operation" in (tmp_path / "s" / "report" / "report.html").read_text(encoding="utf-8")
    (stored,) = load_results(tmp_path / "s").precision_looks
    assert stored.look.request.cell.workload == "train_step"
    assert "1 precision look in" in cli("list", str(tmp_path / "s")).out
    assert "Number formats" in cli("report", str(tmp_path / "s")).out


def test_one_that_cannot_be_looked_at_makes_the_exit_code_1(cli: CallCli, tmp_path: Path):
    outcome = cli("precision", *TOY, *ON_CPU, "--precision", "tf32", "--store", str(tmp_path))

    assert outcome.code == 1
    assert "mode of NVIDIA tensor cores" in " ".join(outcome.out.split())


def test_speed_compares_each_precision_with_fp32_in_pairs(cli: CallCli, tmp_path: Path):
    shape = ("--d-model", "32", "--layers", "1", "--heads", "2", "--vocab", "11", "--context", "8", "--batch", "1")
    outcome = cli("precision", "--speed", *shape, "--precision", "bf16", "--device", "cpu", "--store", str(tmp_path))

    assert outcome.code == 0, outcome.err
    assert "Time of a step against fp32, by size and precision" in outcome.out
    (stored,) = load_results(tmp_path).comparisons
    assert [side.task.cell.precision for side in (stored.record.a, stored.record.b)] == ["fp32", "bf16"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--precision", "fp8"), "precision is 'fp8', which is not supported until a later version"),
        (("--loss", "mine"), "write it as module:function"),
        (("--loss-steps", "-1"), "loss_steps is -1; allowed: at least 0"),
        (("--speed", "--loss", "a:b"), "--loss and --loss-steps have no effect with --speed"),
        (("--speed", "--precision", "fp32"), "precision is fp32 alone"),
        (("--timeout", "soon"), "timeout"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_runs(
    cli: CallCli, tmp_path: Path, arguments: tuple[str, ...], message: str
):
    outcome = cli("precision", *TOY, "--device", "cpu", "--store", str(tmp_path / "s"), *arguments)

    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "s").exists()
