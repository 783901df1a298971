"""Commands that measure and the report that they are asked for: in Chinese, and refused before anything is measured."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from calling import CallCli
from profiles import training_step, write_chrome_trace
from snapshots import planted_snapshot
from tunings import Lab
from windtunnel.spec.tuning import Tuning
from windtunnel.sweep.trials import tune
from windtunnel.sweep.tuning import Found

SHAPE = ("--d-model", "32", "--layers", "1", "--heads", "4", "--vocab", "11", "--context", "8", "--device", "cpu")

MEASURING = {
    "run": ("quick",),
    "step": SHAPE,
    "attention": ("--seq", "16"),
    "compare": (*SHAPE, "--a", "--attention eager", "--b", "--attention sdpa"),
    "tune": SHAPE,
    "fit": (*SHAPE[:-4], *SHAPE[-2:], "--memory-limit", "500MiB"),
    "profile": SHAPE,
    "memory": SHAPE,
    "precision": SHAPE,
}

ENDS = ("md", "html")

ENGLISH = re.compile(r" (?:the|is|are|in|with|and|than|takes) ")
"""Words that stand in nearly every English sentence, and in no name of a report."""


@pytest.mark.parametrize(
    ("arguments", "heading"),
    [
        (("step", *SHAPE, "--steps", "3"), "概览"),
        (("fit", *MEASURING["fit"], "--mode", "forward", "--most", "256"), "放得下的上限"),
        (("memory", *SHAPE, "--mode", "forward"), "内存账本"),
    ],
    ids=["step", "fit", "memory"],
)
def test_a_command_that_measures_shows_and_writes_a_chinese_report_that_verifies(
    cli: CallCli, tmp_path: Path, arguments: tuple[str, ...], heading: str
) -> None:
    measured = cli(*arguments, "--lang", "zh", "--store", str(tmp_path))
    written = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    checked = [cli("verify", str(tmp_path / "report" / f"report.{end}"), "--store", str(tmp_path)) for end in ENDS]

    assert measured.code == 0, measured.err
    assert heading in measured.out
    assert heading in written
    assert ENGLISH.findall(said_in(written)) == []
    assert [(one.code, one.out.startswith("verified: ")) for one in checked] == [(0, True)] * len(ENDS)


def said_in(markdown: str) -> str:
    """Return a report without its commands and without its claim ledger, which is data."""
    return re.sub(r"windtunnel [^\u4e00-\u9fff]*", "", markdown.partition("<!--")[0])


def test_a_comparison_is_shown_in_chinese(cli: CallCli, tmp_path: Path) -> None:
    arguments = (*MEASURING["compare"], "--mode", "forward", "--max-pairs", "8", "--lang", "zh")

    shown = cli("compare", *arguments, "--store", str(tmp_path))
    as_json = cli("compare", *arguments, "--store", str(tmp_path), "--json")

    assert shown.code == 0, shown.err
    assert "A：注意力 eager。B：注意力 sdpa。" in "".join(shown.out.split("\n"))
    assert json.loads(as_json.out)[0]["a"] == "注意力 eager"


def test_a_search_for_the_fastest_is_shown_and_reported_in_chinese(
    cli: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(make: Callable[[str], Tuning], **_: object) -> Found:
        cells = [task.cell for task in make("cpu").tasks("cpu")]
        lab = Lab({str(cell): 10.0 + place for place, cell in enumerate(cells)}, name=str)
        return tune(make, store=tmp_path, launch=lab.launch, launch_at=lab.launch)

    monkeypatch.setattr("windtunnel.cli.tune.search", search)

    outcome = cli("tune", *SHAPE, "--lang", "zh", "--store", str(tmp_path))

    assert outcome.code == 0, outcome.err
    assert "d32-l1-h4：最快的配置" in outcome.out
    assert "最快的配置" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


def test_what_another_program_wrote_is_reported_in_chinese(cli: CallCli, tmp_path: Path) -> None:
    snapshot, trace = tmp_path / "theirs.json", write_chrome_trace(training_step(), tmp_path / "trace.json")
    snapshot.write_text(json.dumps(planted_snapshot()))

    said = {
        command: cli(command, "--import", str(path), "--lang", "zh", "--report", str(tmp_path / command)).out
        for command, path in {"memory": snapshot, "profile": trace}.items()
    }

    assert "theirs.json 的内存" in said["memory"]
    assert "trace.json 的剖析" in said["profile"]
    assert all('<html lang="zh' in (tmp_path / one / "report.html").read_text(encoding="utf-8") for one in said)


@pytest.mark.parametrize("command", MEASURING)
def test_an_unknown_language_is_refused_before_anything_is_measured(cli: CallCli, tmp_path: Path, command: str) -> None:
    outcome = cli(command, *MEASURING[command], "--lang", "fr", "--store", str(tmp_path / "s"))

    assert outcome.code == 2
    assert "unknown language 'fr'; known: en, zh; name one of these, or none for English" in outcome.err
    assert outcome.out == ""
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("command", [command for command in MEASURING if command != "compare"])
def test_a_report_that_could_not_be_written_is_refused_before_anything_is_measured(
    cli: CallCli, tmp_path: Path, command: str
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")

    outcome = cli(command, *MEASURING[command], "--report", str(in_the_way / "r"), "--store", str(tmp_path / "s"))

    assert outcome.code == 2
    assert f"cannot write the report to {in_the_way / 'r'}: Not a directory; choose another folder" in outcome.err
    assert not (tmp_path / "s").exists()
