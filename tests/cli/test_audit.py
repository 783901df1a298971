"""`windtunnel audit`: what it prints, when it ends with 1, what it says to a wrong request, commands that run."""

import json
import re
import shlex
from pathlib import Path

import pytest

from calling import CallCli
from factory import CPU, compared, make_pair
from ledgers import make_ledger
from published import FOLDER, SEEDS, findings_of, markdown, seed_text
from windtunnel.analysis.published.entries import Declared
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import MemoryLedger
from windtunnel.records.store import Store, StoredComparison
from windtunnel.spec.sides import match_sides
from windtunnel.spec.sweep import AnySweep


def flat(text: str) -> str:
    return " ".join(text.split())


def test_it_says_what_was_understood_what_the_numbers_say_and_what_they_cannot_tell(cli: CallCli) -> None:
    outcome = cli("audit", str(FOLDER / "seed-000.md"))

    text = flat(outcome.out)
    assert outcome.code == 0
    assert "size 'lagre' has the shape of 'large'" in text
    assert "forward_backward over forward is 3.32x (small) to 5.31x (2.7B) and rises with size at every step" in text
    assert "one ratio for all cells of forward_backward over forward" in text
    assert "not measured in this table" in text
    assert "To test: windtunnel step --size xl --context 256 --mode forward_backward" in text


def test_a_number_that_cannot_be_ends_with_1(cli: CallCli) -> None:
    options = ("--gpu", "h100", "--precision", "fp32", "--batch", "4")

    outcome = cli("audit", str(FOLDER / "seed-000.md"), *options)

    assert outcome.code == 1
    assert "forward of 2.7B would run at 96.3 TFLOP/s, above the 67.0 TFLOP/s" in flat(outcome.out)


def test_as_json_each_finding_has_its_numbers_and_its_places(cli: CallCli) -> None:
    outcome = cli("audit", str(FOLDER / "seed-001.md"), "--json")

    said = json.loads(outcome.out)
    assert said["facts"][0] == {"line": 1, "name": "batch_size", "value": "4"}
    (ratio,) = [one for one in said["findings"] if one["kind"] == "ratio"]
    assert ratio["numbers"]["low"] == pytest.approx(1.72, abs=5e-3)
    assert "line 8, Forward (ms)" in ratio["evidence"]
    assert ratio["text"].startswith("backward over forward is 1.72x")


def test_what_could_not_be_read_stands_with_its_line(cli: CallCli, tmp_path: Path) -> None:
    file = tmp_path / "t.md"
    file.write_text(markdown(["size", "forward (ms)"], [["small", "10"], ["xl", "quick"]]), encoding="utf-8")

    outcome = cli("audit", str(file))

    assert outcome.code == 0
    assert "4 forward (ms) is 'quick', which is no number" in flat(outcome.out)


def test_marks_that_steer_a_terminal_do_not_pass(cli: CallCli, tmp_path: Path) -> None:
    file = tmp_path / "t.md"
    rows: list[list[object]] = [["\x1b[31m[bold]x[/bold]", "10 ± 1"], ["y", "10 ± 2"]]
    file.write_text(markdown(["size", "forward (ms)"], rows), encoding="utf-8")

    outcome = cli("audit", str(file))

    assert outcome.code == 0
    assert "\x1b" not in outcome.out
    assert "[bold]x[/bold]" in flat(outcome.out)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("none.md",), "cannot read none.md"),
        ((str(FOLDER / "seed-000.md"), "--gpu", "h1000"), "unknown GPU 'h1000'"),
        ((str(FOLDER / "seed-000.md"), "--precision", "fp33"), "unknown precision 'fp33'"),
        ((str(FOLDER / "seed-000.md"), "--unit", "h"), "unknown unit 'h'"),
        ((str(FOLDER / "seed-000.md"), "--lang", "fr"), "unknown language 'fr'"),
    ],
)
def test_a_wrong_request_ends_with_2(cli: CallCli, arguments: tuple[str, ...], part: str) -> None:
    outcome = cli("audit", *arguments)

    assert outcome.code == 2
    assert part in outcome.err


def test_times_without_a_unit_are_asked_for(cli: CallCli, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("size,forward,backward\nsmall,10,20\n", encoding="utf-8")

    refused, read = cli("audit", str(file)), cli("audit", str(file), "--unit", "ms")

    assert refused.code == 2
    assert "give --unit s, ms or us" in refused.err
    assert read.code == 0


def _commands() -> list[str]:
    declared = Declared(unit="ms", steps=10, batch_size=4, gpu="h100", precision="fp32")
    texts = [*(seed_text(name) for name in SEEDS), seed_text("seed-000").replace("| 768 |", "| nan |")]
    texts.append(markdown(["size", "compile", "forward (ms)"], [["small", "True", 10], ["medium", "True", 20]]))
    texts.append(markdown(["size", "step time (ms)", "communication (ms)"], [["small", 100, 50]]))
    found = [one for text in texts for one in (*findings_of(text, Declared(unit="ms")), *findings_of(text, declared))]
    return sorted({one.command for one in found if one.command})


@pytest.mark.parametrize("command", _commands())
def test_each_command_that_a_finding_names_is_one(
    cli: CallCli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    asked: list[AnySweep] = []

    def compare(a: AnySweep, b: AnySweep, **_: object) -> tuple[StoredComparison, ...]:
        asked.append(a)
        return compared(*(make_pair(*pair) for pair in match_sides(a, b, "cpu")))

    def look(sweep: AnySweep, *, store: Store, **_: object) -> tuple[StoredLook[MemoryLedger], ...]:
        asked.append(sweep)
        store.make()
        return (StoredLook(key="", look=make_ledger(), environment=CPU),)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("windtunnel.cli.compare.compare_sweeps", compare)
    monkeypatch.setattr("windtunnel.cli.memory.look_at_cells", look)
    for name in ("step", "attention"):
        monkeypatch.setattr(f"windtunnel.cli.{name}.run_and_report", lambda sweep, **_: asked.append(sweep))

    outcome = cli(*shlex.split(command)[1:])

    assert outcome.code == 0, outcome.err
    assert all(sweep.expand("cpu") for sweep in asked)


ONE_CELL = markdown(
    ["size", "forward (ms)", "forward + backward (ms)", "context", "warmup"],
    [["small", "0.1 ± 0.02", "9 ± 1", 128, 5], ["xl", "-", "OOM", 128, 5]],
)


def audited(cli: CallCli, tmp_path: Path, text: str, *options: str) -> str:
    file = tmp_path / "t.md"
    file.write_text(text, encoding="utf-8")
    return flat(cli("audit", str(file), *options).out)


def test_one_of_a_thing_is_in_the_singular(cli: CallCli, tmp_path: Path) -> None:
    text = audited(cli, tmp_path, ONE_CELL, "--gpu", "h100", "--precision", "fp32", "--batch", "4")

    assert not re.findall(r"\b1 (?:such )?(?:numbers|cells|pairs|samples|means|groups|rows)\b", text)
    assert "The deviation of forward is 20.0 % of the mean (small)." in text
    assert "One cell of forward is too short or too loose to rank (100 µs, deviation 20.0 % of the mean)." in text
    assert "(1 such cell)" in text


def test_counts_of_a_table_are_in_singular_and_plural(cli: CallCli, tmp_path: Path) -> None:
    one = markdown(["size", "forward (ms)"], [["small", 10], ["xl", "OOM"]])

    assert "2 numbers, 1 cell out of memory" in audited(cli, tmp_path, ONE_CELL)
    assert "1 number, 1 cell out of memory" in audited(cli, tmp_path, one)
    assert "1 number, 0 cells out of memory" in audited(cli, tmp_path, one.replace("OOM", "-"))


def test_no_range_is_of_one_cell_in_chinese_either(cli: CallCli, tmp_path: Path) -> None:
    text = audited(cli, tmp_path, ONE_CELL, "--lang", "zh")

    assert "前向的标准差为均值的 20.0%（small）。" in text
    assert "（small）至" not in text


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [["small", "10 ± 0.1", 10], ["xl", "20 ± 0.8", ""]],
            "With n = 10 the mean of small is known to ± 0.7 % (95 %).",
        ),
        ([["small", "10 ± 0.1", 1], ["xl", "20 ± 0.8", 1]], "With n = 1 nothing says how well a mean is known."),
        ([["small", "10 ± 0.1", ""], ["xl", "20 ± 0.8", ""]], "Without n nothing says how well a mean is known."),
    ],
)
def test_only_a_table_without_n_is_said_to_have_none(
    cli: CallCli, tmp_path: Path, rows: list[list[object]], said: str
) -> None:
    assert said in audited(cli, tmp_path, markdown(["size", "forward (ms)", "n"], rows))
